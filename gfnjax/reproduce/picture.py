"""The picture of a reproduction: a line a row against the training steps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfnjax.plot.seed_bands import Band, Panel, bands_of
from gfnjax.reproduce.base import Reproduction
from gfnjax.reproduce.table import Line, lines
from gfnjax.reproduce.training import Run


def draw(reproduction: Reproduction, runs: Sequence[Run], path: Path) -> bool:
    """A row of panels for each part of the table, a column for each curve.

    Returns:
        Whether there was anything to draw.

    Raises:
        OSError: if it cannot be written.
    """
    rows = [line for line in lines(reproduction, runs) if line.finished]
    parts = dict.fromkeys(line.row.panel for line in rows)
    if not parts:
        return False
    panels = [
        [
            Panel(part, name, [_band(line, name) for line in rows if line.row.panel == part])
            for name in reproduction.curves
        ]
        for part in parts
    ]
    if len(reproduction.curves) == 1:
        panels = [[row[0] for row in panels]]
    labels = list(dict.fromkeys(row.line for row in reproduction.rows))
    title = f"{reproduction.title}: mean of the seeds, lowest to highest"
    bands_of(title, panels, labels).savefig(path)
    return True


def _band(line: Line, name: str) -> Band:
    """Where all seeds were evaluated."""
    found = [
        {e["step"]: e[name] for e in run.evaluations if np.isfinite(e.get(name, np.nan))}
        for run in line.finished
    ]
    steps = sorted(set.intersection(*map(set, found)))
    values = np.array([[curve[step] for step in steps] for curve in found], float)
    return Band(line.row.line, np.array(steps), values)
