"""Arguments that users write in more than one way: whole numbers, PRNG keys, misspelt names."""

import difflib
import operator
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.types import Array


def whole(name: str, value: Any, least: int | None = None) -> int:
    """`value` as a Python int: an int, a NumPy integer, or a float without a fraction (`1e3`).

    Raises:
        TypeError: for anything else, a bool included.
        ValueError: for a value below `least`.
    """
    number = _whole(value)
    if number is None:
        raise ArgumentError(name, f"must be a whole number, got {value!r}")
    if least is not None and number < least:
        raise ArgumentError(name, f"must be at least {least}, got {value}")
    return number


def settle(instance: Any, **least: int | None) -> None:
    """Keep fields of a frozen dataclass as Python ints: `settle(self, side=2)`, at least 2."""
    for name, bound in least.items():
        object.__setattr__(instance, name, whole(name, getattr(instance, name), bound))


def is_known(*values: Any) -> bool:
    """Whether numbers can be looked at: a function that JAX traces may construct things, too."""
    return all(not isinstance(x, jax.core.Tracer) and np.ndim(x) == 0 for x in values)


def is_traced(tree: Any) -> bool:
    """Whether there is an array in it that nobody can look at, as JAX traces a function."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))


def _whole(value: Any) -> int | None:
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, float | np.floating):
        return int(value) if value.is_integer() else None
    try:
        return operator.index(value)
    except TypeError:
        return None


def check_key(name: str, key: Any, *, seeds: bool = False) -> Array:
    """`key` if it is one typed PRNG key; with `seeds` also the key of a whole number.

    Raises:
        TypeError: for anything else.
    """
    if seeds and _whole(key) is not None:
        return jax.random.key(whole(name, key))
    if not is_key(key):
        legacy = getattr(key, "dtype", None) == jnp.uint32
        got = "" if legacy else f" (got {_short(key)})"
        remedy = f"use jax.random.key, not PRNGKey{got}"
        raise ArgumentError(name, "must be a typed PRNG key", remedy)
    if key.shape != ():
        raise ArgumentError(name, f"must be one key, got {key.shape}", "use jax.vmap over several")
    return key


def is_key(value: Any) -> bool:
    """Whether `value` is an array of typed PRNG keys."""
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else type(value).__name__


def suggest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?", where something known looks like `name`, else nothing."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
