"""The levels of something that is varied: its values, or ranges where there are too many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfnjax.run.sweeps.table import spelled

MAX_LEVELS = 8
MAX_RANGES = 4
SETTINGS_A_RANGE = 3


@dataclass(frozen=True)
class Level:
    """One value, or a range of numbers.

    Attributes:
        values: that belong to it, in order.
    """

    values: tuple[Any, ...]

    def __str__(self) -> str:
        if len(self.values) == 1:
            return shown(self.values[0])
        return f"{shown(self.values[0])} to {shown(self.values[-1])}"


def levels_of(values: Sequence[Any], alone: bool = False) -> list[Level]:
    """The levels of a name, in order.

    Each value is one. Numbers are put into ranges with equally many of them where most settings
    have a number of their own, as in a random search: a level must have several settings for its
    mean to say something.

    Args:
        values: one a setting.
        alone: nothing else is varied, so that each value is a setting, and no ranges are needed.
    """
    distinct = in_order(values)
    scattered = len(distinct) > min(MAX_LEVELS, max(len(values) // 2, 2))
    if alone or not (are_numbers(distinct) and scattered):
        return [Level((value,)) for value in distinct]
    count = min(max(len(values) // SETTINGS_A_RANGE, 2), MAX_RANGES)
    parts = np.array_split(np.arange(len(distinct)), count)
    return [Level(tuple(distinct[i] for i in part)) for part in parts]


def in_order(values: Sequence[Any]) -> list[Any]:
    """Distinct values: numbers and tuples by size, others as they come, None first."""
    distinct = list(dict.fromkeys(values))
    rest = [value for value in distinct if value is not None]
    if are_numbers(rest) or all(isinstance(value, tuple) for value in rest):
        rest = sorted(rest)
    return [*([None] if None in distinct else []), *rest]


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all are numbers, and there are some; True and False are none."""
    numbers = int | float | np.integer | np.floating
    return bool(values) and all(isinstance(v, numbers) and not isinstance(v, bool) for v in values)


def shown(value: Any) -> str:
    """A value in few letters, for people."""
    if isinstance(value, float | np.floating):
        return f"{value:.3g}"
    return spelled(value) or ("none" if value is None else "()")


def words(name: str) -> str:
    """A name as it is read: `learning_rate` is `learning rate`."""
    plain = name.strip("_").replace("_", " ").replace("-", " ")
    return plain.replace("log z", "log Z")
