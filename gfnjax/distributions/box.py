"""Steps in a box: a leap, or a move whose coordinates come from Beta mixtures.

Forward the leap is the exit, backward the way back to the source; what else there is to do are
moves, away from the origin or towards it. A backward move is the forward move that it undoes.
Densities of moves are those of Lahlou et al. (2301.12594): relative to area, or to the length of an
arc where a move has a fixed length; a leap is taken relative to a point mass.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.arguments import whole
from gfnjax.distributions import beta
from gfnjax.distributions.exploring import Explored, deciding, explored
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.shapes import check_shape
from gfnjax.types import Array

# By how much a move may leave its limits: rounding.
SLACK = 1e-5
# The narrowest interval that a move is drawn from.
NARROWEST = 1e-6


class BoxAction(NamedTuple):
    """`leap` `[]` bool; `move` `[d]`, 0 where it is a leap."""

    leap: Array
    move: Array


class BoxParams(NamedTuple):
    """What a policy says of a step in a box.

    Attributes:
        leap: `[]` the logit of a leap.
        moves: `[d, 3, k]` Beta mixtures, one for each number that makes a move.
    """

    leap: Array
    moves: Array


class Choice(NamedTuple):
    """`[]` bools: whether anything is allowed, whether a leap is, and whether nothing else is."""

    possible: Array
    may_leap: Array
    must_leap: Array


class Interval(NamedTuple):
    """The support of a `CartesianStep`: a choice, and limits `[d]` of a move's coordinates."""

    choice: Choice
    low: Array
    high: Array


class Quadrant(NamedTuple):
    """The support of a `PolarStep`.

    Attributes:
        choice: of a leap.
        gap: `[2]` how far a move may go in each coordinate.
        length: `[]` of a move, the most where `any_length`.
        any_length: `[]` bool.
    """

    choice: Choice
    gap: Array
    length: Array
    any_length: Array


@dataclass(frozen=True)
class CartesianStep:
    """A leap, or a move by low + u (high - low), with u `[d]` from Beta mixtures.

    The density of a move is prod_i p_i(u_i) / (high_i - low_i), times the probability of no leap.

    Attributes:
        size: number of coordinates d.
        num_components: of each mixture, k.

    Raises:
        ValueError: if one of them is not positive.
    """

    size: int
    num_components: int = 2

    def __post_init__(self) -> None:
        _settle(self, "size", "num_components")

    def neutral(self) -> BoxParams:
        return _neutral(self.size, self.num_components)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        return _noise(key, shape, self.size)

    def sample(self, params: BoxParams | Explored, support: Interval, noise: Array) -> BoxAction:
        leap, u = _decide(self, params, support.choice, noise)
        move = support.low + u * (support.high - support.low)
        return BoxAction(leap, jnp.where(leap, 0.0, move))

    def log_prob(self, params: BoxParams, support: Interval, action: BoxAction) -> Array:
        _check(self, params, action)
        width = jnp.maximum(support.high - support.low, NARROWEST)
        u = (action.move - support.low) / width
        density = jax.vmap(beta.log_density)(params.moves, u) - jnp.log(width)
        return _choice_log_prob(params, support.choice, action, density.sum())

    def explore(self, params: BoxParams, support: Interval, values: Hyperparameters) -> Explored:
        return explored(params, values)

    def possible(self, support: Interval) -> Array:
        return support.choice.possible

    def allows(self, support: Interval, action: BoxAction) -> Array:
        above, below = support.low - SLACK, support.high + SLACK
        inside = ((action.move >= above) & (action.move <= below)).all()
        return _allows(support.choice, action, inside)


@dataclass(frozen=True)
class PolarStep:
    """A leap, or a move of fixed length in a direction from a Beta mixture, in two dimensions.

    With limits low and high of the angle, as shares of a quarter turn, such that the move stays
    within the gap, a move has the density p_0(w) / (length (pi / 2) (high - low)) relative to
    arc length, w in [0, 1] the place between them. Where any length is allowed it is u times the
    most, u from a mixture of its own, and the density p_0(w) p_1(u) / (r length pi / 2) relative
    to area, r the move's length; for that there must be room in all directions.

    Attributes:
        num_components: of each mixture, k.
        any_length: whether there are states where the length is free; else no policy speaks of it.

    Raises:
        ValueError: if `num_components` is not positive.
    """

    num_components: int = 2
    any_length: bool = True

    def __post_init__(self) -> None:
        _settle(self, "num_components")

    @property
    def size(self) -> int:
        """How many numbers make a move."""
        return 1 + self.any_length

    def neutral(self) -> BoxParams:
        return _neutral(self.size, self.num_components)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        return _noise(key, shape, self.size)

    def sample(self, params: BoxParams | Explored, support: Quadrant, noise: Array) -> BoxAction:
        leap, u = _decide(self, params, support.choice, noise)
        low, high = angle_limits(support)
        angle = jnp.pi / 2 * (low + u[0] * (high - low))
        length = support.length
        if self.any_length:
            length = jnp.where(support.any_length, u[1], 1.0) * length
        move = length * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        # The limits are rounded, near the sides of the box more than other numbers.
        return BoxAction(leap, jnp.where(leap, 0.0, jnp.minimum(move, support.gap)))

    def log_prob(self, params: BoxParams, support: Quadrant, action: BoxAction) -> Array:
        _check(self, params, action, size=2)
        low, high = angle_limits(support)
        width = jnp.maximum(high - low, NARROWEST)
        # At the origin too there is an angle, which is never drawn.
        angle = jnp.arctan2(action.move[1], action.move[0]) / (jnp.pi / 2)
        density = beta.log_density(params.moves[0], (angle - low) / width)
        density = density - jnp.log(support.length * jnp.pi / 2 * width)
        if self.any_length:
            share = jnp.linalg.norm(action.move) / support.length
            of_length = beta.log_density(params.moves[1], share)
            radius = support.length * jnp.maximum(share, beta.EDGE**2)
            density += jnp.where(support.any_length, of_length - jnp.log(radius), 0.0)
        return _choice_log_prob(params, support.choice, action, density)

    def explore(self, params: BoxParams, support: Quadrant, values: Hyperparameters) -> Explored:
        return explored(params, values)

    def possible(self, support: Quadrant) -> Array:
        return support.choice.possible

    def allows(self, support: Quadrant, action: BoxAction) -> Array:
        inside = ((action.move >= -SLACK) & (action.move <= support.gap + SLACK)).all()
        excess = jnp.linalg.norm(action.move) - support.length
        inside &= jnp.where(support.any_length, excess <= SLACK, jnp.abs(excess) <= SLACK)
        return _allows(support.choice, action, inside)


def angle_limits(support: Quadrant) -> tuple[Array, Array]:
    """`[]` each, shares of a quarter turn: between them a move of full length stays in the gap."""
    shares = jnp.clip(support.gap / support.length, 0.0, 1.0)
    free = support.any_length
    low = jnp.where(free, 0.0, jnp.arccos(shares[0]) / (jnp.pi / 2))
    return low, jnp.where(free, 1.0, jnp.arcsin(shares[1]) / (jnp.pi / 2))


def _settle(instance: Any, *names: str) -> None:
    for name in names:
        object.__setattr__(instance, name, whole(name, getattr(instance, name), least=1))


def _neutral(size: int, num_components: int) -> BoxParams:
    dtype = jnp.result_type(float)
    return BoxParams(jnp.zeros((), dtype), jnp.zeros((size, beta.NUM_ROWS, num_components), dtype))


def _noise(key: Array, shape: tuple[int, ...], size: int) -> Array:
    """Uniform numbers: for whether the policy decides, for the leap, and for each of `size`."""
    return jax.random.uniform(key, (*shape, 2 + size * beta.NUM_NOISE))


def _decide(actions: Any, params: Any, choice: Choice, noise: Array) -> tuple[Array, Array]:
    """Whether to leap, and the numbers `[size]` in [0, 1] that would make a move."""
    params, temperature = deciding(actions, params, noise[0])
    leap = noise[1] < jax.nn.sigmoid(params.leap / temperature)
    leap = choice.must_leap | (choice.may_leap & leap)
    sample = jax.vmap(beta.sample, (0, None, 0))
    return leap, sample(params.moves, temperature, noise[2:].reshape(actions.size, -1))


def _choice_log_prob(params: BoxParams, choice: Choice, action: BoxAction, move: Array) -> Array:
    """`[]` nats: what leaping or not makes of the log density of a move."""
    logit = jnp.where(action.leap, params.leap, -params.leap)
    free = choice.may_leap & ~choice.must_leap
    log_choice = jnp.where(free, jax.nn.log_sigmoid(logit), 0.0)
    log_prob = log_choice + jnp.where(action.leap, 0.0, move)
    return jnp.where(choice.possible, log_prob, 0.0)


def _allows(choice: Choice, action: BoxAction, inside: Array) -> Array:
    leap = choice.may_leap | choice.must_leap
    return choice.possible & jnp.where(action.leap, leap, ~choice.must_leap & inside)


def _check(actions: Any, params: BoxParams, action: BoxAction, size: int | None = None) -> None:
    """Raise an `ArgumentError` unless both are those of one state."""
    shape = actions.size, beta.NUM_ROWS, actions.num_components
    check_shape("moves", params.moves, shape, "[d, 3, k]")
    check_shape("leap", params.leap, (), "[]")
    check_shape("move", action.move, (actions.size if size is None else size,), "[d]")
