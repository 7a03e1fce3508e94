"""Evaluate a network on live rows only: `map_live`, a vmap whose cost follows the mask.

The live rows are packed to the front by a cumulative sum and evaluated in chunks by a loop with
a dynamic trip count. Reverse-mode differentiation through such a loop is not defined, so the
vector-Jacobian product is written out: it re-evaluates each chunk and accumulates the gradient.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array, PyTree

RowFunction = Callable[[PyTree, PyTree, PyTree], PyTree]


def map_all(fn: RowFunction, params: PyTree, context: PyTree, rows: PyTree, live: Array) -> PyTree:
    """`fn(params, context, row)` on every row, zero where `live` is False. Any differentiation."""
    outputs = jax.vmap(fn, (None, None, 0))(params, context, rows)
    return jax.tree.map(lambda x: _where_live(live, x), outputs)


def map_live(
    fn: RowFunction,
    params: PyTree,
    context: PyTree,
    rows: PyTree,
    live: Array,
    chunk_size: int,
    known: PyTree | None = None,
) -> PyTree:
    """Same value and gradient as `map_all`, at a cost that grows with the number of live rows.

    Differentiable in `params` only (reverse mode); `context` and `rows` are constants.

    Args:
        fn: `(params, context, row) -> outputs` for one row, a pytree of arrays.
        params: what is differentiated.
        context: a pytree shared by all rows.
        rows: pytree of `[N, ...]` arrays.
        live: `[N]` True where a row matters.
        chunk_size: rows evaluated at a time.
        known: the outputs `[N, ...]`, where they have been computed already (by the rollout
            that produced the rows): the forward evaluation is then skipped.

    Returns:
        Pytree of `[N, ...]` outputs, zero where `live` is False.
    """
    if known is not None:
        known = jax.tree.map(lambda x: _where_live(live, x), known)
    return _map_live(fn, chunk_size, params, context, rows, live, known)


def _where_live(live: Array, x: Array) -> Array:
    return jnp.where(live.reshape(live.shape + (1,) * (x.ndim - 1)), x, jnp.zeros((), x.dtype))


def evaluate_live(
    fn: Callable[[PyTree], PyTree], rows: PyTree, live: Array, chunk_size: int
) -> PyTree:
    """`fn(row)` on the live ones of `[N, ...]` rows, zero elsewhere. Not differentiable."""
    order, slot = _pack(live, chunk_size)
    chunk = _chunk_function(fn, rows, order, chunk_size)
    shapes = jax.eval_shape(chunk, 0)
    packed = jax.tree.map(lambda s: jnp.zeros((order.size, *s.shape[1:]), s.dtype), shapes)

    def body(i: Array, packed: PyTree) -> PyTree:
        return jax.tree.map(
            lambda buffer, x: lax.dynamic_update_slice_in_dim(buffer, x, i * chunk_size, 0),
            packed,
            chunk(i),
        )

    packed = lax.fori_loop(0, _num_chunks(live, chunk_size), body, packed)
    return jax.tree.map(lambda x: _where_live(live, x[slot]), packed)


def chunk_of(num_rows: int) -> int:
    """Rows at a time, where nothing else says so: small beside all, large enough to be worth it."""
    return min(num_rows, max(num_rows // 8, 256))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _map_live(fn, chunk_size, params, context, rows, live, known):
    if known is not None:
        return known
    return evaluate_live(partial(fn, params, context), rows, live, chunk_size)


def _forward(fn, chunk_size, params, context, rows, live, known):
    outputs = _map_live(fn, chunk_size, params, context, rows, live, known)
    return outputs, (params, context, rows, live)


def _backward(fn, chunk_size, residuals, cotangents):
    params, context, rows, live = residuals
    order, _ = _pack(live, chunk_size)
    # Rows past the last live one point outside and read a zero cotangent.
    padded = jax.tree.map(
        lambda x: jnp.concatenate([_where_live(live, x), jnp.zeros((1, *x.shape[1:]), x.dtype)]),
        cotangents,
    )

    def body(i: Array, gradient: PyTree) -> PyTree:
        def outputs(params: PyTree) -> PyTree:
            return _chunk_function(partial(fn, params, context), rows, order, chunk_size)(i)

        index = lax.dynamic_slice_in_dim(order, i * chunk_size, chunk_size)
        _, vjp = jax.vjp(outputs, params)
        (update,) = vjp(jax.tree.map(lambda x: x[index], padded))
        return jax.tree.map(jnp.add, gradient, update)

    zeros = jax.tree.map(jnp.zeros_like, params)
    gradient = lax.fori_loop(0, _num_chunks(live, chunk_size), body, zeros)
    return gradient, None, None, None, None


_map_live.defvjp(_forward, _backward)


def _pack(live: Array, chunk_size: int) -> tuple[Array, Array]:
    """`order[k]` is the row in slot k (N past the last), `slot[n]` the slot of row n."""
    num_rows = live.shape[0]
    capacity = -(-num_rows // chunk_size) * chunk_size
    slot = jnp.cumsum(live.astype(jnp.int32)) - 1
    target = jnp.where(live, slot, capacity)
    rows = jnp.arange(num_rows, dtype=jnp.int32)
    order = jnp.full(capacity, num_rows, jnp.int32).at[target].set(rows, mode="drop")
    return order, slot


def _num_chunks(live: Array, chunk_size: int) -> Array:
    return (live.astype(jnp.int32).sum() + chunk_size - 1) // chunk_size


def _chunk_function(
    fn: Callable[[PyTree], PyTree], rows: PyTree, order: Array, chunk_size: int
) -> Callable[[Any], PyTree]:
    def chunk(i: Any) -> PyTree:
        index = lax.dynamic_slice_in_dim(order, i * chunk_size, chunk_size)
        # Past the last live row repeat the first: a dead one may hold anything, NaN included.
        return jax.vmap(fn)(
            jax.tree.map(lambda x: x[jnp.where(index < len(x), index, order[0])], rows)
        )

    return chunk
