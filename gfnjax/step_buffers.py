"""Arrays `[B, T, ...]` with an axis for the steps of trajectories, written in a loop."""

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array, PyTree


def room(tree: PyTree, size: int) -> PyTree:
    """Room for `size` of `[B, ...]`: `[B, size, ...]`, as trajectories have it, without a copy."""
    return jax.tree.map(lambda x: jnp.zeros((x.shape[0], size, *x.shape[1:]), x.dtype), tree)


def write(buffers: PyTree, values: PyTree, t: Array) -> PyTree:
    """Values `[B, ...]` of one step into slot t of `[B, size, ...]`."""
    return jax.tree.map(
        lambda buffer, x: lax.dynamic_update_index_in_dim(buffer, x, t, 1), buffers, values
    )


def where(condition: Array, x: Array, y: Array) -> Array:
    """`jnp.where` of whole rows `[B, ...]`."""
    return jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y)


def repeat_last(states: PyTree, terminal: PyTree, length: Array) -> PyTree:
    """Pad `[B, T + 1, ...]` states from `length` on with the terminal state."""

    def pad(x: Array, last: Array) -> Array:
        before = jnp.arange(x.shape[1], dtype=jnp.int32)[None] < length[:, None]
        return where(before, x, last[:, None])

    return jax.tree.map(pad, states, terminal)
