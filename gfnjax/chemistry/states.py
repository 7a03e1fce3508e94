"""A molecule as a rooted tree of entries: its first block is the root."""

from typing import NamedTuple

import jax.numpy as jnp

from gfnjax.chemistry.fragments import Fragments
from gfnjax.types import Array


class MoleculeState(NamedTuple):
    """Blocks, breadth first: by the slot of their parent, then by the position they hang on.

    The same tree is the same state in whatever order it was built.

    Attributes:
        blocks: `[B]` int32 entries of the vocabulary, -1 in empty slots, which come last.
        parent: `[B]` int32 slot of the block that it is attached to; -1 of the first, of none.
        position: `[B]` int32, by which of the parent's positions; -1 of the first, of none.
        stopped: `[]` bool.
    """

    blocks: Array
    parent: Array
    position: Array
    stopped: Array


def empty_molecule(max_blocks: int) -> MoleculeState:
    """No block yet."""
    none = jnp.full(max_blocks, -1, jnp.int32)
    return MoleculeState(none, none, none, jnp.zeros((), bool))


def num_blocks(state: MoleculeState) -> Array:
    """`[]` int32."""
    return (state.blocks >= 0).sum(dtype=jnp.int32)


def open_positions(state: MoleculeState, fragments: Fragments) -> Array:
    """`[B, L]` True where a block has a stem: a position nothing is bonded by."""
    num_positions = fragments.num_positions
    rows = jnp.asarray(fragments.sites)[state.blocks]
    there = (rows >= 0) & (state.blocks >= 0)[:, None]
    # The root is attached to nothing.
    first = jnp.arange(state.blocks.size, dtype=jnp.int32) == 0
    attached = ~first[:, None] & (jnp.arange(num_positions, dtype=jnp.int32) == 0)[None]
    used, _ = neighbours(state, num_positions)
    return there & ~attached & (used < 0)


def neighbours(state: MoleculeState, num_positions: int) -> tuple[Array, Array]:
    """`[B, L]` the slot that each position is bonded to, -1 without, and by which of its."""
    slots = jnp.arange(state.blocks.size, dtype=jnp.int32)
    positions = jnp.arange(num_positions, dtype=jnp.int32)
    on = (state.parent[None] == slots[:, None])[:, None]
    on = on & (state.position[None] == positions[:, None])[None]
    below = jnp.where(on, slots[None, None] + 1, 0).sum(axis=2, dtype=jnp.int32) - 1
    above = (state.parent >= 0)[:, None] & (positions == 0)[None]
    slot = jnp.where(above, state.parent[:, None], below)
    # Blocks hang on their parents by position 0.
    return slot, jnp.where(above, state.position[:, None], 0)


def removable(state: MoleculeState) -> Array:
    """`[B]` True at blocks that nothing hangs on; the root only if it is alone."""
    slots = jnp.arange(state.blocks.size, dtype=jnp.int32)
    holds = (state.parent[:, None] == slots[None]).any(axis=0)
    return (state.blocks >= 0) & ~holds


def inserted(
    state: MoleculeState, entry: Array, slot: Array, position: Array, num_positions: int
) -> tuple[MoleculeState, Array]:
    """With one more block, at `position` of the block in `slot` (-1: the root); and its slot."""
    at = insertion_slot(state, slot, position, num_positions)
    slots = jnp.arange(state.blocks.size, dtype=jnp.int32)
    source = jnp.where(slots > at, slots - 1, slots)
    here = slots == at

    def put(values: Array, value: Array) -> Array:
        return jnp.where(here, value, values[source])

    parent = jnp.where(state.parent >= at, state.parent + 1, state.parent)
    grown = state._replace(
        blocks=put(state.blocks, entry),
        parent=put(parent, slot),
        position=put(state.position, position),
    )
    return grown, at


def insertion_slot(state: MoleculeState, slot: Array, position: Array, num_positions: int) -> Array:
    """`[]` int32, the slot that a block at `position` of the one in `slot` would get."""
    # Breadth first is by this number: parents are in order themselves.
    order = state.parent * num_positions + state.position
    before = (state.blocks >= 0) & (order < slot * num_positions + position)
    return before.sum(dtype=jnp.int32)


def without(state: MoleculeState, slot: Array) -> MoleculeState:
    """Without the block in a slot that nothing hangs on."""
    slots = jnp.arange(state.blocks.size, dtype=jnp.int32)
    last = slots == slots.size - 1
    source = jnp.minimum(jnp.where(slots >= slot, slots + 1, slots), slots.size - 1)

    def drop(values: Array) -> Array:
        return jnp.where(last & (slots >= slot), -1, values[source])

    parent = jnp.where(state.parent > slot, state.parent - 1, state.parent)
    return state._replace(
        blocks=drop(state.blocks), parent=drop(parent), position=drop(state.position)
    )
