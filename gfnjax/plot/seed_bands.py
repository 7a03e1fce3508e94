"""Curves of several settings, each a band from the lowest to the highest of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gfnjax.plot.curves import step_axis
from gfnjax.plot.scales import plain_log_axis
from gfnjax.plot.style import new_figure, styled
from gfnjax.plot.sweep_curves import COLORS, Line, Trend, panel
from gfnjax.run.sweeps.judging import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Of a title, an inch.
CHARACTERS = 12


class Band(NamedTuple):
    """What is shown of one setting: its label, steps `[t]` and values `[seeds, t]` there."""

    label: str
    steps: np.ndarray
    values: np.ndarray


class Panel(NamedTuple):
    """A title, the metric that is shown, by its name in `METRICS`, and a band a setting."""

    title: str
    metric: str
    bands: Sequence[Band]


@styled
def bands_of(title: str, panels: Sequence[Sequence[Panel]], labels: Sequence[str]) -> Figure:
    """Rows of panels; what is at the same place in `labels` has the same colour in all of them."""
    shape = len(panels), len(panels[0])
    width = 4.8 * shape[1]
    figure = new_figure(width, 3.2 * shape[0] + 0.5)
    axes = figure.subplots(*shape, squeeze=False)
    for each, ax in zip([p for row in panels for p in row], axes.flat, strict=True):
        lines = []
        for label, _, x in each.bands:
            trend = Trend(x.mean(axis=0), x.min(axis=0), x.max(axis=0))
            lines.append(Line(label, trend, COLORS[labels.index(label) % len(COLORS)], True))
        for line, band in zip(lines, each.bands, strict=True):
            panel(ax, band.steps, [line])
        metric = METRICS[each.metric]
        if not metric.high:
            plain_log_axis(ax)
        ax.set_title(each.title)
        ax.set_ylabel(metric.label)
        step_axis(ax)
    for row in axes:
        known: set[str] = set()
        for ax in row:  # what no panel to the left has said
            shown = set(ax.get_legend_handles_labels()[1])
            if shown - known:
                ax.legend(fontsize=8, frameon=True, edgecolor="none", framealpha=0.7)
            known |= shown
    figure.suptitle(fill(title, int(CHARACTERS * width)), x=0.01, ha="left", fontsize=10)
    return figure
