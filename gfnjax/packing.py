"""Evaluate a network on live rows only: `map_live`, a vmap whose cost follows the mask.

The live rows are packed to the front by a cumulative sum and evaluated in chunks by loops with
a dynamic trip count. Reverse-mode differentiation through such a loop is not defined, so the
vector-Jacobian product is written out: it re-evaluates each chunk and accumulates the gradient.

Large chunks make efficient matrix products, small ones waste little on the last: as many large
ones as are at least half full, then small ones. Where all rows fit into one chunk there is no loop.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array, PyTree

# Small chunks to a large one.
PARTS = 4

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
    features: PyTree = None,
) -> PyTree:
    """Same value and gradient as `map_all`, at a cost that grows with the number of live rows.

    Differentiable in `params` and `features` (reverse mode); `context` and `rows` are constants.

    Args:
        fn: `(params, context, row) -> outputs` for one row, a pytree of arrays; with features
            `(params, context, (row, features of the row))`.
        params: what is differentiated.
        context: a pytree shared by all rows.
        rows: pytree of `[N, ...]` arrays.
        live: `[N]` True where a row matters.
        chunk_size: rows evaluated at a time, at most.
        known: the outputs `[N, ...]`, where they have been computed already (by the rollout
            that produced the rows): the forward evaluation is then skipped.
        features: pytree of `[N, ...]` floating arrays, rows that are differentiated too.

    Returns:
        Pytree of `[N, ...]` outputs, zero where `live` is False.
    """
    if known is not None:
        known = jax.tree.map(lambda x: _where_live(live, x), known)
    return _map_live(fn, chunk_size, params, features, context, rows, live, known)


def _where_live(live: Array, x: Array) -> Array:
    return jnp.where(live.reshape(live.shape + (1,) * (x.ndim - 1)), x, jnp.zeros((), x.dtype))


def evaluate_live(
    fn: Callable[[PyTree], PyTree], rows: PyTree, live: Array, chunk_size: int
) -> PyTree:
    """`fn(row)` on the live ones of `[N, ...]` rows, zero elsewhere. Not differentiable."""
    first = jnp.argmax(live).astype(jnp.int32)

    def at(index: Array) -> PyTree:
        return jax.vmap(fn)(_take(rows, index, first))

    if live.size <= chunk_size:
        return jax.tree.map(lambda x: _where_live(live, x), at(_in_place(live)))
    order, slot = _pack(live, chunk_size)
    packed = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(at, order))

    def body(index: Array, start: Array, packed: PyTree) -> PyTree:
        write = partial(lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return jax.tree.map(write, packed, at(index))

    packed = _over_chunks(body, packed, order, live, chunk_size)
    return jax.tree.map(lambda x: _where_live(live, x[slot]), packed)


def chunk_of(num_rows: int) -> int:
    """Rows at a time, where nothing else says so: small beside all, large enough to be worth it."""
    return min(num_rows, max(num_rows // 8, 256))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _map_live(fn, chunk_size, params, features, context, rows, live, known):
    if known is not None:
        return known
    both = rows if features is None else (rows, features)
    return evaluate_live(partial(fn, params, context), both, live, chunk_size)


def _forward(fn, chunk_size, params, features, context, rows, live, known):
    outputs = _map_live(fn, chunk_size, params, features, context, rows, live, known)
    return outputs, (params, features, context, rows, live)


def _backward(fn, chunk_size, residuals, cotangents):
    params, features, context, rows, live = residuals
    cotangents = jax.tree.map(lambda x: _where_live(live, x), cotangents)
    first = jnp.argmax(live).astype(jnp.int32)

    def product(index: Array, cotangents: PyTree) -> tuple[PyTree, PyTree]:
        """The vector-Jacobian product of the rows `index`: for `params`, and for each row."""

        def outputs(params: PyTree, own: PyTree) -> PyTree:
            taken = _take(rows, index, first)
            both = taken if features is None else (taken, own)
            return jax.vmap(partial(fn, params, context))(both)

        return jax.vjp(outputs, params, _take(features, index, first))[1](cotangents)

    if live.size <= chunk_size:
        return *product(_in_place(live), cotangents), None, None, None, None
    order, _ = _pack(live, chunk_size)
    # Past the last live row there is a zero cotangent.
    padded = jax.tree.map(lambda x: jnp.pad(x, ((0, 1),) + ((0, 0),) * (x.ndim - 1)), cotangents)

    def body(index: Array, start: Array, gradient: tuple[PyTree, PyTree]) -> PyTree:
        shared, own = gradient
        update, each = product(index, jax.tree.map(lambda x: x[index], padded))
        put = jax.tree.map(lambda x, y: x.at[index].set(y, mode="drop"), own, each)
        return jax.tree.map(jnp.add, shared, update), put

    zeros = jax.tree.map(jnp.zeros_like, (params, features))
    gradient = _over_chunks(body, zeros, order, live, chunk_size)
    return *gradient, None, None, None, None


_map_live.defvjp(_forward, _backward)


def _over_chunks(
    body: Callable[[Array, Array, PyTree], PyTree],
    carry: PyTree,
    order: Array,
    live: Array,
    chunk_size: int,
) -> PyTree:
    """`carry` after `body(index, start, carry)` for the rows `index` in the slots from `start`."""
    count, small = live.sum(dtype=jnp.int32), max(chunk_size // PARTS, 1)
    large = count // chunk_size + (count % chunk_size > chunk_size // 2).astype(jnp.int32)
    done = large * chunk_size
    rest = (jnp.maximum(count - done, 0) + small - 1) // small

    loops = [(jnp.zeros_like(done), chunk_size, large), (done, small, rest)]
    if small == chunk_size:  # all are large
        loops.pop()
    for first, size, number in loops:

        def one(i: Array, carry: PyTree, first: Array = first, size: int = size) -> PyTree:
            start = first + i * size
            return body(lax.dynamic_slice_in_dim(order, start, size), start, carry)

        carry = lax.fori_loop(0, number, one, carry)
    return carry


def _pack(live: Array, chunk_size: int) -> tuple[Array, Array]:
    """`order[k]` is the row in slot k (N past the last), `slot[n]` the slot of row n."""
    num_rows = live.shape[0]
    capacity = -(-num_rows // chunk_size) * chunk_size
    slot = jnp.cumsum(live.astype(jnp.int32)) - 1
    target = jnp.where(live, slot, capacity)
    order = jnp.full(capacity, num_rows, jnp.int32)
    return order.at[target].set(_numbers(live), mode="drop"), slot


def _in_place(live: Array) -> Array:
    """`[N]` int32: the number of each live row, N for the others."""
    return jnp.where(live, _numbers(live), live.size)


def _numbers(live: Array) -> Array:
    return jnp.arange(live.size, dtype=jnp.int32)


def _take(rows: PyTree, index: Array, first: Array) -> PyTree:
    """Rows by number, row `first` for N: a dead one may hold anything, NaN included."""
    return jax.tree.map(lambda x: x[jnp.where(index < len(x), index, first)], rows)
