"""Phylogenetic trees: merge the trees of a forest, two at a time, until one is left."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax import registry
from gfnjax.data import absolute, read_sequences
from gfnjax.envs.drawing import Panel, histogram
from gfnjax.envs.trees import draw_forest, to_newick
from gfnjax.errors import ArgumentError
from gfnjax.rewards.parsimony import (
    NUM_CHARACTERS,
    OFFSETS,
    Alignment,
    benchmark_alignment,
    encode_alignment,
    fitch,
)
from gfnjax.types import Array

MAX_ENUMERATED = 6


class ForestState(NamedTuple):
    """A forest of rooted trees; a tree lives in the slot of its smallest species.

    Merging the trees of slots i < j fills slot i and closes slot j for good, so that the merges
    are named by the slots they close. The same forest is the same state in whatever order it
    was built.

    Attributes:
        into: `[n]` int32, the slot i that slot j was merged into; -1 where j is open.
        rank: `[n]` int32, how many merges into i came before that of j; 0 where j is open.
        size: `[n]` int32, species of the tree in an open slot, of the one merged away in others.
        sets: `[n, P]` uint8, Fitch sets at the root of that tree.
        costs: `[n, n]` int32, changes that merging two open slots would add; 0 elsewhere.
        parsimony: `[]` int32, changes needed so far.
    """

    into: Array
    rank: Array
    size: Array
    sets: Array
    costs: Array
    parsimony: Array


class ForestView(NamedTuple):
    """What a network sees of a forest, closed slots all zero.

    Attributes:
        sets: `[n, 5 P]` 0 or 1, the characters each root may have.
        costs: `[n, n]` changes that merging two trees would add, in nats.
        size: `[n]` share of the species.
        parsimony: `[]` changes per column.
    """

    sets: Array
    costs: Array
    size: Array
    parsimony: Array


@struct.dataclass
class Phylogeny:
    """Rooted binary trees over n species, R = exp((offset - M) / temperature), M the parsimony.

    The rules of Zhou et al. (2310.08774). Forward action k merges the k-th pair of slots i < j in
    lexicographic order, backward action i splits the root of the tree in slot i. The changes add
    up merge by merge, so the partial reward is exact. Build one with `phylogeny` or
    `phylogeny_benchmark`.

    Attributes:
        characters: `[n, P]` uint8 Fitch sets of the species.
        weights: `[P]` int32 columns of the alignment that look the same.
        offset: C, keeps rewards near one.
        temperature: changes per nat.
        species: n names.
    """

    characters: Array
    weights: Array
    offset: float = 0.0
    temperature: float = 4.0
    species: tuple[str, ...] = struct.field(pytree_node=False, default=())

    @property
    def num_species(self) -> int:
        return self.characters.shape[0]

    @property
    def num_actions(self) -> int:
        return self.num_species * (self.num_species - 1) // 2

    @property
    def num_backward_actions(self) -> int:
        return self.num_species - 1

    @property
    def max_steps(self) -> int:
        return self.num_species - 1

    def initial_state(self) -> ForestState:
        zeros = jnp.zeros(self.num_species, jnp.int32)
        leaves = jnp.asarray(self.characters)
        costs = self._all_costs(leaves, zeros == 0)
        return ForestState(zeros - 1, zeros, zeros + 1, leaves, costs, jnp.zeros((), jnp.int32))

    def step(self, state: ForestState, action: Array) -> ForestState:
        first, second = self._pairs()
        i, j = first[action], second[action]
        merged, cost = fitch(state.sets[i], state.sets[j], self.weights)
        into = state.into.at[j].set(i)
        sets = state.sets.at[i].set(merged)
        costs = state.costs.at[j].set(0).at[:, j].set(0)
        following = ForestState(
            into=into,
            rank=state.rank.at[j].set(self._num_merges(state, i)),
            size=state.size.at[i].add(state.size[j]),
            sets=sets,
            costs=self._update_costs(costs, sets, into < 0, i),
            parsimony=state.parsimony + cost,
        )
        allowed = (state.into[i] < 0) & (state.into[j] < 0)
        return jax.tree.map(lambda new, old: jnp.where(allowed, new, old), following, state)

    def backward_step(self, state: ForestState, backward_action: Array) -> ForestState:
        i, j = backward_action, self._last_merge(state, backward_action)
        before, _ = self._grow(state, i, self._num_merges(state, i) - 1)
        _, cost = fitch(before, state.sets[j], self.weights)
        into = state.into.at[j].set(-1)
        sets = state.sets.at[i].set(before)
        costs = self._update_costs(state.costs, sets, into < 0, i)
        previous = ForestState(
            into=into,
            rank=state.rank.at[j].set(0),
            size=state.size.at[i].add(-state.size[j]),
            sets=sets,
            costs=self._update_costs(costs, sets, into < 0, j),
            parsimony=state.parsimony - cost,
        )
        allowed = self.backward_mask(state)[i]
        return jax.tree.map(lambda new, old: jnp.where(allowed, new, old), previous, state)

    def forward_mask(self, state: ForestState) -> Array:
        first, second = self._pairs()
        is_open = state.into < 0
        return is_open[first] & is_open[second]

    def backward_mask(self, state: ForestState) -> Array:
        return ((state.into < 0) & (state.size > 1))[:-1]

    def backward_action(self, state: ForestState, action: Array) -> Array:
        return self._pairs()[0][action]

    def forward_action(self, state: ForestState, backward_action: Array) -> Array:
        i, j = backward_action, self._last_merge(state, backward_action)
        earlier = i * self.num_species - i * (i + 1) // 2
        return jnp.clip(earlier + j - i - 1, 0, self.num_actions - 1)

    def is_terminal(self, state: ForestState) -> Array:
        return state.size[0] == self.num_species

    def observe(self, state: ForestState) -> ForestView:
        dtype = jnp.result_type(float)
        is_open = state.into < 0
        bits = state.sets[..., None] >> jnp.arange(NUM_CHARACTERS, dtype=jnp.uint8)[None, None]
        bits = (bits & 1).reshape(self.num_species, -1).astype(dtype)
        num_columns = self.weights.sum().astype(dtype)
        return ForestView(
            sets=jnp.where(is_open[:, None], bits, 0.0),
            costs=state.costs.astype(dtype) / self.temperature,
            size=jnp.where(is_open, state.size, 0).astype(dtype) / self.num_species,
            parsimony=state.parsimony.astype(dtype) / num_columns,
        )

    def log_reward(self, state: ForestState) -> Array:
        return (self.offset - state.parsimony.astype(jnp.result_type(float))) / self.temperature

    def log_partial_reward(self, state: ForestState) -> Array:
        return self.log_reward(state)

    def newick(self, state: ForestState) -> str:
        """A finished tree in the Newick format, `((a,b),c);`; not traceable.

        Raises:
            ValueError: if the state is still a forest.
        """
        return to_newick(state.into, state.rank, self.species)

    def measure(self, states: ForestState) -> dict[str, Array]:
        """The fewest changes that any of the trees `[n, ...]` needs, and their mean."""
        changes = states.parsimony
        return {
            "best_parsimony": changes.min(),
            "parsimony": changes.astype(jnp.result_type(float)).mean(),
        }

    def render(self, states: ForestState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The distribution of the parsimony score."""
        return (histogram(states.parsimony, weights, "changes"),)

    def draw(self, axes: Any, state: ForestState) -> None:
        """Draw the trees of a state on a matplotlib axes."""
        draw_forest(axes, state.into, state.rank, self.species)
        axes.set_title(f"{int(state.parsimony)} changes")

    def _pairs(self) -> tuple[Array, Array]:
        first, second = np.triu_indices(self.num_species, 1)
        return jnp.asarray(first, jnp.int32), jnp.asarray(second, jnp.int32)

    def _all_costs(self, sets: Array, is_open: Array) -> Array:
        """`[n, n]` changes that merging each pair of open slots would add."""
        costs = jax.lax.map(lambda one: self._costs(one, sets), sets)
        both = is_open[:, None] & is_open[None] & ~jnp.eye(self.num_species, dtype=bool)
        return jnp.where(both, costs, 0)

    def _update_costs(self, costs: Array, sets: Array, is_open: Array, slot: Array) -> Array:
        """`costs` with those of one slot recomputed."""
        others = is_open.at[slot].set(False)
        row = jnp.where(others, self._costs(sets[slot], sets), 0)
        return costs.at[slot].set(row).at[:, slot].set(row)

    def _costs(self, one: Array, sets: Array) -> Array:
        """`[n]` changes between sets `[P]` and each of `[n, P]`."""
        return jnp.where((sets & one[None]) == 0, self.weights[None], 0).sum(1, dtype=jnp.int32)

    def _num_merges(self, state: ForestState, slot: Array) -> Array:
        return (state.into == slot).sum(dtype=jnp.int32)

    def _last_merge(self, state: ForestState, slot: Array) -> Array:
        return jnp.argmax(jnp.where(state.into == slot, state.rank, -1)).astype(jnp.int32)

    def _grow(self, state: ForestState, slot: Array, num_merges: Array) -> tuple[Array, Array]:
        """Sets after the first merges into a slot, from its species on, and their changes."""

        def merge(rank: Array, grown: tuple[Array, Array]) -> tuple[Array, Array]:
            j = jnp.argmax((state.into == slot) & (state.rank == rank))
            sets, cost = fitch(grown[0], state.sets[j], self.weights)
            return sets, grown[1] + cost

        leaf = jnp.asarray(self.characters)[slot], jnp.zeros((), jnp.int32)
        return jax.lax.fori_loop(jnp.zeros((), jnp.int32), num_merges, merge, leaf)


@struct.dataclass
class EnumerablePhylogeny(Phylogeny):
    """`Phylogeny` of at most 6 species (2,431 forests, 945 of them trees), all states listed.

    Attributes:
        forests: `[N, 2, n]` int32, `into` and `rank` of every state, by increasing code.
    """

    forests: Array = struct.field(kw_only=True)

    @property
    def num_states(self) -> int:
        return self.forests.shape[0]

    def state_index(self, state: ForestState) -> Array:
        codes = jax.vmap(self._code)(self.forests[:, 0], self.forests[:, 1])
        return jnp.searchsorted(codes, self._code(state.into, state.rank)).astype(jnp.int32)

    def state_at(self, index: Array) -> ForestState:
        into, rank = jnp.asarray(self.forests)[index]
        state = self.initial_state()._replace(into=into, rank=rank)
        # What is merged into a slot comes from higher ones, so they go first.
        for slot in reversed(range(self.num_species)):
            sets, cost = self._grow(state, jnp.int32(slot), (into == slot).sum(dtype=jnp.int32))
            size = 1 + jnp.where(into == slot, state.size, 0).sum(dtype=jnp.int32)
            state = state._replace(
                size=state.size.at[slot].set(size),
                sets=state.sets.at[slot].set(sets),
                parsimony=state.parsimony + cost,
            )
        return state._replace(costs=self._all_costs(state.sets, into < 0))

    def _code(self, into: Array, rank: Array) -> Array:
        base = (self.num_species - 1) ** 2 + 1
        digits = jnp.where(into < 0, 0, 1 + into * (self.num_species - 1) + rank)[1:]
        powers = jnp.array([base**k for k in range(self.num_species - 1)], jnp.int32)
        return (digits * powers).sum(dtype=jnp.int32)


def phylogeny(
    sequences: Mapping[str, str], offset: float = 0.0, temperature: float = 4.0
) -> Phylogeny:
    """Trees over a user's own aligned sequences; `Enumerable` up to 6 species.

    Args:
        sequences: aligned sequences by species, see `encode_alignment`.
        offset: about the parsimony of a good tree, so that log rewards stay near 0.
        temperature: changes per nat, positive.

    Raises:
        ValueError: if the sequences do not fit or the temperature is not positive.
    """
    return _from_alignment(encode_alignment(sequences), offset, temperature)


def phylogeny_benchmark(name: str) -> Phylogeny:
    """DS1 to DS8 with their published offsets: R = exp((C - M) / 4).

    Raises:
        ValueError, FileNotFoundError: for an unknown name, or if the data file is missing.
    """
    return _from_alignment(benchmark_alignment(name), OFFSETS[name], 4.0)


def _from_alignment(alignment: Alignment, offset: float, temperature: float) -> Phylogeny:
    if not temperature > 0:
        raise ArgumentError("temperature", f"must be positive, got {temperature}")
    arrays = jnp.asarray(alignment.characters), jnp.asarray(alignment.weights)
    options = float(offset), float(temperature), alignment.species
    if len(alignment.species) > MAX_ENUMERATED:
        return Phylogeny(*arrays, *options)
    return EnumerablePhylogeny(*arrays, *options, forests=_all_forests(len(alignment.species)))


def _all_forests(num_species: int) -> Array:
    """`[N, 2, n]` `into` and `rank` of every forest, by increasing `_code`."""
    start = ((-1,) * num_species, (0,) * num_species)
    seen, frontier = {start}, [start]
    while frontier:
        frontier = list({child for forest in frontier for child in _children(*forest)})
        seen.update(frontier)

    def significance(forest: tuple[tuple[int, ...], tuple[int, ...]]) -> list[tuple[int, int]]:
        return list(zip(*forest, strict=True))[::-1]

    return jnp.asarray(sorted(seen, key=significance), jnp.int32)


def _children(into: tuple[int, ...], rank: tuple[int, ...]) -> list:
    slots = [slot for slot, target in enumerate(into) if target < 0]
    pairs = [(i, j) for i in slots for j in slots if i < j]
    return [
        (
            (*into[:j], i, *into[j + 1 :]),
            (*rank[:j], into.count(i), *rank[j + 1 :]),
        )
        for i, j in pairs
    ]


@registry.environment(
    "phylogeny",
    summary="trees by parsimony, of DS1 to DS8 (data files) or your own sequences (--sequences)",
    # Flows of detailed balance start hundreds of nats off; the batch's own log Z does not. The
    # literature has six layers.
    defaults={
        "objective": "vargrad",
        "backward": "uniform",
        "regression": "huber",
        "steps": 1_000,
        "chunk_size": 100,
        "batch_size": 32,
        "learning_rate": 3e-4,
        "final_learning_rate": 1e-5,
        "epsilon": 1.0,
        "epsilon_share": 0.5,
        "network": "forest",
        "forest": {"width": 32, "num_layers": 2},
    },
)
@dataclass(frozen=True)
class PhylogenyConfig:
    """Phylogenetic trees by parsimony."""

    dataset: Literal["DS1", "DS2", "DS3", "DS4", "DS5", "DS6", "DS7", "DS8"] = "DS1"
    """published alignment, with its offset"""
    sequences: str | None = None
    """alignment of your own, FASTA, PHYLIP, NEXUS or a .json object from species to sequences;
    replaces the dataset"""
    offset: float = 0.0
    """of your own sequences: about the changes of a good tree"""
    reward_temperature: float = 4.0
    """of your own sequences: R = exp((offset - changes) / reward_temperature)"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", absolute(self.sequences))

    def make(self) -> Phylogeny:
        if self.sequences is None:
            return phylogeny_benchmark(self.dataset)
        return phylogeny(read_sequences(self.sequences), self.offset, self.reward_temperature)
