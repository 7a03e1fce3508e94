"""Rejection with a fixed number of proposals, which are drawn outside of any loop."""

import jax
import jax.numpy as jnp

from gfnjax.types import Array


def first_accepted(values: Array, accepted: Array) -> Array:
    """`[]` the first of `values` `[n]` that is `accepted` `[n]`; the first where none is."""
    return values[jnp.argmax(accepted)]


def component_of(logits: Array, u: Array) -> Array:
    """`[]` int32, one of softmax(logits `[k]`), from `u` `[]` in [0, 1)."""
    passed = jnp.cumsum(jax.nn.softmax(logits)) <= u
    return jnp.minimum(passed.sum(dtype=jnp.int32), logits.size - 1)
