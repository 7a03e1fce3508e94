"""Parallel coordinates: an axis for each thing that is varied, one for the metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnjax.plot.curves import INK, ORANGE
from gfnjax.plot.scales import Scale
from gfnjax.plot.style import new_figure, styled
from gfnjax.plot.sweep_values import bounds, coloring, is_logarithmic
from gfnjax.run.sweeps.judging import Metric
from gfnjax.run.sweeps.levels import in_order, shown, words
from gfnjax.run.sweeps.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

NUM_POINTS = 40  # of a curve between two axes
PALEST = 0.2


@styled
def parallel(found: Statistics) -> Figure:
    """A line a setting, dark and on top where it is good, the best one in orange."""
    names = list(found.settings[0].values)
    scales = [Scale.of([s.values[name] for s in found.in_order]) for name in names]
    low, high = bounds(found)
    heights = [min(max(s.summary.iqm, low), high) for s in found.settings]
    result = Scale(tuple(in_order(heights)), True, is_logarithmic(found))
    color_of = _visible(*coloring(found), found.metric)
    figure = new_figure(2.1 * len(names) + 2.6, 4.8)
    ax = figure.subplots()
    count = len(found.settings)
    for rank, setting in enumerate(found.settings):
        y = [scale.place(setting.values[name]) for scale, name in zip(scales, names, strict=True)]
        last = result.place(heights[rank])
        line = smooth_line([*y, last if found.metric.high else 1 - last])
        is_best = setting is found.best
        color = ORANGE if is_best else color_of(setting.summary.iqm)
        width = 2.6 if is_best else 1.8 - 1.1 * rank / count
        ax.plot(*line, color=color, linewidth=width, zorder=2 + (count - rank) / count)
    for x, (name, scale) in enumerate(zip(names, scales, strict=True)):
        _axis(ax, x, words(name), scale.ticks())
    _axis(ax, len(names), found.metric.label, _result_ticks(result, found))
    ax.set(xlim=(-0.35, len(names) + 0.45), ylim=(-0.06, 1.04))
    ax.set_axis_off()
    best = "" if found.best is None else f"; the best, {shown(found.best.summary.iqm)}, in orange"
    title = f"{count} settings, dark where they are good{best}"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def smooth_line(heights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """A curve through a height on each axis that crosses all of them level."""
    share = (1 - np.cos(np.linspace(0, math.pi, NUM_POINTS))) / 2
    y = np.concatenate([start + (end - start) * share for start, end in pairwise(heights)])
    spans = len(heights) - 1
    x = np.concatenate([i + np.linspace(0, 1, NUM_POINTS) for i in range(spans)])
    return x, y


def _result_ticks(scale: Scale, found: Statistics) -> dict[float, str]:
    """Good is up; the lowest label says so where there is worse."""
    ticks = scale.ticks()
    if not found.metric.high:
        ticks = {1 - place: text for place, text in ticks.items()}
    worst = found.metric.worst(np.array([s.summary.iqm for s in found.settings]))
    if worst not in scale.distinct:
        ticks[min(ticks)] += "\nor worse"
    return ticks


def _visible(norm: Normalize, colors: Colormap, metric: Metric) -> Callable[[float], Any]:
    """The colour of a value, as in heat maps but never too pale for a thin line."""

    def color_of(value: float) -> Any:
        share = PALEST + (1 - PALEST) * float(norm(value) if metric.high else 1 - norm(value))
        return colors(share if metric.high else 1 - share)

    return color_of


def _axis(ax: Axes, x: float, name: str, ticks: dict[float, str]) -> None:
    ax.plot([x, x], [0, 1], color=INK, linewidth=1.0, zorder=4)
    box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for place, text in ticks.items():
        ax.plot([x - 0.02, x], [place, place], color=INK, linewidth=1.0, zorder=4)
        style = {"ha": "right", "va": "center", "fontsize": 8.5, "zorder": 5, "bbox": box}
        ax.text(x - 0.045, place, text, **style)
    ax.text(x, 1.06, fill(name, 20), ha="center", va="bottom", weight="bold", fontsize=9.5)
