"""Molecules of fragments: bond one more to a stem, or stop."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import settle
from gfnjax.chemistry import states as trees
from gfnjax.chemistry import symmetry as symmetries
from gfnjax.chemistry.fragments import Fragments
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary
from gfnjax.envs.base import Measurable
from gfnjax.envs.drawing import Panel, histogram, reward_histogram
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.types import Array

Symmetry = Literal["reward", "none"]


class MoleculeView(NamedTuple):
    """What a network sees of a molecule: a graph of blocks, each with its positions.

    All numbers but those of slots are the same for all states of one rooted molecule with the same
    stems; they tell apart what automorphisms do not exchange.

    Attributes:
        kind: `[B]` int32 the fragment of each block, -1 in empty slots; the root comes first.
        neighbour: `[B, L]` int32 slot of the block bonded by each position, -1 where there is none.
        orbit: `[B, L]` int32 which atom of the fragment each position is, -1 past the last.
        other_orbit: `[B, L]` int32 which atom of the neighbour it is bonded to, -1 without.
        pair: `[B, L, L]` int32 how two positions of a block lie to each other, -1 without.
        stem_slot: `[M]` int32 the block of each stem, -1 past the last.
        stem_position: `[M]` int32 its position.
    """

    kind: Array
    neighbour: Array
    orbit: Array
    other_orbit: Array
    pair: Array
    stem_slot: Array
    stem_position: Array


@pytree
class Molecules(Comparable):
    """Trees of at most B fragments out of a vocabulary of V entries (Bengio et al., 2106.04399).

    The first action chooses an entry; action m V + e bonds entry e to the m-th stem, action M V
    stops, for M stems at most. A molecule ends when it is stopped, has B blocks, or no stem.
    Backward action i takes away the block in slot i, on which nothing hangs (the root once it is
    alone), action B resumes. Stems are numbered block by block, in order of their positions,
    those of the root 1, 2, ..., 0. The reward is defined for unfinished molecules too.

    States are trees with a root: one molecule has many. With symmetry "reward" they share its
    reward, so that molecules are sampled in proportion to R; with "none" as often as they have
    states, R N / Z, as in the published implementations. Build one with
    `gfnjax.envs.molecules`.

    Attributes:
        vocabulary: what there is to choose from.
        fragments: the same as arrays.
        reward: callable pytree `MoleculeState -> log R`.
        max_blocks: B.
        min_blocks: blocks needed before stopping.
        symmetry: "reward" or "none".
    """

    vocabulary: Vocabulary = static()
    fragments: Fragments
    reward: Callable[[MoleculeState], Array]
    max_blocks: int = static(default=8)
    min_blocks: int = static(default=2)
    symmetry: Symmetry = static(default="reward")

    def __post_init__(self) -> None:
        settle(self, max_blocks=1, min_blocks=1)
        if self.min_blocks > self.max_blocks:
            raise ArgumentError(
                "min_blocks",
                f"must be in 1..max_blocks = {self.max_blocks}, got {self.min_blocks}",
            )
        if self.symmetry not in ("reward", "none"):
            raise ArgumentError("symmetry", f'must be "reward" or "none", got {self.symmetry!r}')
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_entries(self) -> int:
        """V, entries of the vocabulary."""
        return self.fragments.num_entries

    @property
    def num_stems(self) -> int:
        """M, the stems of a molecule that may still grow, at most."""
        first = self.fragments.num_positions
        return max(first, first + (self.max_blocks - 2) * (first - 2))

    @property
    def num_actions(self) -> int:
        return self.num_stems * self.num_entries + 1

    @property
    def num_backward_actions(self) -> int:
        return self.max_blocks + 1

    @property
    def max_steps(self) -> int:
        return self.max_blocks

    @property
    def stop(self) -> int:
        """The number of the action that stops."""
        return self.num_stems * self.num_entries

    def initial_state(self) -> MoleculeState:
        return trees.empty_molecule(self.max_blocks)

    def step(self, state: MoleculeState, action: Array) -> MoleculeState:
        slot, position = self._stem(state, action // self.num_entries)
        entry = action % self.num_entries
        grown, _ = trees.inserted(state, entry, slot, position, self.fragments.num_positions)
        stopped = state._replace(stopped=jnp.ones((), bool))
        stop, over = action == self.stop, self.is_terminal(state)

        def choose(old: Array, stopped: Array, grown: Array) -> Array:
            return jnp.where(over, old, jnp.where(stop, stopped, grown))

        return jax.tree.map(choose, state, stopped, grown)

    def backward_step(self, state: MoleculeState, backward_action: Array) -> MoleculeState:
        smaller = trees.without(state, backward_action)
        # Of the empty molecule nothing can be taken, of a stopped one nothing but that.
        last = state.stopped | (backward_action == self.max_blocks) | (state.blocks[0] < 0)
        previous = jax.tree.map(lambda old, new: jnp.where(last, old, new), state, smaller)
        return previous._replace(stopped=jnp.zeros((), bool))

    def forward_mask(self, state: MoleculeState) -> Array:
        size = trees.num_blocks(state)
        stems = jnp.arange(self.num_stems, dtype=jnp.int32)
        there = stems < jnp.maximum(self._num_open(state), (size == 0).astype(jnp.int32))
        bonds = jnp.broadcast_to(there[:, None], (self.num_stems, self.num_entries))
        actions = jnp.append(bonds.reshape(-1), size >= self.min_blocks)
        return actions & ~self.is_terminal(state)

    def backward_mask(self, state: MoleculeState) -> Array:
        return jnp.append(trees.removable(state) & ~state.stopped, state.stopped)

    def backward_action(self, state: MoleculeState, action: Array) -> Array:
        slot, position = self._stem(state, action // self.num_entries)
        at = trees.insertion_slot(state, slot, position, self.fragments.num_positions)
        return jnp.where(action == self.stop, self.max_blocks, at)

    def forward_action(self, state: MoleculeState, backward_action: Array) -> Array:
        removed = jnp.minimum(backward_action, self.max_blocks - 1)
        slot, position = state.parent[removed], state.position[removed]
        before = trees.without(state, removed)
        num_positions = self.fragments.num_positions
        place = slot * num_positions + (position - 1) % num_positions
        open_stems = self._open_stems(before)
        earlier = open_stems & (jnp.arange(open_stems.size, dtype=jnp.int32) < place)
        stem = jnp.where(slot < 0, 0, earlier.sum(dtype=jnp.int32))
        bond = stem * self.num_entries + jnp.maximum(state.blocks[removed], 0)
        return jnp.where(backward_action == self.max_blocks, self.stop, bond)

    def is_terminal(self, state: MoleculeState) -> Array:
        return state.stopped | self._is_full(state)

    def log_reward(self, state: MoleculeState) -> Array:
        return self.reward(state)

    def log_partial_reward(self, state: MoleculeState) -> Array:
        return self.reward(state)

    def log_multiplicity(self, state: MoleculeState) -> Array:
        if self.symmetry == "none":
            return jnp.zeros((), jnp.result_type(float))
        return symmetries.log_multiplicity(state, self.fragments)

    def canonical(self, state: MoleculeState) -> MoleculeState:
        one = symmetries.canonical(state, self.fragments)
        # One state of a molecule may have a stem left where another has none.
        return one._replace(stopped=self.is_terminal(state) & ~self._is_full(one))

    @property
    def num_features(self) -> int:
        return sum(self._digits()) * self.max_blocks

    def active_features(self, state: MoleculeState) -> Array:
        start, found = 0, []
        slots = jnp.arange(self.max_blocks, dtype=jnp.int32)
        columns = state.blocks, state.parent, state.position
        for num_values, column in zip(self._digits(), columns, strict=True):
            found.append(start + slots * num_values + column + 1)
            start += num_values * self.max_blocks
        return jnp.concatenate(found)

    def observe(self, state: MoleculeState) -> Array:
        zeros = jnp.zeros(self.num_features, jnp.result_type(float))
        return zeros.at[self.active_features(state)].set(1)

    def view(self, state: MoleculeState) -> MoleculeView:
        """The molecule as a graph of blocks."""
        stems = jnp.arange(self.num_stems, dtype=jnp.int32)
        slot, position = jax.vmap(self._stem, (None, 0))(state, stems)
        has_stem = (stems < self._num_open(state)) & ~self.is_terminal(state)
        kinds, sites, orbits, pairs = (
            jnp.asarray(x)
            for x in (
                self.fragments.kinds,
                self.fragments.sites,
                self.fragments.orbits,
                self.fragments.pairs,
            )
        )
        there = state.blocks >= 0
        kind = jnp.where(there, kinds[state.blocks], -1)
        site = jnp.where(there[:, None], sites[state.blocks], -1)
        known = site >= 0
        neighbour, other = trees.neighbours(state, self.fragments.num_positions)
        orbit = jnp.where(known, orbits[kind[:, None], site], -1)
        both = known[:, :, None] & known[:, None]
        pair = pairs[kind[:, None, None], site[:, :, None], site[:, None]]
        return MoleculeView(
            kind=kind,
            neighbour=neighbour,
            orbit=orbit,
            other_orbit=jnp.where(neighbour >= 0, orbit[neighbour, other], -1),
            pair=jnp.where(both, pair, -1),
            stem_slot=jnp.where(has_stem, slot, -1),
            stem_position=jnp.where(has_stem, position, -1),
        )

    def measure(self, states: MoleculeState) -> dict[str, Array]:
        """The mean number of blocks, and whatever the reward measures."""
        size = jax.vmap(trees.num_blocks)(states).astype(jnp.result_type(float))
        found = self.reward.measure(states) if isinstance(self.reward, Measurable) else {}
        return {"blocks": size.mean(), **found}

    def render(self, states: MoleculeState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The distributions of the reward and of the number of blocks."""
        sizes = (np.asarray(states.blocks) >= 0).sum(axis=1)
        return reward_histogram(self, states, weights), histogram(sizes, weights, "blocks")

    def _digits(self) -> tuple[int, int, int]:
        """Values of the features of a slot, "none" included."""
        return self.num_entries + 1, self.max_blocks + 1, self.fragments.num_positions + 1

    def _is_full(self, state: MoleculeState) -> Array:
        """Whether nothing can be added."""
        size = trees.num_blocks(state)
        return (size == self.max_blocks) | ((size > 0) & (self._num_open(state) == 0))

    def _open_stems(self, state: MoleculeState) -> Array:
        """`[B L]` bool, in order of the stems' numbers."""
        open_positions = trees.open_positions(state, self.fragments)
        return jnp.roll(open_positions, -1, axis=1).reshape(-1)

    def _num_open(self, state: MoleculeState) -> Array:
        return trees.open_positions(state, self.fragments).sum(dtype=jnp.int32)

    def _stem(self, state: MoleculeState, stem: Array) -> tuple[Array, Array]:
        """The slot and the position of a stem by its number; -1 both for the first block."""
        there = self._open_stems(state)
        number = jnp.cumsum(there, dtype=jnp.int32) - 1
        place = jnp.argmax(there & (number == stem)).astype(jnp.int32)
        num_positions = self.fragments.num_positions
        slot, position = place // num_positions, (place + 1) % num_positions
        none = state.blocks[0] < 0
        return jnp.where(none, -1, slot), jnp.where(none, -1, position)
