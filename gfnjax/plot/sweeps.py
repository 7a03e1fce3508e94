"""Pictures of a sweep: how its members learn, and which values do best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gfnjax.plot.parallel import parallel
from gfnjax.plot.sweep_curves import curves_of
from gfnjax.plot.sweep_values import grid_of, heat_map, values_of
from gfnjax.run.sweeps.judging import Metric
from gfnjax.run.sweeps.statistics import Statistics, analyse
from gfnjax.run.sweeps.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(table: Table, metric: str | Metric | None, directory: Path) -> list[Path]:
    """Draw a sweep into a folder.

    `curves.png` always: the metric against the step. Then, of the last values, `values.png` where
    one thing is varied, `heatmap.png` where two are and most of their pairs have been tried, else
    `parallel.png`.

    Args:
        table: of the sweep.
        metric: as in `gfnjax.run.sweeps.judging.judge`.
        directory: made if it does not exist.

    Returns:
        The files that were written.

    Raises:
        UsageError: as `judge`.
        OSError: if a file cannot be written.
    """
    made = figures(table, metric)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in made.items():
        written.append(directory / f"{name}.png")
        figure.savefig(written[-1])
    return written


def figures(table: Table, metric: str | Metric | None = None) -> dict[str, Figure]:
    """What `draw` draws, by name; raises as `judge`."""
    found = analyse(table, metric)
    made = {"curves": curves_of(table, found)}
    chosen = _of_values(table, found)
    if chosen is not None:
        made[chosen[0]] = chosen[1](found)
    return made


def _of_values(
    table: Table, found: Statistics
) -> tuple[str, Callable[[Statistics], Figure]] | None:
    count = len(table.varied)
    if len(found.settings) < 2:
        return None
    if count == 1:
        return "values", values_of
    return ("heatmap", heat_map) if grid_of(found) is not None else ("parallel", parallel)
