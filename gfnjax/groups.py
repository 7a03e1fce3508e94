"""Rows of a batch that are equal: found, and evaluated once for all of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gfnjax import equality, packing
from gfnjax.types import Array, PyTree

# A few at a time make better matrix products; of less than half as many, one at a time.
AT_ONCE = 4


def leaders(rows: PyTree) -> Array:
    """`[B]` int32: for each of the rows `[B, ...]` the number of the first that is equal to it."""
    marks = equality.fingerprint(rows)
    first = jnp.argmax(marks[:, None] == marks[None], axis=1).astype(jnp.int32)
    # Of two rows that only look alike, the later one stands for itself.
    found = equality.same(rows, jax.tree.map(lambda x: x[first], rows))
    return jnp.where(found, first, jnp.arange(first.size, dtype=jnp.int32))


def lead(leader: Array) -> Array:
    """`[B]` bool, which rows are the first of their kind, of what `leaders` has found."""
    return leader == jnp.arange(leader.size, dtype=jnp.int32)


def once(fn: Callable[[PyTree], PyTree], rows: PyTree, leader: Array) -> PyTree:
    """`[B, ...]` what `fn` makes of each of the rows `[B, ...]`, computed once for equal ones.

    Args:
        fn: of one row.
        rows: any arrays; of equal rows only the first is looked at.
        leader: `[B]` from `leaders`.

    Returns:
        Arrays `[B, ...]`; not differentiable.
    """
    found = packing.evaluate_live(fn, rows, lead(leader), AT_ONCE)
    return jax.tree.map(lambda x: x[leader], found)


def means(values: Array, leader: Array) -> Array:
    """`[B]` for each row the mean of `values` `[B]` over the rows with the same leader."""
    size = leader.size
    total = jax.ops.segment_sum(values, leader, size)
    count = jax.ops.segment_sum(jnp.ones_like(values), leader, size)
    return (total / jnp.maximum(count, 1))[leader]
