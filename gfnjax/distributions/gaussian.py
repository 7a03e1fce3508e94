"""Gaussian steps: an action is the place to go to, near a place that the environment proposes."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.arguments import whole
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.shapes import check_shape
from gfnjax.types import Array


class Step(NamedTuple):
    """What a policy says of a step, in units of the proposed one.

    Attributes:
        shift: `[d]` by how many standard deviations of the proposal the mean is moved.
        log_variance: `[d]` log of how many times as large the variance is.
    """

    shift: Array
    log_variance: Array


class Proposal(NamedTuple):
    """The step that an environment proposes in a state: the support of a `Gaussian`.

    Attributes:
        allowed: `[]` bool, whether there is a step at all.
        center: `[d]` the mean.
        scale: `[]` the standard deviation; 0 for a point mass: `center` is the only place to go.
    """

    allowed: Array
    center: Array
    scale: Array


@dataclass(frozen=True)
class Gaussian:
    """x' ~ N(center + scale shift, scale^2 exp(log_variance)), each coordinate for itself.

    An action `[d]` is x' itself, not how far it is, so that to step and to take the step back is
    exact. A policy that says zeros makes the proposed step. Where `scale` is 0 there is one way to
    go, its density is taken relative to a point mass, and log P = 0 (Lahlou et al., 2301.12594).

    While exploring, the variance is `temperature` times as large, and has `exploration_std`^2 on
    top: noise of that standard deviation, in the units of x, in each coordinate of every step.

    Attributes:
        size: number of coordinates d.

    Raises:
        ValueError: if `size` is not positive.
    """

    size: int
    explores_by: ClassVar[tuple[str, ...]] = ("temperature", "exploration_std")
    # `sample` is differentiable in the parameters.
    reparametrised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole("size", self.size, least=1))

    def neutral(self) -> Step:
        zeros = jnp.zeros(self.size, jnp.result_type(float))
        return Step(zeros, zeros)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        return jax.random.normal(key, (*shape, self.size))

    def sample(self, params: Step, support: Proposal, noise: Array) -> Array:
        self._check(params, support)
        deviation = params.shift + jnp.exp(params.log_variance / 2) * noise
        return support.center + support.scale * deviation

    def noise_of(self, params: Step, support: Proposal, action: Array) -> Array:
        """`[d]` the noise that `sample` makes `action` of; zeros where there is one way to go."""
        self._check(params, support)
        free = support.scale > 0
        away = (action - support.center) / jnp.where(free, support.scale, 1.0) - params.shift
        return jnp.where(free, away * jnp.exp(-params.log_variance / 2), 0.0)

    def log_prob(self, params: Step, support: Proposal, action: Array) -> Array:
        self._check(params, support)
        check_shape("action", action, (self.size,), "[d]")
        free = support.allowed & (support.scale > 0)
        scale = jnp.where(free, support.scale, 1.0)
        # Where nothing is drawn, numbers may be anything: they must not reach the gradient.
        shift = jnp.where(free, params.shift, 0.0)
        log_variance = jnp.where(free, params.log_variance, 0.0)
        away = jnp.where(free, (action - support.center) / scale, 0.0) - shift
        exponent = (away**2 * jnp.exp(-log_variance) + log_variance).sum()
        density = -(exponent + self.size * jnp.log(2 * jnp.pi * scale**2)) / 2
        return jnp.where(free, density, 0.0)

    def explore(self, params: Step, support: Proposal, values: Hyperparameters) -> Step:
        self._check(params, support)
        log_variance = params.log_variance + jnp.log(values.temperature)
        scale = jnp.where(support.scale > 0, support.scale, 1.0)
        # The sum of both variances, relative to the proposed one; log 0 is -inf, which is right. A
        # compiled schedule that falls to 0 may end at -3e-9.
        added = 2 * jnp.log(jnp.maximum(values.exploration_std, 0.0) / scale)
        return params._replace(log_variance=jnp.logaddexp(log_variance, added))

    def possible(self, support: Proposal) -> Array:
        return support.allowed

    def allows(self, support: Proposal, action: Array) -> Array:
        anywhere = (support.scale > 0) & jnp.isfinite(action).all()
        return support.allowed & (anywhere | (action == support.center).all())

    def _check(self, params: Step, support: Proposal) -> None:
        """Raise an `ArgumentError` unless both are those of one state."""
        for name in Step._fields:
            check_shape(name, getattr(params, name), (self.size,), "[d]")
        check_shape("center", support.center, (self.size,), "[d]")
        check_shape("scale", support.scale, (), "[]")
