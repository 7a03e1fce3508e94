"""A molecule seen from each of its blocks and across each of its bonds, and which views are alike.

A view is a rooted tree of fragments. What hangs on a fragment is put in a table by site; two views
are alike if an automorphism of their fragment takes the table of the one to that of the other, with
what hangs there alike in turn. All that is computed here depends on the molecule only, whatever
state it is written down in.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.chemistry.fragments import Fragments
from gfnjax.chemistry.states import MoleculeState
from gfnjax.types import Array

# What is at a position, if it is not a view.
EMPTY, ENTRY, FIRST_RANK = 0, 1, 2


class Views(NamedTuple):
    """Views `[3 B]`: of each block as the root, from its parent, and of its parent from it.

    Attributes:
        block: `[3 B]` slot of the block seen.
        entry: `[3 B]` position that it is entered by; -1 where it is the root.
        sites: `[3 B, L]` the site of each position of the block.
        beyond: `[3 B, L]` the view across the bond at each other position, -1 where there is none.
        symmetries: `[3 B, P, S]` automorphisms of the block's fragment, as in `Fragments`.
        sources: `[3 B, P, S]` the same, by where sites come from.
        kind: `[3 B]` the block's fragment.
        exists: `[3 B]` bool.
    """

    block: Array
    entry: Array
    sites: Array
    beyond: Array
    symmetries: Array
    sources: Array
    kind: Array
    exists: Array

    @property
    def max_blocks(self) -> int:
        return self.block.shape[0] // 3

    def at(self, index: Array) -> "Views":
        """Some of them."""
        return jax.tree.map(lambda x: x[index], self)


def views_of(state: MoleculeState, fragments: Fragments) -> Views:
    """All views of a molecule."""
    max_blocks = state.blocks.size
    slots = jnp.arange(max_blocks, dtype=jnp.int32)
    attached = state.parent >= 0
    block = jnp.concatenate([slots, slots, jnp.maximum(state.parent, 0)])
    root = jnp.full(max_blocks, -1, jnp.int32)
    entry = jnp.concatenate([root, jnp.where(attached, 0, -1), state.position])
    positions = jnp.arange(fragments.num_positions, dtype=jnp.int32)
    around = _around(state, positions)[block]
    kind = jnp.asarray(fragments.kinds)[state.blocks[block]]
    return Views(
        block=block,
        entry=entry,
        sites=jnp.asarray(fragments.sites)[state.blocks[block]],
        beyond=jnp.where(positions[None] == entry[:, None], -1, around),
        symmetries=jnp.asarray(fragments.symmetries)[kind],
        sources=jnp.asarray(fragments.sources)[kind],
        kind=kind,
        exists=jnp.concatenate([state.blocks >= 0, attached, attached]),
    )


def _around(state: MoleculeState, positions: Array) -> Array:
    """`[B, L]` the view across the bond at each position of each block, -1 where there is none."""
    max_blocks = state.blocks.size
    slots = jnp.arange(max_blocks, dtype=jnp.int32)
    on = (state.parent[None] == slots[:, None])[:, None]
    on = on & (state.position[None] == positions[:, None])[None]
    children = jnp.where(on, (max_blocks + slots)[None, None] + 1, 0)
    below = children.sum(axis=2, dtype=jnp.int32) - 1
    above = (state.parent >= 0)[:, None] & (positions == 0)[None]
    return jnp.where(above, (2 * max_blocks + slots)[:, None], below)


def directions(state: MoleculeState) -> Array:
    """`[B, B]` the view `[i, j]` of block j in the tree whose root is block i."""
    max_blocks = state.blocks.size
    slots = jnp.arange(max_blocks, dtype=jnp.int32)

    def extend(slot: Array, above: Array) -> Array:
        parent = state.parent[slot]
        inherited = above[jnp.maximum(parent, 0)] & (parent >= 0)
        return above.at[slot].set(inherited | (slots == slot))

    # [i, j] whether i is j or hangs below it; parents come first.
    below = lax.fori_loop(0, max_blocks, extend, jnp.zeros((max_blocks, max_blocks), bool))
    between = below[:, :, None] & (state.parent[:, None] == slots[None])[None]
    child = jnp.argmax(between, axis=1).astype(jnp.int32)
    there = jnp.where(between.any(axis=1), 2 * max_blocks + child, (max_blocks + slots)[None])
    return jnp.where(slots[:, None] == slots[None], slots[None], there)


def rank_views(views: Views, shape: tuple[int, int]) -> Array:
    """`[3 B]` int32, equal for views that are alike; S sites with at most C bonds each.

    What is seen up to some depth tells views apart that what is seen up to a lesser one does not;
    after as many rounds as there are blocks everything is seen.
    """

    def refine(_: Array, rank: Array) -> Array:
        tables = jax.vmap(partial(table, shape=shape))(ranks_beyond(rank, views), views)
        least = jax.vmap(_least, (0, 0, None))(tables, views, rank.size + FIRST_RANK)
        seen = views.exists.astype(jnp.int32)[:, None], views.kind[:, None]
        code = jnp.concatenate([*seen, least], axis=1)
        return _less(code[:, None], code[None]).sum(axis=0, dtype=jnp.int32)

    rounds = jnp.int32(views.max_blocks)
    return lax.fori_loop(jnp.int32(0), rounds, refine, jnp.zeros_like(views.block))


def ranks_beyond(rank: Array, views: Views) -> Array:
    """`[n, L]` what is at each position: rank + 2 of a view, 1 for the entry, 0 for nothing."""
    positions = jnp.arange(views.beyond.shape[1], dtype=jnp.int32)
    ranks = jnp.where(views.beyond >= 0, rank[views.beyond] + FIRST_RANK, EMPTY)
    return jnp.where(positions[None] == views.entry[:, None], ENTRY, ranks)


def copies(ranks: Array, sites: Array) -> Array:
    """`[L]` int32, which bond of its site each position's is: by rank, then by position."""
    positions = jnp.arange(ranks.size, dtype=jnp.int32)
    earlier = (ranks[None] == ranks[:, None]) & (positions[None] < positions[:, None])
    before = (ranks[None] < ranks[:, None]) | earlier
    before = before & (sites[None] == sites[:, None]) & (ranks != EMPTY)[None]
    return before.sum(axis=1, dtype=jnp.int32)


def table(ranks: Array, view: Views, shape: tuple[int, int]) -> Array:
    """`[S, C]` what is at each site, lowest ranks first."""
    site = jnp.arange(shape[0], dtype=jnp.int32)[:, None, None] == view.sites[None, None]
    numbers = copies(ranks, view.sites)[None, None]
    copy = jnp.arange(shape[1], dtype=jnp.int32)[None, :, None] == numbers
    return jnp.where(site & copy, ranks[None, None], EMPTY).sum(axis=2, dtype=jnp.int32)


def permuted(codes: Array, view: Views) -> Array:
    """`[P, S m]` codes of the sites as each automorphism leaves them."""
    return codes[view.sources].reshape(len(view.sources), -1)


def _least(table: Array, view: Views, num_values: int) -> Array:
    """The first of the permuted tables in lexicographic order."""
    codes = permuted(packed(table, num_values), view)
    return jnp.stack(_first(codes, view.symmetries[:, 0] >= 0)[:-1])


def packed(values: Array, num_values: int) -> Array:
    """`[n, m]` int32, whose lexicographic order is that of `values` `[n, k]` in 0..num_values - 1.

    Shorter rows, fewer comparisons.
    """
    per_word = 1
    while num_values ** (per_word + 1) < 2**31:
        per_word += 1
    missing = -values.shape[1] % per_word
    values = jnp.pad(values, ((0, 0), (0, missing))).reshape(len(values), -1, per_word)
    weights = jnp.array([num_values**i for i in reversed(range(per_word))], jnp.int32)
    return (values * weights[None, None]).sum(axis=2, dtype=jnp.int32)


def first(codes: Array, valid: Array) -> Array:
    """`[]` int32, the valid row of `[n, m]` that comes first in lexicographic order."""
    return _first(codes, valid)[-1]


def _first(codes: Array, valid: Array) -> tuple[Array, ...]:
    """The m numbers of that row, and its place."""
    last = jnp.iinfo(jnp.int32).max
    columns = [jnp.where(valid, column, last) for column in codes.T]
    rows = *columns, jnp.arange(len(codes), dtype=jnp.int32)

    def earlier(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
        less = jnp.zeros(a[0].shape, bool)
        for x, y in reversed(list(zip(a, b, strict=True))):
            less = (x < y) | ((x == y) & less)
        return tuple(jnp.where(less, x, y) for x, y in zip(a, b, strict=True))

    return lax.reduce(rows, (jnp.int32(last),) * len(rows), earlier, (0,))


def _less(a: Array, b: Array) -> Array:
    """Whether a comes before b in lexicographic order, along the last axis."""
    shape = jnp.broadcast_shapes(a.shape, b.shape)
    less = jnp.zeros(shape[:-1], bool)
    for i in reversed(range(shape[-1])):
        less = (a[..., i] < b[..., i]) | ((a[..., i] == b[..., i]) & less)
    return less
