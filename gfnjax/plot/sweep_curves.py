"""Curves of a sweep: a line a setting, or where these are many a panel for all that is varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gfnjax.plot.curves import BLUE, INK, ORANGE, step_axis
from gfnjax.plot.scales import plain_log_axis
from gfnjax.plot.style import new_figure, shades, styled
from gfnjax.run.sweeps.judging import Metric, histories
from gfnjax.run.sweeps.levels import are_numbers, shown, words
from gfnjax.run.sweeps.statistics import (
    Statistics,
    Summary,
    bootstrap_interval,
    interquartile_mean,
)
from gfnjax.run.sweeps.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LINES = 8
COLORS = (BLUE, ORANGE, "#e0a92e", "#6b4c9a", "#4f9d69", "#c65b8a", "#8a97a0", INK)
NUM_RESAMPLES = 300  # of a band, which is drawn at many steps


class Trend(NamedTuple):
    """A line `[t]` and its band: from `low` to `high`, NaN where there is none."""

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Line(NamedTuple):
    """A trend, what it is of, its colour, and whether its members are sound at the end.

    Of those with more than a quarter diverged, the interquartile mean tells little else.
    """

    label: str
    trend: Trend
    color: str
    is_sound: bool


@styled
def curves_of(table: Table, found: Statistics) -> Figure:
    """The metric against the step: interquartile means, with bands."""
    steps, values, points = histories(table, found.metric)
    every = np.array(points)
    if len(found.settings) <= MAX_LINES or not found.effects:
        panels = {", ".join(map(words, table.varied)): _of_settings(found, values, every)}
    else:
        panels = {words(name): _of_levels(found, name, values, every) for name in table.varied}
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = new_figure(5.6 * columns + (2.2 if columns == 1 else 0), 3.6 * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        panel(ax, steps, lines)
        _legend(ax, title, outside=len(panels) == 1)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    _finish(axes, list(panels.values()), found.metric)
    figure.suptitle(_title(found, panels), x=0.01, ha="left", weight="bold")
    return figure


def trend(values: np.ndarray, points: np.ndarray) -> Trend:
    """The interquartile mean at each step, where at least half of the members are.

    Args:
        values: `[members, t]`, NaN where a member is not there.
        points: `[members]`, the setting of each.

    Returns:
        With a band: the 95% interval by a bootstrap of the seeds of each setting; without two
        seeds the middle half of the members.
    """
    line = np.full((3, values.shape[1]), math.nan)
    for t, column in enumerate(values.T):
        there = ~np.isnan(column)
        if 2 * there.sum() < max(there.size, 1):
            continue
        strata = [column[there & (points == point)] for point in np.unique(points[there])]
        low, high = bootstrap_interval(strata, NUM_RESAMPLES)
        if math.isnan(low) and there.sum() > 1:
            low, high = np.quantile(column[there], (0.25, 0.75))
        line[:, t] = interquartile_mean(column[there]), low, high
    return Trend(*line)


def _of_settings(found: Statistics, values: np.ndarray, points: np.ndarray) -> list[Line]:
    settings = found.in_order
    of_one = [next(iter(s.values.values()), None) for s in settings]
    ordered = len(found.effects) == 1 and are_numbers(of_one)
    if ordered:
        settings = sorted(settings, key=lambda s: next(iter(s.values.values())))
    labels = [", ".join(map(shown, s.values.values())) for s in settings]
    trends = [trend(values[points == s.point], points[points == s.point]) for s in settings]
    return _lines(labels, [s.summary for s in settings], trends, ordered)


def _of_levels(found: Statistics, name: str, values: np.ndarray, points: np.ndarray) -> list[Line]:
    effect = next(e for e in found.effects if e.name == name)
    trends = []
    for level in effect.levels:
        own = [s.point for s in found.settings if s.values[name] in level.values]
        members = np.isin(points, own)
        trends.append(trend(values[members], points[members]))
    ordered = are_numbers([value for level in effect.levels for value in level.values])
    return _lines(list(map(str, effect.levels)), effect.summaries, trends, ordered)


def _lines(
    labels: Sequence[str], summaries: Sequence[Summary], trends: Sequence[Trend], ordered: bool
) -> list[Line]:
    names = [_label(label, s) for label, s in zip(labels, summaries, strict=True)]
    sound = [4 * s.num_diverged <= s.num for s in summaries]
    return list(map(Line, names, trends, _colors(len(labels), ordered), sound))


def _label(label: str, summary: Summary) -> str:
    lost = f" ({summary.num_diverged} of {summary.num} diverged)" if summary.num_diverged else ""
    return label + lost


def _colors(count: int, ordered: bool) -> list[str]:
    """Light to dark where the values are numbers, else colours that differ."""
    from matplotlib.colors import to_hex

    if ordered and count > 2:
        return [to_hex(color) for color in shades()(np.linspace(0.32, 1.0, count))]
    return [COLORS[i % len(COLORS)] for i in range(count)]


def panel(ax: Axes, steps: np.ndarray, lines: Sequence[Line]) -> None:
    """Lines and their bands against the steps `[t]`."""
    for label, (middle, low, high), color, _ in lines:
        ax.fill_between(steps, low, high, color=color, alpha=0.16, linewidth=0)
        ax.plot(steps, middle, color=color, linewidth=1.8, label=label)
    ax.grid(True)


def _legend(ax: Axes, title: str, outside: bool) -> None:
    if not title:
        return
    place: Any = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)} if outside else {}
    # On white, for it may have to stand on a band.
    place |= {"frameon": True, "edgecolor": "none", "framealpha": 0.7}
    legend = ax.legend(title=title, alignment="left", fontsize=9, **place)
    legend.get_title().set(fontweight="bold", fontsize=9)


def _finish(axes: np.ndarray, panels: list[list[Line]], metric: Metric) -> None:
    """Labels at the outer panels, and a scale that shows how the lines differ."""
    count, columns = len(panels), axes.shape[1]
    for i, ax in enumerate(axes.flat[:count]):
        if i + columns >= count:
            step_axis(ax)
            ax.tick_params(labelbottom=True)
        if i % columns == 0:
            ax.set_ylabel(metric.label)
    every = [line for lines in panels for line in lines]
    lines = np.array([line.trend.middle for line in every])
    if not metric.high and np.nanmin(lines) > 0:
        for ax in axes.flat[:count]:
            plain_log_axis(ax)
    elif metric.high:
        sound = lines[[line.is_sound for line in every]]
        _cut(axes.flat[0], lines, sound)


def _cut(ax: Axes, lines: np.ndarray, sound: np.ndarray) -> None:
    """Leave out first values, and lines that are lost, where these would take most of the height.

    What is cut off can be seen to leave the panel.
    """
    late = sound[:, lines.shape[1] // 4 :]
    if np.isnan(late).all():
        return
    low, high = np.nanmin(late), np.nanmax(sound)
    if 0 < high - low < (high - np.nanmin(lines)) / 3:
        ax.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))


def _title(found: Statistics, panels: dict[str, list[Line]]) -> str:
    runs, settings = len(found.scores), len(found.settings)
    seeds = runs > settings
    band = "with its 95% bootstrap interval" if seeds else "and the middle half of them"
    if runs == 1 or (not seeds and len(panels) == 1 and settings <= MAX_LINES):
        return f"{found.metric.label} of {runs} run{'s' * (runs > 1)}"
    of = f" of {settings} settings" if settings > 1 else ""
    return f"interquartile mean of {runs} runs{of}, {band}"
