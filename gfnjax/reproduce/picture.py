"""Curves of a reproduction: a line a row, from the lowest to the highest of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gfnjax.plot.curves import step_axis
from gfnjax.plot.scales import plain_log_axis
from gfnjax.plot.style import new_figure, styled
from gfnjax.plot.sweep_curves import COLORS, Line, Trend, panel
from gfnjax.reproduce.base import Reproduction
from gfnjax.reproduce.table import Line as Row
from gfnjax.reproduce.table import lines
from gfnjax.reproduce.training import Run
from gfnjax.run.sweeps.judging import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def curves_of(reproduction: Reproduction, runs: Sequence[Run]) -> Figure:
    """A row of panels for each part of the table, a column for each curve.

    Args:
        reproduction: which.
        runs: of its rows; some are finished.
    """
    rows = [row for row in lines(reproduction, runs) if row.finished]
    parts = list(dict.fromkeys(row.row.panel for row in rows))
    columns = reproduction.curves
    shape = (1, len(parts)) if len(columns) == 1 else (len(parts), len(columns))
    figure = new_figure(4.8 * shape[1], 3.2 * shape[0] + 0.5)
    axes = figure.subplots(*shape, squeeze=False).reshape(len(parts), len(columns))
    for part, of_part in zip(parts, axes, strict=True):
        shown = [row for row in rows if row.row.panel == part]
        for name, ax in zip(columns, of_part, strict=True):
            for row in shown:
                steps, trend = _trend(row, name)
                panel(ax, steps, [Line(row.row.line, trend, _color(reproduction, row), True)])
            if not METRICS[name].high:
                plain_log_axis(ax)
            ax.set_title(part)
            ax.set_ylabel(METRICS[name].label)
            step_axis(ax)
        of_part[0].legend(fontsize=8, frameon=True, edgecolor="none", framealpha=0.7)
    figure.suptitle(f"{reproduction.title}: mean of the seeds, lowest to highest", fontsize=10)
    return figure


def _color(reproduction: Reproduction, row: Row) -> str:
    """A label has one colour in all panels."""
    labels = list(dict.fromkeys(each.line for each in reproduction.rows))
    return COLORS[labels.index(row.row.line) % len(COLORS)]


def _trend(row: Row, name: str) -> tuple[np.ndarray, Trend]:
    """Steps `[t]` that all seeds were evaluated at, mean, lowest and highest there."""
    found = [
        {e["step"]: e[name] for e in run.evaluations if np.isfinite(e.get(name, np.nan))}
        for run in row.finished
    ]
    steps = sorted(set.intersection(*map(set, found)))
    values = np.array([[curve[step] for step in steps] for curve in found], float)
    return np.array(steps), Trend(values.mean(axis=0), values.min(axis=0), values.max(axis=0))
