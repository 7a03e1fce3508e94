"""Sequences of fixed length over an alphabet, grown at the right end or at both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.bits import SETTINGS, BitsConfig
from gfnjax.envs.drawing import Panel, measure_tokens, modes_near_tokens, sequence_panels
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.bits import hamming_reward, make_modes
from gfnjax.rewards.tables import qm9_small_reward, tfbind8_reward
from gfnjax.types import Array


class SequenceState(NamedTuple):
    """`tokens` `[length]` int32, what is written so far from the left; -1 where it is empty."""

    tokens: Array


@pytree
class FixedSequence(Comparable):
    """All sequences of L letters out of m; full ones are terminal.

    Action a < m appends letter a, action m + a (with `both_ends`) prepends it. Backward action 0
    takes the last letter away, 1 the first. Growing at both ends, a sequence of l letters is
    reached in 2^l ways; appended, in one: P_B = 1. The observation is one one-hot vector per
    position over "empty" and the letters, concatenated.

    Args:
        length: L, at least 1.
        alphabet_size: m, at least 1.
        reward: callable pytree `tokens [L] int32 -> log R`, or a plain function.
        both_ends: letters may be prepended as well.
        letters: what the alphabet is called in pictures; numbers without.

    Raises:
        ValueError: if a size is out of range.
    """

    length: int = static()
    alphabet_size: int = static()
    reward: Callable[[Array], Array]
    both_ends: bool = static(default=False)
    letters: str = static(default="")

    def __post_init__(self) -> None:
        settle(self, length=1, alphabet_size=1)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_actions(self) -> int:
        return self.alphabet_size * self.num_backward_actions

    @property
    def num_backward_actions(self) -> int:
        return 2 if self.both_ends else 1

    @property
    def max_steps(self) -> int:
        return self.length

    def initial_state(self) -> SequenceState:
        return SequenceState(jnp.full(self.length, -1, jnp.int32))

    def step(self, state: SequenceState, action: Array) -> SequenceState:
        letter = action % self.alphabet_size
        grown = jnp.where(self._positions() == self._size(state), letter, state.tokens)
        if self.both_ends:
            shifted = jnp.where(self._positions() == 0, letter, jnp.roll(state.tokens, 1))
            grown = jnp.where(action < self.alphabet_size, grown, shifted)
        return SequenceState(jnp.where(self.is_terminal(state), state.tokens, grown))

    def backward_step(self, state: SequenceState, backward_action: Array) -> SequenceState:
        cut = jnp.where(self._positions() == self._size(state) - 1, -1, state.tokens)
        if self.both_ends:
            shifted = jnp.roll(state.tokens, -1).at[-1].set(-1)
            cut = jnp.where(backward_action == 0, cut, shifted)
        return SequenceState(cut)

    def forward_mask(self, state: SequenceState) -> Array:
        return jnp.full(self.num_actions, ~self.is_terminal(state))

    def backward_mask(self, state: SequenceState) -> Array:
        return jnp.full(self.num_backward_actions, self._size(state) > 0)

    def backward_action(self, state: SequenceState, action: Array) -> Array:
        return action // self.alphabet_size

    def forward_action(self, state: SequenceState, backward_action: Array) -> Array:
        last = jnp.where(backward_action == 0, self._size(state) - 1, 0)
        letter = jnp.maximum(state.tokens[jnp.maximum(last, 0)], 0)
        return backward_action * self.alphabet_size + letter

    def is_terminal(self, state: SequenceState) -> Array:
        return state.tokens[-1] >= 0

    def observe(self, state: SequenceState) -> Array:
        return jax.nn.one_hot(state.tokens + 1, self.alphabet_size + 1).reshape(-1)

    @property
    def num_features(self) -> int:
        return self.length * (self.alphabet_size + 1)

    def active_features(self, state: SequenceState) -> Array:
        return self._positions() * (self.alphabet_size + 1) + state.tokens + 1

    def log_reward(self, state: SequenceState) -> Array:
        return self.reward(state.tokens)

    def measure(self, states: SequenceState) -> dict[str, Array]:
        """Whatever the reward measures."""
        return measure_tokens(self, states)

    def modes_near(self, state: SequenceState) -> Array:
        """Modes near the letters, where the reward knows any."""
        return modes_near_tokens(self, state)

    def render(self, states: SequenceState, weights: np.ndarray) -> tuple[Panel, ...]:
        """What the reward makes of the letters; else their frequencies and rewards."""
        return sequence_panels(self, states, weights, self.letters)

    @property
    def num_states(self) -> int:
        return sum(self.alphabet_size**size for size in range(self.length + 1))

    def state_index(self, state: SequenceState) -> Array:
        check_indexable(self)
        # Shorter sequences come first; those of one size are read as numbers in base m.
        size = self._size(state)
        return self._offsets()[size] + (state.tokens * self._places(size)).sum(dtype=jnp.int32)

    def state_at(self, index: Array) -> SequenceState:
        check_indexable(self)
        size = (index >= self._offsets()).sum(dtype=jnp.int32) - 1
        places = self._places(size)
        letters = (index - self._offsets()[size]) // jnp.maximum(places, 1) % self.alphabet_size
        return SequenceState(jnp.where(places > 0, letters, -1))

    def _positions(self) -> Array:
        return jnp.arange(self.length, dtype=jnp.int32)

    def _size(self, state: SequenceState) -> Array:
        return (state.tokens >= 0).sum(dtype=jnp.int32)

    def _places(self, size: Array) -> Array:
        """`[L]` what a letter of a sequence of `size` letters counts for; 0 past its end."""
        powers = jnp.array([self.alphabet_size**i for i in range(self.length)], jnp.int32)
        from_the_end = size - 1 - self._positions()
        return jnp.where(from_the_end >= 0, powers[jnp.maximum(from_the_end, 0)], 0)

    def _offsets(self) -> Array:
        """`[L + 1]` the number of sequences shorter than each size."""
        sizes = range(self.length + 1)
        return jnp.array([sum(self.alphabet_size**i for i in range(n)) for n in sizes], jnp.int32)


def tfbind8(both_ends: bool = False) -> FixedSequence:
    """DNA of 8 nucleotides ACGT that binds a transcription factor; see `tfbind8_reward`."""
    return FixedSequence(8, 4, tfbind8_reward(), both_ends, "ACGT")


def qm9_small() -> FixedSequence:
    """Molecules of 5 out of 11 blocks, prepended or appended; see `qm9_small_reward`."""
    return FixedSequence(5, 11, qm9_small_reward(), both_ends=True, letters="0123456789a")


def left_to_right_bits(
    num_bits: int = 120,
    word_size: int = 8,
    num_modes: int = 60,
    beta: float = 3.0,
    seed: int = 0,
) -> FixedSequence:
    """As `gfnjax.envs.bits.bit_sequence`, with words appended from left to right.

    Raises:
        ValueError: if the sizes do not fit.
    """
    modes = make_modes(num_bits, num_modes, seed)
    reward = hamming_reward(modes, word_size, beta)
    return FixedSequence(num_bits // word_size, 2**word_size, reward)


@registry.environment(
    "bits-left-to-right",
    summary="write 120 bits, 8 at a time from left to right, near one of 60 modes",
    defaults={**SETTINGS, "network": "causal"},
)
@dataclass(frozen=True)
class LeftToRightBitsConfig(BitsConfig):
    """Bit strings near hidden modes, words appended."""

    def make(self) -> FixedSequence:  # pyrefly: ignore[bad-override]
        return left_to_right_bits(
            self.num_bits, self.word_size, self.num_modes, self.beta, self.mode_seed
        )


@registry.environment(
    "tfbind8",
    summary="DNA of 8 nucleotides that binds a transcription factor, R a table (65,536 objects)",
    defaults={
        "steps": 20_000,
        "chunk_size": 1_000,
        "learning_rate": 5e-4,
        "log_z_learning_rate": 5e-2,
        "epsilon": 1.0,
        "epsilon_share": 0.05,
    },
)
@dataclass(frozen=True)
class TFBind8Config:
    """DNA of 8 nucleotides that binds a transcription factor."""

    both_ends: bool = False
    """nucleotides may be prepended as well as appended"""

    def make(self) -> FixedSequence:
        return tfbind8(self.both_ends)


@registry.environment(
    "qm9-small",
    summary="molecules of 5 out of 11 blocks, R a table (161,051 objects); needs its data file",
    defaults={
        "steps": 20_000,
        "chunk_size": 2_000,
        "learning_rate": 5e-4,
        "log_z_learning_rate": 5e-2,
    },
)
@dataclass(frozen=True)
class QM9SmallConfig:
    """Molecules of 5 out of 11 blocks."""

    def make(self) -> FixedSequence:
        return qm9_small()
