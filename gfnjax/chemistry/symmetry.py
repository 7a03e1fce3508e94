"""When two states are one molecule: canonical states, automorphisms, multiplicities.

A molecule is a tree of fragments bonded at their sites; a state writes it down, with a root,
entries and positions. Of a molecule x there are

    N(x) = sum over blocks i of  W_root(i) prod_{j != i} W_attached(j)  /  |Aut x|

states: W counts, for one fragment with its bonds, the entries, automorphisms of the fragment and
positions that write it down, and every state is met once for each automorphism of x. To a sampler
all of them are different objects, so molecules come out in proportion to R where states are
rewarded with R / N. It holds for any backward policy, and for any vocabulary.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.chemistry.fragments import Fragments
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.views import (
    EMPTY,
    FIRST_RANK,
    Views,
    copies,
    directions,
    first,
    packed,
    permuted,
    rank_views,
    ranks_beyond,
    table,
    views_of,
)
from gfnjax.types import Array


class _Tree(NamedTuple):
    """A molecule as a tree whose root depends on the molecule only: views of its blocks `[B]`.

    Beside it `log_pairs` `[B]`, the logarithms of W_root(i) prod W_attached(j) for each root i.
    """

    log_pairs: Array
    root: Array
    direction: Array
    views: Views
    ranks: Array
    tables: Array
    num_roots: Array
    ways: Array
    num_positions: Array


def log_multiplicity(state: MoleculeState, fragments: Fragments) -> Array:
    """`[]` log N(x), nats, x the molecule of a state; 0 of the empty one."""
    return jax.nn.logsumexp(log_multiplicities(state, fragments))


def log_multiplicities(state: MoleculeState, fragments: Fragments) -> Array:
    """`[B]` log N(x) split by the block that is the root.

    -inf for empty slots, and for blocks that no state has for its root.
    """
    tree = _tree(state, fragments)
    # The empty molecule is one state.
    alone = (state.blocks[0] < 0) & (jnp.arange(state.blocks.size, dtype=jnp.int32) == 0)
    return jnp.where(alone, 0.0, tree.log_pairs - _log_automorphisms(tree, state.blocks >= 0))


def canonical(state: MoleculeState, fragments: Fragments) -> MoleculeState:
    """The one of all states of the same molecule that stands for it: one with most stems."""
    tree = _tree(state, fragments)
    number = 3 * state.blocks.size + FIRST_RANK
    seen = tree.views, tree.tables, tree.ways, tree.num_positions
    chosen = jax.vmap(partial(_choose, number))(*seen)
    return _written(tree, *chosen, state, fragments)


class Writings(NamedTuple):
    """How a molecule can be written down, for each of its blocks i as the root.

    Attributes:
        ways: `[B, B, E, P]` int32, W of block j in parts: with each of the entries of its fragment,
            and each automorphism taking its atoms to those of the entry.
        log_automorphisms: `[]` log |Aut x|, nats.
    """

    ways: Array
    log_automorphisms: Array


def writings(state: MoleculeState, fragments: Fragments) -> Writings:
    """All ways to write down the molecule of a state."""
    tree = _tree(state, fragments)
    views, toward = views_of(state, fragments), directions(state)
    ways, _ = jax.vmap(partial(_num_ways, fragments))(views)
    return Writings(ways[toward], _log_automorphisms(tree, state.blocks >= 0))


def rewritten(
    state: MoleculeState, root: Array, entries: Array, automorphisms: Array, fragments: Fragments
) -> MoleculeState:
    """A state of the same molecule; one of `Writings`, which has to be possible.

    Args:
        state: of the molecule.
        root: `[]` int32 slot of the block that is to be the root.
        entries: `[B]` int32, which of the entries of its fragment each block gets.
        automorphisms: `[B]` int32, by which of the automorphisms.
        fragments: of the vocabulary.
    """
    return _written(_tree(state, fragments, root), entries, automorphisms, state, fragments)


def _written(
    tree: _Tree, entries: Array, automorphisms: Array, state: MoleculeState, fragments: Fragments
) -> MoleculeState:
    max_blocks = state.blocks.size
    chosen = entries, automorphisms
    blocks, places = jax.vmap(partial(_write, fragments))(tree.views, tree.ranks, *chosen)
    # Where the root used to be below, a block hangs on what used to hang on it.
    turned = tree.direction >= 2 * max_blocks
    parent = jnp.where(turned, tree.direction - 2 * max_blocks, state.parent)
    hangs_on = jnp.where(turned, 0, state.position)
    is_root = jnp.arange(max_blocks, dtype=jnp.int32) == tree.root
    there = state.blocks >= 0
    parent = jnp.where(is_root | ~there, -1, parent)
    position = jnp.where(is_root | ~there, -1, places[parent, hangs_on])
    return _in_order(MoleculeState(jnp.where(there, blocks, -1), parent, position, state.stopped))


def _tree(state: MoleculeState, fragments: Fragments, root: Array | None = None) -> _Tree:
    shape = fragments.table_shape
    views, toward = views_of(state, fragments), directions(state)
    ways, num_positions = jax.vmap(partial(_num_ways, fragments))(views)
    there = state.blocks >= 0
    total = ways.sum(axis=(1, 2), dtype=jnp.int32)
    log_ways = jnp.log(jnp.maximum(total, 1).astype(jnp.result_type(float)))
    log_ways = jnp.where(total > 0, log_ways, -jnp.inf)[toward]
    log_pairs = jnp.where(there[None], log_ways, 0.0).sum(axis=1)
    log_pairs = jnp.where(there, log_pairs, -jnp.inf)
    rank = rank_views(views, shape)
    here = rank[: there.size]
    if root is None:
        most = jnp.where((ways > 0).any(axis=2), num_positions, 0).max(axis=1)
        size = jnp.where(there[None], most[toward], 0).sum(axis=1, dtype=jnp.int32)
        order = packed(jnp.stack([size.max()[None] - size, here], 1), 2**15)
        root = first(order, log_pairs > -jnp.inf)
    seen = views.at(toward[root])
    ranks = ranks_beyond(rank, seen)
    return _Tree(
        log_pairs=log_pairs,
        root=root,
        direction=toward[root],
        views=seen,
        ranks=ranks,
        tables=jax.vmap(partial(table, shape=shape))(ranks, seen),
        num_roots=(there & (here == here[root])).sum(dtype=jnp.int32),
        ways=ways[toward[root]],
        num_positions=num_positions[toward[root]],
    )


def _num_ways(fragments: Fragments, view: Views) -> tuple[Array, Array]:
    """`[E, P]` int32, W by entry and automorphism; `[E]` int32 positions of each entry."""
    sites = jnp.arange(fragments.places.shape[2], dtype=jnp.int32)
    is_root = view.entry < 0
    used = (view.sites[None] == sites[:, None]) & (view.beyond >= 0)[None]
    entries = jnp.asarray(fragments.entries)[view.kind]
    rows = jnp.asarray(fragments.sites)[entries]
    free = is_root | (jnp.arange(rows.shape[1], dtype=jnp.int32) > 0)
    available = (rows[:, None] == sites[None, :, None]) & free[None, None]
    target = jnp.where(view.symmetries >= 0, view.symmetries, sites[None])
    # [entries, automorphisms, sites]: the positions there are where each site goes.
    room = available.sum(axis=2, dtype=jnp.int32)[:, target]
    ways = _falling(room, used.sum(axis=1, dtype=jnp.int32)[None, None], rows.shape[1]).prod(
        axis=2, dtype=jnp.int32
    )
    entered = rows[:, :1] == target[:, view.sites[view.entry]][None]
    valid = (entries >= 0)[:, None] & (view.symmetries[:, 0] >= 0)[None] & (is_root | entered)
    return jnp.where(valid, ways, 0), (rows >= 0).sum(axis=1, dtype=jnp.int32)


def _falling(room: Array, used: Array, most: int) -> Array:
    """room (room - 1) ..., of `used` factors: ways to choose a place for each."""
    ways = jnp.ones_like(room)
    for taken in range(most):
        ways = ways * jnp.where(taken < used, jnp.maximum(room - taken, 0), 1)
    return ways


def _log_automorphisms(tree: _Tree, there: Array) -> Array:
    """`[]` log |Aut x|: the blocks that may be the root, times what leaves the tree as it is."""
    local = jax.vmap(_num_local)(tree.tables, tree.ranks, tree.views)
    dtype = jnp.result_type(float)
    log_local = jnp.where(there, jnp.log(local.astype(dtype)), 0.0)
    return log_local.sum() + jnp.log(jnp.maximum(tree.num_roots, 1).astype(dtype))


def _num_local(table: Array, ranks: Array, view: Views) -> Array:
    """`[]` int32, automorphisms of a fragment that leave its table as it is, times exchanges of
    equals at one site.
    """
    kept = (table[view.sources] == table[None]).all(axis=(1, 2)) & (view.symmetries[:, 0] >= 0)
    positions = jnp.arange(ranks.size, dtype=jnp.int32)
    equal = (ranks[None] == ranks[:, None]) & (view.sites[None] == view.sites[:, None])
    # 1 2 3 ... down each run of equals: its factorial.
    run = (equal & (positions[None] <= positions[:, None])).sum(axis=1, dtype=jnp.int32)
    return kept.sum(dtype=jnp.int32) * jnp.where(ranks != EMPTY, run, 1).prod(dtype=jnp.int32)


def _choose(
    num_values: int, view: Views, table: Array, ways: Array, num_positions: Array
) -> tuple[Array, Array]:
    """The entry with most positions, and the automorphism that comes first with it."""
    possible = ways > 0
    entry = jnp.argmax(jnp.where(possible.any(axis=1), num_positions, 0))
    return entry, first(permuted(packed(table, num_values), view), possible[entry])


def _write(
    fragments: Fragments, view: Views, ranks: Array, chosen: Array, automorphism: Array
) -> tuple[Array, Array]:
    """The entry chosen, and `[L]` the positions that it has for the bonds at the given ones."""
    entry = jnp.asarray(fragments.entries)[view.kind][chosen]
    places = jnp.asarray(fragments.places)[entry, jnp.where(view.entry < 0, 0, 1)]
    sites = view.symmetries[automorphism][view.sites]
    return entry, places[sites, copies(ranks, view.sites)]


def _in_order(state: MoleculeState) -> MoleculeState:
    """The same tree with its blocks in breadth-first order."""
    max_blocks = state.blocks.size
    slots = jnp.arange(max_blocks, dtype=jnp.int32)
    parent = jnp.maximum(state.parent, 0)
    attached = state.parent >= 0

    def descend(_: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        depth, path = found
        depth = jnp.where(attached, depth[parent] + 1, 0)
        last = slots[None] == depth[:, None] - 1
        path = jnp.where(last, state.position[:, None] + 1, path[parent])
        return depth, jnp.where(attached[:, None], path, 0)

    start = jnp.zeros(max_blocks, jnp.int32), jnp.zeros((max_blocks, max_blocks), jnp.int32)
    depth, path = jax.lax.fori_loop(jnp.int32(0), jnp.int32(max_blocks), descend, start)
    nowhere = (state.blocks < 0).astype(jnp.int32)
    order = jnp.lexsort((*path.T[::-1], depth, nowhere))
    slot = jnp.zeros_like(slots).at[order].set(slots)
    return MoleculeState(
        state.blocks[order],
        jnp.where(attached, slot[parent], -1)[order],
        state.position[order],
        state.stopped,
    )
