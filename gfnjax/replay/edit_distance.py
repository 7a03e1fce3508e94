"""Levenshtein's distance between two sequences, for batches of them inside a compiled program."""

import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array


def edit_distance(one: Array, length: Array, other: Array, other_length: Array) -> Array:
    """The fewest insertions, deletions and replacements that make one sequence of the other.

    With D(i, j) the distance of the first i letters of the one from the first j of the other,

        D(i, j) = min(D(i-1, j) + 1, D(i, j-1) + 1, D(i-1, j-1) + [one_i != other_j]),

    a row a step: within a row D(i, j) = j + min over k <= j of (c_k - k), where c_k is the best
    that comes from the row above.

    Args:
        one: `[T]` int32, arbitrary after its length.
        length: `[]` int32.
        other: `[U]` int32.
        other_length: `[]` int32.

    Returns:
        `[]` int32.
    """
    column = jnp.arange(other.size + 1, dtype=jnp.int32)

    def row(above: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        i, letter = at
        replaced = above[:-1] + (other != letter).astype(jnp.int32)
        best = jnp.concatenate([above[:1] + 1, jnp.minimum(above[1:] + 1, replaced)])
        below = lax.cummin(best - column) + column
        return jnp.where(i < length, below, above), None

    steps = jnp.arange(one.size, dtype=jnp.int32)
    last, _ = lax.scan(row, column, (steps, one))
    return last[other_length]
