"""Sequences of variable length, written from left to right until stopped; peptides among them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.drawing import Panel, histogram, measure_tokens, sequence_panels
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.amp import MAX_LENGTH, NUM_RESIDUES, RESIDUES, amp_reward
from gfnjax.types import Array


class VariableSequenceState(NamedTuple):
    """`tokens` `[max_length]` int32, -1 past the last letter; `stopped` `[]` bool."""

    tokens: Array
    stopped: Array


@pytree
class VariableSequence(Comparable):
    """All sequences of `min_length` to `max_length` letters out of m.

    Action a < m appends letter a, action m stops; a full sequence may only stop. The one backward
    action takes back whatever came last: states form a tree, P_B = 1. The observation is one
    one-hot vector per position over "empty" and the letters, concatenated; whether the sequence
    was stopped is left out, as nothing is chosen after that.

    Args:
        max_length: at least 1.
        alphabet_size: m, at least 1.
        reward: callable pytree `tokens [max_length] int32 -> log R`, or a plain function.
        min_length: letters needed before stopping.
        letters: what the alphabet is called in pictures; numbers without.

    Raises:
        ValueError: if a size is out of range.
    """

    max_length: int = static()
    alphabet_size: int = static()
    reward: Callable[[Array], Array]
    min_length: int = static(default=1)
    letters: str = static(default="")

    def __post_init__(self) -> None:
        settle(self, max_length=1, alphabet_size=1, min_length=0)
        if not 0 <= self.min_length <= self.max_length:
            raise ArgumentError(
                "min_length", f"must be in 0..max_length = {self.max_length}, got {self.min_length}"
            )
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_actions(self) -> int:
        return self.alphabet_size + 1

    @property
    def num_backward_actions(self) -> int:
        return 1

    @property
    def max_steps(self) -> int:
        return self.max_length + 1

    def initial_state(self) -> VariableSequenceState:
        return VariableSequenceState(jnp.full(self.max_length, -1, jnp.int32), jnp.zeros((), bool))

    def step(self, state: VariableSequenceState, action: Array) -> VariableSequenceState:
        stop = action == self.alphabet_size
        here = (self._positions() == self._size(state)) & ~state.stopped & ~stop
        return VariableSequenceState(jnp.where(here, action, state.tokens), state.stopped | stop)

    def backward_step(
        self, state: VariableSequenceState, backward_action: Array
    ) -> VariableSequenceState:
        last = (self._positions() == self._size(state) - 1) & ~state.stopped
        return VariableSequenceState(jnp.where(last, -1, state.tokens), jnp.zeros((), bool))

    def forward_mask(self, state: VariableSequenceState) -> Array:
        size = self._size(state)
        grow = jnp.full(self.alphabet_size, size < self.max_length)
        return jnp.append(grow, size >= self.min_length) & ~state.stopped

    def backward_mask(self, state: VariableSequenceState) -> Array:
        return ((self._size(state) > 0) | state.stopped)[None]

    def backward_action(self, state: VariableSequenceState, action: Array) -> Array:
        return jnp.zeros((), jnp.int32)

    def forward_action(self, state: VariableSequenceState, backward_action: Array) -> Array:
        last = state.tokens[jnp.maximum(self._size(state) - 1, 0)]
        return jnp.where(state.stopped, self.alphabet_size, jnp.maximum(last, 0))

    def is_terminal(self, state: VariableSequenceState) -> Array:
        return state.stopped

    def observe(self, state: VariableSequenceState) -> Array:
        return jax.nn.one_hot(state.tokens + 1, self.alphabet_size + 1).reshape(-1)

    @property
    def num_features(self) -> int:
        return self.max_length * (self.alphabet_size + 1)

    def active_features(self, state: VariableSequenceState) -> Array:
        return self._positions() * (self.alphabet_size + 1) + state.tokens + 1

    def log_reward(self, state: VariableSequenceState) -> Array:
        return self.reward(state.tokens)

    def measure(self, states: VariableSequenceState) -> dict[str, Array]:
        """Whatever the reward measures."""
        return measure_tokens(self, states)

    def render(self, states: VariableSequenceState, weights: np.ndarray) -> tuple[Panel, ...]:
        """What the reward makes of the letters; else their frequencies and rewards."""
        panels = sequence_panels(self, states, weights, self.letters)
        lengths = (np.asarray(states.tokens) >= 0).sum(axis=1)
        return (*panels, histogram(lengths, weights, "length"))

    @property
    def num_states(self) -> int:
        powers = [self.alphabet_size**n for n in range(self.max_length + 1)]
        return sum(powers) + sum(powers[self.min_length :])

    def state_index(self, state: VariableSequenceState) -> Array:
        check_indexable(self)

        # Growing sequences by size, then in base m; stopped ones follow in the same order.
        def digit(value: Array, token: Array) -> tuple[Array, None]:
            return jnp.where(token < 0, value, value * self.alphabet_size + token), None

        value, _ = jax.lax.scan(digit, jnp.zeros((), jnp.int32), state.tokens)
        offsets = self._offsets()
        shift = offsets[-1] - offsets[self.min_length]
        return offsets[self._size(state)] + value + jnp.where(state.stopped, shift, 0)

    def state_at(self, index: Array) -> VariableSequenceState:
        check_indexable(self)
        offsets = self._offsets()
        stopped = index >= offsets[-1]
        index = jnp.where(stopped, index - offsets[-1] + offsets[self.min_length], index)
        size = (index >= offsets).sum(dtype=jnp.int32) - 1
        powers = jnp.array([self.alphabet_size**i for i in range(self.max_length)], jnp.int32)
        from_the_end = size - 1 - self._positions()
        letters = (index - offsets[size]) // powers[jnp.maximum(from_the_end, 0)]
        tokens = jnp.where(from_the_end >= 0, letters % self.alphabet_size, -1)
        return VariableSequenceState(tokens, stopped)

    def _positions(self) -> Array:
        return jnp.arange(self.max_length, dtype=jnp.int32)

    def _size(self, state: VariableSequenceState) -> Array:
        return (state.tokens >= 0).sum(dtype=jnp.int32)

    def _offsets(self) -> Array:
        """`[max_length + 2]` the number of sequences shorter than each size."""
        sizes = range(self.max_length + 2)
        return jnp.array([sum(self.alphabet_size**i for i in range(n)) for n in sizes], jnp.int32)


def antimicrobial_peptides() -> VariableSequence:
    """Peptides of 1 to 60 amino acids ARNDCEQGHILKMFPSTWYV; see `amp_reward`.

    Raises:
        ValueError, FileNotFoundError: if the weights of the reward are missing or damaged.
    """
    return VariableSequence(MAX_LENGTH, NUM_RESIDUES, amp_reward(), letters=RESIDUES)


@registry.environment(
    "amp",
    summary="antimicrobial peptides of up to 60 amino acids, R a network; needs its data file",
    defaults={
        "steps": 400,
        "chunk_size": 50,
        "backward": "uniform",
        "log_z_learning_rate": 0.64,
        "epsilon": 1e-2,
        "network": "causal",
    },
)
@dataclass(frozen=True)
class AMPConfig:
    """Antimicrobial peptides of up to 60 amino acids."""

    def make(self) -> VariableSequence:
        return antimicrobial_peptides()
