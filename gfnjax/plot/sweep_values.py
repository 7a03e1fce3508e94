"""What a sweep has come to against the values of one thing that is varied, or of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnjax.plot.curves import BLUE, FAINT, INK, ORANGE
from gfnjax.plot.scales import Scale, plain_log_axis, round_numbers
from gfnjax.plot.style import new_figure, shades, styled
from gfnjax.run.sweeps.judging import Metric
from gfnjax.run.sweeps.levels import in_order, shown, words
from gfnjax.run.sweeps.statistics import Setting, Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

MAX_CELLS = 14  # along one side
LOG_RATIO = 5.0  # from here on colours are logarithmic


@styled
def values_of(found: Statistics) -> Figure:
    """Of one thing that is varied: each run, and the interquartile mean with its interval."""
    (effect,) = found.effects
    scale = Scale.of([setting.values[effect.name] for setting in found.in_order])
    figure = new_figure(6.4, 4.4)
    ax = figure.subplots()
    where = {s.point: scale.place(s.values[effect.name]) for s in found.settings}
    _runs(ax, found, where)
    settings = sorted(found.settings, key=lambda s: where[s.point])
    x = [where[s.point] for s in settings]
    y = np.array([s.summary.iqm for s in settings])
    ends = np.array([(s.summary.low, s.summary.high) for s in settings]).T
    bars = np.nan_to_num(np.abs(ends - y))
    line = "-" if scale.is_numeric else "none"
    style = {"color": BLUE, "linewidth": 1.6, "linestyle": line, "marker": "o", "zorder": 3}
    name = "interquartile mean"
    name += ", 95% interval" if np.isfinite(ends).any() else ""
    ax.errorbar(x, y, bars, capsize=4, elinewidth=1.6, label=name, **style)
    if found.best is not None:
        at = where[found.best.point], found.best.summary.iqm
        ring = {"facecolor": "none", "edgecolor": ORANGE, "linewidth": 1.8}
        ax.scatter(*at, s=150, label="best", zorder=4, **ring)
    _axes(ax, scale, effect.name, found.metric)
    ax.legend(loc="best", fontsize=9)
    title = f"{found.metric.label} at the end of {len(found.scores)} runs"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def _runs(ax: Axes, found: Statistics, where: dict[int, float]) -> None:
    for diverged, marker, color, label in ((False, "o", FAINT, "run"), (True, "x", ORANGE, "")):
        own = [score for score in found.scores if score.diverged == diverged]
        if own:
            x, y = [where[s.point] for s in own], [s.value for s in own]
            name = label or "diverged, counted as the worst"
            ax.scatter(x, y, s=26, marker=marker, color=color, label=name, zorder=2)


def _axes(ax: Axes, scale: Scale, name: str, metric: Metric) -> None:
    ticks = scale.ticks()
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set_xlim(-0.06, 1.06)
    ax.set(xlabel=words(name), ylabel=metric.label)
    ax.grid(True)
    if not metric.high and ax.dataLim.intervaly[0] > 0:
        plain_log_axis(ax)


def grid_of(found: Statistics) -> list[list[Setting | None]] | None:
    """Two things that are varied as rows and columns; None where a heat map would be too empty."""
    if not found.settings or len(found.settings[0].values) != 2:
        return None
    x_name, y_name = _sides(found.settings)
    columns, rows = (in_order([s.values[n] for s in found.in_order]) for n in (x_name, y_name))
    cells = {(s.values[y_name], s.values[x_name]): s for s in found.settings}
    full = 4 * len(cells) >= 3 * len(rows) * len(columns)
    if not full or max(len(rows), len(columns)) > MAX_CELLS:
        return None
    return [[cells.get((row, column)) for column in columns] for row in rows]


def _sides(settings: Sequence[Setting]) -> tuple[str, str]:
    """What goes from left to right, which has more values, and what from bottom to top."""
    first, second = settings[0].values
    count = {name: len({s.values[name] for s in settings}) for name in (first, second)}
    return (first, second) if count[first] >= count[second] else (second, first)


@styled
def heat_map(found: Statistics) -> Figure:
    """Interquartile means over two things that are varied; the best one has a frame."""
    grid = grid_of(found)
    if grid is None:
        raise ValueError("found must be a sweep over most pairs of two things")
    x_name, y_name = _sides(found.settings)
    columns, rows = (in_order([s.values[n] for s in found.in_order]) for n in (x_name, y_name))
    figure = new_figure(1.25 * max(len(columns), 3) + 2.3, 0.8 * max(len(rows), 3) + 1.5)
    ax = figure.subplots()
    norm, colors = coloring(found)
    values = np.array([[math.nan if s is None else s.summary.iqm for s in row] for row in grid])
    image = ax.imshow(values, cmap=colors, norm=norm, origin="lower", aspect="auto")
    for y, row in enumerate(grid):
        for x, setting in enumerate(row):
            _cell(ax, x, y, setting, image)
            if setting is not None and setting is found.best:
                _frame(ax, x, y)
    ax.set_xticks(range(len(columns)), [shown(c) for c in columns])
    ax.set_yticks(range(len(rows)), [shown(r) for r in rows])
    ax.set(xlabel=words(x_name), ylabel=words(y_name))
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    _color_bar(figure, ax, image, found)
    intervals = any(math.isfinite(s.summary.low) for s in found.settings)
    title = f"interquartile mean{' and its 95% interval' * intervals}; the best is framed"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def bounds(found: Statistics) -> tuple[float, float]:
    """The range of interquartile means that can be told apart.

    Settings of which members have diverged do not count, if there are enough others: as they have
    the worst value of the sweep, all the others would look alike.
    """
    sound = [s.summary.iqm for s in found.settings if not s.summary.num_diverged]
    values = sound if len(sound) > 1 else [s.summary.iqm for s in found.settings]
    return float(np.nanmin(values)), float(np.nanmax(values))


def is_logarithmic(found: Statistics) -> bool:
    """Whether it is the ratios of interquartile means that are to be seen: those of errors are."""
    low, high = bounds(found)
    return not found.metric.high and low > 0 and high > LOG_RATIO * low


def coloring(found: Statistics) -> tuple[Normalize, Colormap]:
    """Colours of interquartile means: dark is good; logarithmic where they span much."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = bounds(found)
    if is_logarithmic(found):
        norm: Normalize = LogNorm(low, high, clip=True)
    else:
        norm = Normalize(low, high if high > low else low + 1.0, clip=True)
    return norm, shades() if found.metric.high else shades().reversed()


def _color_bar(figure: Figure, ax: Axes, image: Any, found: Statistics) -> None:
    values = [s.summary.iqm for s in found.settings]
    low, high = image.get_clim()
    beyond = (min(values) < low, max(values) > high)
    extend: Any = {(True, False): "min", (False, True): "max", (True, True): "both"}.get(beyond)
    bar = figure.colorbar(image, ax=ax, pad=0.02, aspect=25, extend=extend or "neither")
    bar.outline.set_visible(False)
    bar.set_label(found.metric.label)
    ticks = round_numbers(low, high, is_logarithmic(found))
    bar.set_ticks([x for x in ticks if low <= x <= high], minor=False)
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.minorticks_off()


def _cell(ax: Axes, x: int, y: int, setting: Setting | None, image: Any) -> None:
    if setting is None:
        ax.text(x, y, "-", ha="center", va="center", color=INK, alpha=0.5)
        return
    summary = setting.summary
    red, green, blue, _ = image.cmap(image.norm(summary.iqm))
    color = INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "white"
    notes = [] if math.isnan(summary.low) else [f"{summary.low:.3g} to {summary.high:.3g}"]
    if summary.num_diverged:
        notes.append(f"{summary.num_diverged} of {summary.num} diverged")
    up = 0.1 * len(notes)
    ax.text(x, y + up, f"{summary.iqm:.3g}", ha="center", va="center", color=color, weight="bold")
    if notes:
        style = {"fontsize": 7.5, "color": color, "linespacing": 1.25}
        ax.text(x, y + up - 0.16, "\n".join(notes), ha="center", va="top", **style)


def _frame(ax: Axes, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    style = {"fill": False, "edgecolor": ORANGE, "linewidth": 3, "zorder": 3}
    ax.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, **style))
