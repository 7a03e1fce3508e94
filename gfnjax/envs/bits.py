"""Bit sequences in any order: write words into the empty positions of a fixed-length sequence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.drawing import Panel, measure_tokens, modes_near_tokens, sequence_panels
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.bits import hamming_reward, make_modes
from gfnjax.types import Array


class BitState(NamedTuple):
    """`tokens` `[num_positions]` int32, the word in each position; -1 where it is empty."""

    tokens: Array


@pytree
class BitSequence(Comparable):
    """n bits in words of k, written in any order (Tiapkin et al., 2310.12934).

    Action `position * num_words + word` writes a word into an empty position, backward action
    `position` erases it; a full sequence is terminal. The observation is one one-hot vector per
    position over "empty" and the words, concatenated.

    Args:
        num_bits: n.
        word_size: k, a divisor of n.
        reward: callable pytree `tokens [n / k] int32 -> log R`, or a plain function.

    Raises:
        ValueError: if the sizes do not fit.
    """

    num_bits: int = static()
    word_size: int = static()
    reward: Callable[[Array], Array]

    def __post_init__(self) -> None:
        settle(self, num_bits=1, word_size=None)
        if not 1 <= self.word_size <= 16 or self.num_bits % self.word_size:
            raise ArgumentError(
                "word_size",
                f"must be in 1..16 and divide num_bits = {self.num_bits}, got {self.word_size}",
            )
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_positions(self) -> int:
        return self.num_bits // self.word_size

    @property
    def num_words(self) -> int:
        return 2**self.word_size

    @property
    def alphabet_size(self) -> int:
        return self.num_words

    @property
    def num_actions(self) -> int:
        return self.num_positions * self.num_words

    @property
    def num_backward_actions(self) -> int:
        return self.num_positions

    @property
    def max_steps(self) -> int:
        return self.num_positions

    def initial_state(self) -> BitState:
        return BitState(jnp.full(self.num_positions, -1, jnp.int32))

    def step(self, state: BitState, action: Array) -> BitState:
        position, word = action // self.num_words, action % self.num_words
        written = (self._positions() == position) & (state.tokens < 0)
        return BitState(jnp.where(written, word, state.tokens))

    def backward_step(self, state: BitState, backward_action: Array) -> BitState:
        erased = self._positions() == backward_action
        return BitState(jnp.where(erased, -1, state.tokens))

    def forward_mask(self, state: BitState) -> Array:
        return jnp.repeat(state.tokens < 0, self.num_words)

    def backward_mask(self, state: BitState) -> Array:
        return state.tokens >= 0

    def backward_action(self, state: BitState, action: Array) -> Array:
        return action // self.num_words

    def forward_action(self, state: BitState, backward_action: Array) -> Array:
        word = jnp.maximum(state.tokens[backward_action], 0)
        return backward_action * self.num_words + word

    def is_terminal(self, state: BitState) -> Array:
        return (state.tokens >= 0).all()

    def observe(self, state: BitState) -> Array:
        return jax.nn.one_hot(state.tokens + 1, self.num_words + 1).reshape(-1)

    @property
    def num_features(self) -> int:
        return self.num_positions * (self.num_words + 1)

    def active_features(self, state: BitState) -> Array:
        return self._positions() * (self.num_words + 1) + state.tokens + 1

    def log_reward(self, state: BitState) -> Array:
        return self.reward(state.tokens)

    def measure(self, states: BitState) -> dict[str, Array]:
        """Whatever the reward measures."""
        return measure_tokens(self, states)

    def modes_near(self, state: BitState) -> Array:
        """Modes near the words, where the reward knows any."""
        return modes_near_tokens(self, state)

    def render(self, states: BitState, weights: np.ndarray) -> tuple[Panel, ...]:
        """What the reward makes of the words; else their frequencies and rewards."""
        return sequence_panels(self, states, weights)

    @property
    def num_states(self) -> int:
        return (self.num_words + 1) ** self.num_positions

    def state_index(self, state: BitState) -> Array:
        check_indexable(self)
        return ((state.tokens + 1) * self._places()).sum(dtype=jnp.int32)

    def state_at(self, index: Array) -> BitState:
        check_indexable(self)
        return BitState(index // self._places() % (self.num_words + 1) - 1)

    def _positions(self) -> Array:
        return jnp.arange(self.num_positions, dtype=jnp.int32)

    def _places(self) -> Array:
        exponents = reversed(range(self.num_positions))
        return jnp.array([(self.num_words + 1) ** i for i in exponents], jnp.int32)


def bit_sequence(
    num_bits: int = 120,
    word_size: int = 8,
    num_modes: int = 60,
    beta: float = 3.0,
    seed: int = 0,
) -> BitSequence:
    """The published one: log R = -beta min Hamming / n to the modes of `make_modes(..., seed)`.

    Raises:
        ValueError: if the sizes do not fit.
    """
    modes = make_modes(num_bits, num_modes, seed)
    return BitSequence(num_bits, word_size, hamming_reward(modes, word_size, beta))


# The literature moves log Z, about 80 nats, at a rate of .05 in 50,000 steps.
SETTINGS = {
    "steps": 1_000,
    "chunk_size": 100,
    "backward": "uniform",
    "log_z_learning_rate": 0.5,
    "epsilon": 1e-3,
}


@registry.environment(
    "bits",
    summary="write 120 bits, 8 at a time in any order, near one of 60 modes",
    defaults={**SETTINGS, "network": "transformer"},
)
@dataclass(frozen=True)
class BitsConfig:
    """Bit strings near hidden modes, words written in any order."""

    num_bits: int = 120
    """length of the string"""
    word_size: int = 8
    """bits written at once"""
    num_modes: int = 60
    """hidden modes"""
    beta: float = 3.0
    """log R = -beta x distance to the nearest mode / num_bits"""
    mode_seed: int = 0
    """of the modes"""

    def make(self) -> BitSequence:
        return bit_sequence(
            self.num_bits, self.word_size, self.num_modes, self.beta, self.mode_seed
        )
