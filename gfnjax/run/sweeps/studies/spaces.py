"""What the names of a search may take: a list, a range in so many steps, or all of an interval."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfnjax.errors import ArgumentError
from gfnjax.run.sweeps.levels import are_numbers
from gfnjax.run.sweeps.table import spelled
from gfnjax.sweeps.points import Uniform, make_points


@dataclass(frozen=True)
class Spaced:
    """Numbers in order, of which values close to each other do alike.

    Attributes:
        values: at least one.
        log: whether equal ratios, rather than equal differences, are equal distances.
    """

    values: tuple[Any, ...]
    log: bool = False

    def nearest(self, value: float) -> Any:
        """That of the values which is closest."""
        measure = math.log if self.log else float
        return min(self.values, key=lambda x: abs(measure(x) - measure(value)))


# Of a list nothing is known but what is in it.
Space = Sequence[Any] | Uniform | Spaced


def check_spaces(spaces: Mapping[str, Space]) -> None:
    """Refuse what cannot be searched.

    Raises:
        ArgumentError: for no spaces, an empty one, or something else than a space.
    """
    if not spaces:
        raise ArgumentError("vary", "must name at least one thing to be searched")
    for name, space in spaces.items():
        if isinstance(space, Spaced) and not are_numbers(space.values):
            raise ArgumentError(name, f"must have a range of numbers, got {space.values}")
        if not isinstance(space, Uniform | Spaced):
            make_points({name: space})


def suggest(trial: Any, spaces: Mapping[str, Space]) -> dict[str, Any]:
    """The values that an `optuna.Trial` takes; those that it has had before stay."""
    return values_of({name: _ask(trial, name, x) for name, x in spaces.items()}, spaces)


def _ask(trial: Any, name: str, space: Space) -> Any:
    if isinstance(space, Uniform):
        return trial.suggest_float(name, space.low, space.high, log=space.log)
    if isinstance(space, Spaced):
        whole = all(isinstance(value, int) for value in space.values)
        ask = trial.suggest_int if whole else trial.suggest_float
        return ask(name, min(space.values), max(space.values), log=space.log)
    return trial.suggest_categorical(name, list(map(_label, space)))


def values_of(params: Mapping[str, Any], spaces: Mapping[str, Space]) -> dict[str, Any]:
    """What is trained, of what a study keeps of it."""
    return {name: _value(params[name], space) for name, space in spaces.items()}


def _value(kept: Any, space: Space) -> Any:
    if isinstance(space, Uniform | Spaced):
        return on_grid(kept, space)
    return next(value for value in space if _label(value) == kept)


def _label(value: Any) -> Any:
    """What a study keeps for a choice: plain values, and text for all others."""
    return value if isinstance(value, None | bool | int | float | str) else spelled(value)


def on_grid(value: Any, space: Space) -> Any:
    """A number that a sampler has drawn, as one of those that there are."""
    return space.nearest(value) if isinstance(space, Spaced) else value


def describe(spaces: Mapping[str, Space]) -> dict[str, Any]:
    """Spaces as plain values, the same for spaces that are the same."""
    return {name: _describe(space) for name, space in spaces.items()}


def _describe(space: Space) -> str:
    if isinstance(space, Uniform):
        return f"{'log-' * space.log}uniform:{float(space.low)}:{float(space.high)}"
    values = ",".join(map(spelled, space.values if isinstance(space, Spaced) else space))
    if isinstance(space, Spaced):
        return f"{'log:' * space.log}{values}, in order"
    return values


def examples(spaces: Mapping[str, Space]) -> list[dict[str, Any]]:
    """Values at which what is made of them shows all of its kinds: the first ones, then all others
    of each list in the place of its first."""
    firsts = {name: _ends(space)[0] for name, space in spaces.items()}
    others = ({**firsts, name: x} for name, space in spaces.items() for x in _ends(space)[1:])
    return list(itertools.chain([firsts], others))


def _ends(space: Space) -> list[Any]:
    if isinstance(space, Uniform):
        return [float(space.low), float(space.high)]
    return list(space.values if isinstance(space, Spaced) else space)
