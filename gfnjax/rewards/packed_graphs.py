"""Networks on batches of graphs, at a cost that follows the atoms that are there.

Molecules are padded to the largest that could be, several times what most have. Of a batch, the
atoms are packed one molecule after the other, and taken in chunks of whole molecules by a loop of
dynamic length, as `gfnjax.packing` does with rows that know nothing of each other. There is no
derivative.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from gfnjax.chemistry.atoms import AtomGraph
from gfnjax.types import Array, PyTree

NodeFunction = Callable[[PyTree, AtomGraph], Array]


def each_packed(fn: NodeFunction, params: PyTree, graph: AtomGraph) -> Array:
    """`fn(params, graph)` `[N, F]`, zero where there is no atom; all vmaps are one batch.

    `fn` has to give the same for an atom wherever the graph has it, and whatever else is in it.
    """

    def plain(params: PyTree, graphs: AtomGraph) -> Array:
        outputs = jax.vmap(fn, (None, 0))(params, graphs)
        return outputs * graphs.live[:, :, None].astype(outputs.dtype)

    @custom_vmap
    def batch(params: PyTree, graphs: AtomGraph) -> Array:
        num_graphs, num_atoms = graphs.live.shape
        chunk = _chunk_size(num_graphs, num_atoms)
        if num_graphs * num_atoms <= chunk:
            return plain(params, graphs)
        return _packed(fn, params, graphs, chunk)

    @batch.def_vmap
    def _(size: int, batched: PyTree, params: PyTree, graphs: AtomGraph) -> tuple[Array, bool]:
        if any(jax.tree.leaves(batched[0])):  # several networks
            axes = jax.tree.map(lambda b: 0 if b else None, tuple(batched))
            return jax.vmap(plain, axes)(params, graphs), True

        def merged(x: Array, has_axis: bool) -> Array:
            x = x if has_axis else jnp.broadcast_to(x[None], (size, *x.shape))
            return x.reshape(-1, *x.shape[2:])

        outputs = batch(params, jax.tree.map(merged, graphs, batched[1]))
        return outputs.reshape(size, -1, *outputs.shape[1:]), True

    return batch(params, jax.tree.map(lambda x: x[None], graph))[0]


def _chunk_size(num_graphs: int, num_atoms: int) -> int:
    """Atoms at a time, at least those of one graph."""
    return max(num_atoms, num_graphs * num_atoms // 8)


def _packed(fn: NodeFunction, params: PyTree, graphs: AtomGraph, chunk: int) -> Array:
    """`[G, N, F]` of G graphs."""
    num_graphs, num_atoms = graphs.live.shape
    size = num_graphs * num_atoms
    live = graphs.live.reshape(size)
    slot = jnp.cumsum(live, dtype=jnp.int32) - 1
    # No chunk starts behind the last atom.
    order = jnp.zeros(size + chunk, jnp.int32).at[jnp.where(live, slot, size + chunk)].set(
        jnp.arange(size, dtype=jnp.int32), mode="drop"
    )
    ends = slot.reshape(num_graphs, num_atoms)[:, -1] + 1
    offset = jnp.arange(num_graphs, dtype=jnp.int32)[:, None, None] * num_atoms
    there = graphs.neighbours >= 0
    neighbours = jnp.where(there, slot[jnp.where(there, graphs.neighbours + offset, 0)], -1)
    flat = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), graphs)
    flat = flat._replace(neighbours=neighbours.reshape(size, -1))

    def at(start: Array) -> Array:
        rows = lax.dynamic_slice_in_dim(order, start, chunk)
        part = jax.tree.map(lambda x: x[rows], flat)
        # What is cut off at the end belongs to a graph that the next chunk starts with.
        inside = (part.neighbours >= 0) & (part.neighbours < start + chunk)
        return fn(params, part._replace(neighbours=jnp.where(inside, part.neighbours - start, -1)))

    def one(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        start, outputs = carry
        outputs = lax.dynamic_update_slice_in_dim(outputs, at(start), start, axis=0)
        return jnp.where(ends <= start + chunk, ends, 0).max(), outputs

    shape = jax.eval_shape(at, ends[0])
    empty = jnp.zeros((size + chunk, *shape.shape[1:]), shape.dtype)
    start = (jnp.zeros((), jnp.int32), empty)
    outputs = lax.while_loop(lambda carry: carry[0] < ends[-1], one, start)[1]
    found = outputs[slot] * live[:, None].astype(shape.dtype)
    return found.reshape(num_graphs, num_atoms, -1)
