"""Rows of a batch that are equal: found, and evaluated once for all of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gfnjax import equality, packing, spread
from gfnjax.types import Array, PyTree

# One at a time: what reads a prompt is large, and is compiled for each number that is read at once.
AT_ONCE = 1


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
    """`[B]` for each row the mean of `values` `[B]` over the rows with the same leader.

    Where several devices share a batch, that must be all of its rows.
    """
    if spread.num_parts() > 1:
        return jnp.broadcast_to(spread.mean(values), values.shape)
    size = leader.size
    total = jax.ops.segment_sum(values, leader, size)
    count = jax.ops.segment_sum(jnp.ones_like(values), leader, size)
    return (total / jnp.maximum(count, 1))[leader]


def standardised(values: Array, leader: Array) -> Array:
    """`[B]` values `[B]` less the mean over their group, by the standard deviation there.

    0 in groups whose values are alike, but for rounding.
    """
    mean = means(values, leader)
    deviation = jnp.sqrt(means((values - mean) ** 2, leader))
    differs = deviation > 1e-6 * (1 + jnp.abs(mean))
    return jnp.where(differs, (values - mean) / jnp.where(differs, deviation, 1.0), 0.0)
