"""Levenshtein's distance between two sequences, for batches of them inside a compiled program."""

import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array


def edit_distance(one: Array, length: Array, other: Array, other_length: Array) -> Array:
    """The fewest insertions, deletions and replacements that make one sequence of the other.

    With D(i, j) the distance of the first i letters of the one from the first j of the other,

        D(i, j) = min(D(i-1, j) + 1, D(i, j-1) + 1, D(i-1, j-1) + [one_i != other_j]).

    A step computes all D(i, j) with i + j = k, which depend on those with k - 1 and k - 2 alone.

    Args:
        one: `[T]` int32, arbitrary after its length.
        length: `[]` int32.
        other: `[U]` int32.
        other_length: `[]` int32.

    Returns:
        `[]` int32.
    """
    size, total = one.size + other.size, length + other_length
    place = jnp.arange(one.size + 1, dtype=jnp.int32)
    letters = jnp.pad(one, (1, 0))
    # Backwards, so that other_j for j = k - i, i = 0, 1, .. is a slice.
    against = jnp.pad(other[::-1], (one.size, one.size + 1))

    def following(carry: tuple[Array, Array, Array], k: Array) -> tuple[tuple, None]:
        before, last, found = carry
        here = lax.dynamic_slice_in_dim(against, size - k, place.size)
        replaced = _shifted(before) + (letters != here).astype(jnp.int32)
        now = jnp.minimum(jnp.minimum(_shifted(last), last) + 1, replaced)
        now = jnp.where((place == 0) | (place == k), k, now)
        return (last, now, jnp.where(k == total, now[length], found)), None

    # k = 0 and k = 1; what is out of range is never looked at.
    first = jnp.zeros_like(place), jnp.ones_like(place), jnp.minimum(total, 1)
    (*_, found), _ = lax.scan(following, first, jnp.arange(2, size + 1, dtype=jnp.int32))
    return found


def _shifted(row: Array) -> Array:
    """What stands one place before; the first is not looked at."""
    return jnp.roll(row, 1)
