"""Axes for what is varied in a sweep: numbers, logarithmic where that spreads them, or names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnjax.plot.curves import log_axis
from gfnjax.run.sweeps.levels import are_numbers, in_order, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TICKS = 8
LEAST_GAP = 0.07  # between two ticks, as a share of the axis


@dataclass(frozen=True)
class Scale:
    """Where values are on an axis from 0 to 1.

    Attributes:
        distinct: the values, in order.
        is_numeric: whether distances mean something; else the values are evenly spaced.
        is_log: whether they are those of logarithms.
    """

    distinct: tuple[Any, ...]
    is_numeric: bool
    is_log: bool

    @classmethod
    def of(cls, values: Sequence[Any]) -> Scale:
        """The one that suits some values."""
        distinct = tuple(in_order(values))
        is_numeric = are_numbers(distinct)
        return cls(distinct, is_numeric, is_numeric and suits_logarithms(distinct))

    def place(self, value: Any) -> float:
        """In [0, 1]; one half if there is only one value."""
        if len(self.distinct) == 1:
            return 0.5
        if not self.is_numeric:
            return self.distinct.index(value) / (len(self.distinct) - 1)
        low, high = self._along(self.distinct[0]), self._along(self.distinct[-1])
        return (self._along(value) - low) / (high - low)

    def ticks(self) -> dict[float, str]:
        """Places and labels: the values themselves if they are few, else round numbers."""
        values = self.distinct
        if self.is_numeric and len(values) > MAX_TICKS:
            low, high = values[0], values[-1]
            round_ones = round_numbers(low, high, self.is_log)
            # The ends say where the lines are.
            values = (low, *(v for v in round_ones if low < v < high), high)
        places = {self.place(value): shown(value) for value in values}
        return _apart(places) if self.is_numeric else places

    def _along(self, value: float) -> float:
        return math.log10(value) if self.is_log else float(value)


def suits_logarithms(values: Sequence[float]) -> bool:
    """Whether numbers span more than a decade, more evenly by their logarithms."""
    ordered = np.sort(np.asarray(values, float))
    if not ordered.size or ordered[0] <= 0 or ordered[-1] < 10 * ordered[0]:
        return False
    gaps = [np.diff(x).max() / (x[-1] - x[0]) for x in (ordered, np.log(ordered))]
    return bool(gaps[1] < gaps[0]) or ordered.size == 2


def round_numbers(low: float, high: float, is_log: bool) -> list[float]:
    """Some numbers in a range; powers of ten, with 2 and 5 between them if they are few."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if not is_log:
        return [float(x) for x in MaxNLocator(5).tick_values(low, high)]
    subs = (1.0,) if high >= 1000 * low else (1.0, 2.0, 5.0)
    return [float(x) for x in LogLocator(subs=subs, numticks=12).tick_values(low, high)]


def plain_log_axis(ax: Axes) -> None:
    """As `log_axis`, with plain numbers as labels."""
    log_axis(ax)
    if ax.get_yscale() == "log":
        ax.yaxis.set_major_formatter("{x:g}")


def _apart(places: dict[float, str]) -> dict[float, str]:
    """Without those that are too close to another one; the two ends stay."""
    ordered, kept = sorted(places), []
    for place in ordered:
        if not kept or place - kept[-1] >= LEAST_GAP:
            kept.append(place)
    if kept[-1] != ordered[-1]:
        kept[-1:] = [ordered[-1]] if len(kept) > 1 else [kept[-1], ordered[-1]]
    return {place: places[place] for place in kept}
