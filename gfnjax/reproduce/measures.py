"""What is read off the evaluations of a run, and what is said of several seeds together."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gfnjax.run.directory import Record


class Measure(Protocol):
    """One number of a run; NaN where it does not tell, infinite where it was not reached."""

    @property
    def label(self) -> str:
        """The head of its column."""
        ...

    def of(self, evaluations: Sequence[Record]) -> float:
        """The number."""
        ...

    def middle(self, values: np.ndarray) -> float:
        """Of several seeds `[n]`: what is judged."""
        ...

    def cell(self, values: np.ndarray) -> str:
        """Of several seeds `[n]`, as the table shows it."""
        ...


@dataclass(frozen=True)
class Value:
    """A column of the evaluations: its last entry, or the least or greatest one of all.

    Attributes:
        column: which.
        label: the head of the column in the table.
        decimals: that are shown.
        pick: which entry; `min` or `max` for what is found once and kept.
    """

    column: str
    label: str
    decimals: int = 3
    pick: Callable[[list[float]], float] = lambda values: values[-1]

    def of(self, evaluations: Sequence[Record]) -> float:
        found = [record[self.column] for record in evaluations if self.column in record]
        return float(self.pick(found)) if found else math.nan

    def middle(self, values: np.ndarray) -> float:
        return float(values.mean())

    def cell(self, values: np.ndarray) -> str:
        mean, low, high = (
            f"{x:,.{self.decimals}f}" for x in (values.mean(), values.min(), values.max())
        )
        if values.size == 1:
            return mean
        return f"{mean} ± {values.std(ddof=1):,.{self.decimals}f} ({low} to {high})"


@dataclass(frozen=True)
class Goal:
    """What a run is to reach: columns at or below a number, or at or above where `least`.

    It is reached at the first evaluation that, like the one after it, is as good as that.
    """

    bounds: Mapping[str, float]
    least: bool = False

    def reached(self, evaluations: Sequence[Record]) -> Record | None:
        """The evaluation at which it was; None where it was not."""
        good = [self._is_good(record) for record in evaluations]
        pairs = zip(good, good[1:], evaluations, strict=False)
        return next((record for a, b, record in pairs if a and b), None)

    def _is_good(self, record: Record) -> bool:
        sign = -1 if self.least else 1
        found = ((record.get(name, math.nan), bound) for name, bound in self.bounds.items())
        return all(sign * value <= sign * bound for value, bound in found)


@dataclass(frozen=True)
class Until:
    """Steps until a goal is reached, or seconds: those steps at the run's mean speed.

    Evaluations count as part of a step. A run that did not arrive took longer than it had.
    """

    goal: Goal
    label: str
    seconds: bool = False

    def of(self, evaluations: Sequence[Record]) -> float:
        if not evaluations:
            return math.nan
        record = self.goal.reached(evaluations)
        if record is None:
            return math.inf
        last = evaluations[-1]
        speed = last["seconds"] / max(last["step"], 1) if self.seconds else 1.0
        return float(record["step"] * speed)

    def middle(self, values: np.ndarray) -> float:
        return _median(values)

    def cell(self, values: np.ndarray) -> str:
        reached = int(np.isfinite(values).sum())
        if not reached:
            return "not reached"
        middle, low, high = (_shown(x) for x in (_median(values), values.min(), values.max()))
        text = middle if values.size == 1 else f"{middle} ({low} to {high})"
        return text if reached == values.size else f"{text}, {reached} of {values.size} reached"


def _median(values: np.ndarray) -> float:
    """The lower one of two: an infinite one has no mean with another."""
    return float(np.sort(values)[(values.size - 1) // 2])


def _shown(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


@dataclass(frozen=True)
class Seconds:
    """Of the whole run, evaluations and compilation included."""

    label: str = "seconds a run"

    def of(self, evaluations: Sequence[Record]) -> float:
        return float(evaluations[-1]["seconds"]) if evaluations else math.nan

    def middle(self, values: np.ndarray) -> float:
        return _median(values)

    def cell(self, values: np.ndarray) -> str:
        return _shown(_median(values))
