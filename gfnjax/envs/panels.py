"""What environments have in common when they draw a distribution over their objects."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax

from gfnjax.envs.base import (
    Environment,
    Measurable,
    Panel,
    Renderable,
    State,
    log_reward_of,
)
from gfnjax.identity import classes
from gfnjax.types import Array

NUM_BINS = 40
# Rewards have floors far below whatever a policy makes.
LOWEST_SHARE = 0.05


def sequence_panels(
    env: Any, states: Any, weights: np.ndarray, letters: Sequence[str] = ()
) -> tuple[Panel, ...]:
    """What the reward makes of the tokens; else the letters in each position, and rewards."""
    if isinstance(env.reward, Renderable):
        return env.reward.render(states.tokens, weights)
    return (
        letter_frequencies(states.tokens, weights, env.alphabet_size, letters),
        reward_histogram(env, states, weights),
    )


def measure_tokens(env: Any, states: Any) -> dict[str, Array]:
    """What the reward measures, if anything."""
    return env.reward.measure(states.tokens) if isinstance(env.reward, Measurable) else {}


def letter_frequencies(
    tokens: Any, weights: np.ndarray, alphabet_size: int, letters: Sequence[str] = ()
) -> Panel:
    """The probability of each letter in each position of `tokens` `[n, L]`, -1 where empty."""
    tokens = np.asarray(tokens)
    mass = np.zeros((alphabet_size, tokens.shape[1]))
    for position, column in enumerate(tokens.T):
        there = column >= 0
        np.add.at(mass[:, position], column[there], weights[there])
    return Panel(mass, "position", "letter", "probability of the letter", y_ticks=tuple(letters))


def reward_histogram(env: Environment, states: State, weights: np.ndarray) -> Panel:
    """The distribution of log R; the lowest of the objects share the first bin."""
    log_rewards = np.asarray(_log_rewards(env, states, classes(env)))
    low = np.quantile(log_rewards, LOWEST_SHARE)
    return histogram(np.maximum(log_rewards, low), weights, "log reward")


def histogram(values: Any, weights: np.ndarray, label: str) -> Panel:
    """The distribution of `values` `[n]`; its bins cover them all, whatever their weights.

    Integers get bins that are whole numbers wide, with the numbers in their middle.
    """
    values = np.asarray(values)
    low, high = float(values.min()), float(values.max())
    num_bins = NUM_BINS
    if np.issubdtype(values.dtype, np.integer):
        width = 1 + int(high - low) // NUM_BINS
        num_bins = 1 + int(high - low) // width
        low, high = low - 0.5, low - 0.5 + num_bins * width
    elif high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    mass, _ = np.histogram(values, num_bins, (low, high), weights=weights)
    return Panel(mass, label, bounds=(low, high))


@partial(jax.jit, static_argnums=2)
def _log_rewards(env: Any, states: State, kinds: tuple[type, ...]) -> Array:
    return lax.map(partial(log_reward_of, env), states, batch_size=1024)
