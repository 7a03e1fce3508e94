"""The numbers of a frozen dataclass apart from the rest: what varies without new compiled code."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.errors import ArgumentError

T = TypeVar("T")

# Stands in a structure where a number has been taken out: hashable, and equal to itself alone.
HOLE = ...
# The attribute by which what JAX has put together knows what its numbers are: in place of these
# there may be anything, axes or specs for instance.
NAMES = "_gfnjax_numbers"


# What `check_number` takes.
NON_NEGATIVE = (lambda x: x >= 0), "not be negative"
POSITIVE = (lambda x: x > 0), "be positive"
UNIT = (lambda x: 0 <= x <= 1), "be in [0, 1]"
INSIDE_UNIT = (lambda x: 0 < x < 1), "be in (0, 1)"
RATE = (lambda x: 0 < x <= 1), "be in (0, 1]"


class Numbered:
    """A frozen dataclass whose numbers are found where it stands in a field of another.

    Networks and other frozen dataclasses there stay whole.
    """

    __slots__ = ()


def numbers_of(node: Any) -> dict[str, Any]:
    """The numbers of a frozen dataclass by field, and those of each `Numbered` in it as a dict.

    A number is a float, a floating array, or a schedule in a field for floats; an int is one in
    such a field. Whole numbers, strings, bools, functions and None are not.
    """
    if not _is_frozen(node):
        return {}
    known = vars(node).get(NAMES) if hasattr(node, "__dict__") else None
    if known is not None:
        return {k: numbers_of(v) if k in known[1] else v for k, v in _values(node, known[0])}
    found = {}
    for name, value in _values(node, (f.name for f in dataclasses.fields(node) if f.init)):
        if _is_number(value, name in _float_fields(type(node))):
            found[name] = _settled(value)
        elif isinstance(value, Numbered) and (inner := numbers_of(value)):
            found[name] = inner
    return found


def without_numbers(node: T) -> T:
    """The rest, to be compared and hashed; the object itself if it has no numbers."""

    def emptied(node: Any, numbers: Mapping[str, Any]) -> Any:
        return _filled(node, {name: _rest(node, name, numbers) for name in numbers})

    def _rest(node: Any, name: str, numbers: Mapping[str, Any]) -> Any:
        value = numbers[name]
        nested = isinstance(value, dict) and isinstance(getattr(node, name), Numbered)
        return emptied(getattr(node, name), value) if nested else HOLE

    numbers = numbers_of(node)
    return emptied(node, numbers) if numbers else node


def with_numbers(node: T, numbers: Mapping[str, Any]) -> T:
    """`node` with other numbers, all of those of `numbers_of`; nothing is checked."""
    if not numbers:
        return node
    parts = {name for name in numbers if isinstance(getattr(node, name), Numbered)}
    values = {k: with_numbers(getattr(node, k), v) if k in parts else v for k, v in numbers.items()}
    filled = _filled(node, values)
    if hasattr(filled, "__dict__"):
        object.__setattr__(filled, NAMES, (tuple(numbers), frozenset(parts)))
    return filled


def settled(node: T) -> T:
    """`node` with its schedules as pytrees; the object itself if it has none."""
    found = numbers_of(node)
    partial = jax.tree_util.Partial
    schedules = jax.tree.leaves(found, is_leaf=lambda x: isinstance(x, partial))
    if not any(isinstance(x, partial) for x in schedules):
        return node
    return with_numbers(node, found)


def check_number(name: str, value: Any, valid: Callable[[Any], bool], words: str) -> None:
    """Refuse a plain number out of range; arrays and schedules are taken as they are.

    Args:
        name: of the argument.
        value: the number.
        valid: says whether a plain number is in range.
        words: what it must do, "be positive" for instance.

    Raises:
        ArgumentError: for a plain number that is not valid, and for what is no number at all.
    """
    if isinstance(value, int | float | np.number):
        if not valid(value):
            raise ArgumentError(name, f"must {words}, got {value}")
    elif not (callable(value) or isinstance(value, jax.Array | np.ndarray)):
        problem = f"must be a number, an array or a schedule, got {value!r}"
        raise ArgumentError(name, problem)


def scheduled(value: Any) -> Any:
    """A schedule as a pytree without leaves, hashed as itself; anything else as it is."""
    partial = jax.tree_util.Partial
    return partial(value) if callable(value) and not isinstance(value, partial) else value


def _is_frozen(node: Any) -> bool:
    params = getattr(type(node), "__dataclass_params__", None)
    return params is not None and params.frozen


def _values(node: Any, names: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(node, name)) for name in names]


def _is_number(value: Any, in_float_field: bool) -> bool:
    if isinstance(value, bool | str | None):
        return False
    if isinstance(value, jax.Array | np.ndarray):
        return jnp.issubdtype(value.dtype, jnp.floating)
    if isinstance(value, float | np.floating):
        return True
    return in_float_field and (isinstance(value, int | np.integer) or callable(value))


def _settled(value: Any) -> Any:
    """One kind of number, so that an int and a float share compiled code."""
    return float(value) if isinstance(value, int | float | np.number) else scheduled(value)


def _filled(node: Any, values: Mapping[str, Any]) -> Any:
    if not hasattr(node, "__dict__"):  # slots
        filled = copy.copy(node)
    else:
        filled = object.__new__(type(node))
        vars(filled).update(vars(node))
        vars(filled).pop(NAMES, None)
    for name, value in values.items():
        object.__setattr__(filled, name, value)
    return filled


@lru_cache(maxsize=1024)
def _float_fields(cls: type) -> frozenset[str]:
    """The fields that are for floats, perhaps among other things."""
    try:
        hints = get_type_hints(cls, include_extras=False)
    except NameError:  # annotations that cannot be read from here
        hints = {field.name: field.type for field in dataclasses.fields(cls)}  # type: ignore
    return frozenset(name for name, hint in hints.items() if _admits_floats(hint))


def _admits_floats(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Annotated or origin in (Union, UnionType):
        return any(map(_admits_floats, get_args(hint)))
    return hint is float or hint == "float" or (isinstance(hint, str) and "float" in hint)
