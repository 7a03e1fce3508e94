"""Sequences of variable length, written from left to right until stopped; peptides among them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.drawing import Panel, histogram, measure_tokens, sequence_panels
from gfnjax.envs.strings import Listed
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
class VariableSequence(Listed, Comparable):
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

    def initial_state(self) -> VariableSequenceState:
        return VariableSequenceState(jnp.full(self.max_length, -1, jnp.int32), jnp.zeros((), bool))

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
