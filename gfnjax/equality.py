"""Which objects are equal: a fingerprint to find candidates, a comparison to be sure."""

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.types import Array, PyTree

# Odd multipliers with bits all over; a small one keeps the order of a state's arrays apart.
SPREAD, MULTIPLIER, NEXT = np.uint32(0x9E3779B9), np.uint32(0x85EBCA6B), np.uint32(31)


def fingerprint(objects: PyTree) -> Array:
    """`[n]` uint32: equal for equal objects `[n, ...]`, and for others hardly ever."""
    leaves = [_words(x) for x in jax.tree.leaves(objects)]
    total = jnp.zeros(leaves[0].shape[0], jnp.uint32)
    for words in leaves:
        place = jnp.arange(1, words.shape[1] + 1, dtype=jnp.uint32) * SPREAD
        total = total * NEXT + _mix(words ^ place[None]).sum(axis=1, dtype=jnp.uint32)
    return total


def same(one: PyTree, other: PyTree) -> Array:
    """`[n]` True where two batches of objects `[n, ...]` hold equal ones."""

    def equal(x: Array, y: Array) -> Array:
        return (x == y).all(axis=tuple(range(1, x.ndim)))

    return jnp.stack(jax.tree.leaves(jax.tree.map(equal, one, other))).all(axis=0)


def repeats(objects: PyTree, complete: Array) -> Array:
    """`[n]` True where an equal object, both complete, stands earlier in the batch."""

    def row(one: PyTree) -> Array:
        copies = jax.tree.map(lambda x, all_: jnp.broadcast_to(x, all_.shape), one, objects)
        return same(copies, objects)

    equal = jax.vmap(row)(objects) & complete[None] & complete[:, None]
    return jnp.tril(equal, -1).any(axis=1)


def _words(x: Array) -> Array:
    """An array `[n, ...]` as unsigned words `[n, k]`, equal for equal numbers."""
    x = x.reshape(x.shape[0], -1)
    if jnp.issubdtype(x.dtype, jnp.floating):
        # Zero has two signs; single precision is enough to find candidates.
        x = jax.lax.bitcast_convert_type(x.astype(jnp.float32) + np.float32(0), jnp.uint32)
    return x.astype(jnp.uint32)


def _mix(x: Array) -> Array:
    """Each bit of a word reaches all others."""
    for _ in range(2):
        x = (x ^ (x >> np.uint32(16))) * MULTIPLIER
    return x ^ (x >> np.uint32(13))
