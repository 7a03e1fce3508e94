"""What an environment shows of its objects: the types, and what environments have in common."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax.envs.base import (
    Environment,
    Measurable,
    State,
    log_reward_of,
)
from gfnjax.identity import classes
from gfnjax.types import Array

# Of everything that is drawn.
BLUE, ORANGE, INK, FAINT = "#1f6f8b", "#d1603d", "#22303c", "#a9c3cc"
NUM_BINS = 40
# Rewards have floors far below whatever a policy makes.
LOWEST_SHARE = 0.05
# Points in a picture, where more would hide what is below them.
MAX_POINTS = 2_000


class Panel(NamedTuple):
    """One aspect of a distribution over objects, to be drawn.

    Attributes:
        values: `[n]` for bars, or `[rows, columns]` for a heat map with its origin at the bottom.
        x_label: of the last axis.
        y_label: of the rows; what bars show, `quantity` if empty.
        quantity: what the values are; heat maps of one quantity share their colours.
        x_ticks: names of the columns or bars; their numbers if empty.
        y_ticks: names of the rows.
        bounds: values at the left end of the first bar and the right end of the last; of heat maps
            also those at the bottom and at the top.
        points: `[n, 2]` drawn on a heat map that has `bounds`: what the values are a background of.
    """

    values: np.ndarray
    x_label: str
    y_label: str = ""
    quantity: str = "probability"
    x_ticks: Sequence[str] = ()
    y_ticks: Sequence[str] = ()
    bounds: tuple[float, ...] | None = None
    points: np.ndarray | None = None


@runtime_checkable
class Renderable(Protocol):
    """An environment, or a reward, that can draw a distribution over its objects."""

    def render(self, states: State, weights: np.ndarray) -> tuple[Panel, ...]:
        """Marginals of terminal states `[n, ...]` with `weights` `[n]` that sum to 1."""
        ...


@runtime_checkable
class Drawable(Protocol):
    """An environment that can draw a single object."""

    def draw(self, axes: Any, state: State) -> None:
        """Draw a terminal state on a matplotlib axes, with a title."""
        ...


class Target(NamedTuple):
    """What is known of R / Z without listing all objects; None where it is not.

    Attributes:
        log_z: nats.
        parts: `[...]` the probability of each part of a `Composite` environment's objects.
        judge: how far terminal states `[n, ...]` with weights `[n]`, which sum to 1, are from it,
            by name; on the host.
    """

    log_z: float
    parts: np.ndarray | None = None
    judge: Callable[[State, np.ndarray], dict[str, float]] | None = None


@runtime_checkable
class KnownTarget(Protocol):
    """An environment that knows things about its target by other means than enumeration."""

    def target(self) -> Target | None:
        """The truth, or None if it is not known for this reward. Not traceable."""
        ...

    def render_target(self) -> tuple[Panel, ...] | None:
        """What `Renderable.render` would show of R / Z, if that is known. Not traceable."""
        ...


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


def modes_near_tokens(env: Any, state: Any) -> Array:
    """`[num_modes]` bool, those that the reward knows near the tokens; `[0]` if it knows none."""
    if not hasattr(env.reward, "modes_near"):
        return jnp.zeros(0, bool)
    return env.reward.modes_near(state.tokens)


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


def reward_histogram(
    env: Environment, states: State, weights: np.ndarray, at_once: int = 1024
) -> Panel:
    """The distribution of log R; the lowest of the objects share the first bin.

    `at_once` of them are judged at a time: a reward may take memory.
    """
    log_rewards = np.asarray(_log_rewards(env, states, classes(env), at_once))
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


def plane_panel(density: Any, bounds: tuple[float, float], points: Any = None) -> Panel:
    """A density `[side, side]` over a square, x_1 along the rows, and `points` `[n, 2]` in it."""
    if points is not None:
        points = np.asarray(points)[:MAX_POINTS]
    labels = "$x_1$", "$x_2$", "density of the target"
    return Panel(np.asarray(density).T, *labels, bounds=bounds + bounds, points=points)


def marginal(x: np.ndarray, weights: np.ndarray, bounds: tuple[float, float], axis: int) -> Panel:
    """The distribution of one coordinate `[n]` within its bounds."""
    mass, _ = np.histogram(x, NUM_BINS, bounds, weights=weights)
    return Panel(mass, f"$x_{axis + 1}$", bounds=bounds)


@partial(jax.jit, static_argnums=(2, 3))
def _log_rewards(env: Any, states: State, kinds: tuple[type, ...], at_once: int) -> Array:
    return lax.map(partial(log_reward_of, env), states, batch_size=at_once)
