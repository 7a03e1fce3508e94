"""Turns of angles, all at once: increments from von Mises mixtures."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.arguments import whole
from gfnjax.distributions import von_mises
from gfnjax.distributions.exploring import Explored, deciding, explored
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.shapes import check_shape
from gfnjax.types import Array

# By how much a turn may differ from the only one that is allowed: rounding.
SLACK = 1e-5


class Turns(NamedTuple):
    """What may be done: anything where it is `free`, else one thing.

    Attributes:
        possible: `[]` bool, whether anything may be done.
        free: `[]` bool, whether there is a choice.
        only: `[d]` the turns where there is none.
    """

    possible: Array
    free: Array
    only: Array


@dataclass(frozen=True)
class Turn:
    """Increments `[d]` of angles in [-pi, pi], each from a von Mises mixture of its own.

    Increments are equal modulo 2 pi. Where there is one thing to do, log P = 0.

    Attributes:
        size: number of angles d.
        num_components: of each mixture, k.

    Raises:
        ValueError: if one of them is not positive.
    """

    size: int
    num_components: int = 2

    def __post_init__(self) -> None:
        for name in ("size", "num_components"):
            object.__setattr__(self, name, whole(name, getattr(self, name), least=1))

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.size, von_mises.NUM_ROWS, self.num_components

    def neutral(self) -> Array:
        """`[d, 3, k]` zeros: uniform on the torus."""
        return jnp.zeros(self._shape, jnp.result_type(float))

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Uniform numbers: for whether the policy decides, and for each turn."""
        return jax.random.uniform(key, (*shape, 1 + self.size * von_mises.NUM_NOISE))

    def sample(self, params: Array | Explored, support: Turns, noise: Array) -> Array:
        params, temperature = deciding(self, params, noise[0])
        sample = jax.vmap(von_mises.sample, (0, None, 0))
        drawn = sample(params, temperature, noise[1:].reshape(self.size, -1))
        return jnp.where(support.free, drawn, support.only)

    def log_prob(self, params: Array, support: Turns, action: Array) -> Array:
        check_shape("params", params, self._shape, "[d, 3, k]")
        check_shape("action", action, (self.size,), "[d]")
        density = jax.vmap(von_mises.log_density)(params, action).sum()
        return jnp.where(support.possible & support.free, density, 0.0)

    def explore(self, params: Array, support: Turns, values: Hyperparameters) -> Explored:
        return explored(params, values)

    def possible(self, support: Turns) -> Array:
        return support.possible

    def allows(self, support: Turns, action: Array) -> Array:
        near = (jnp.abs(von_mises.wrap(action - support.only)) < SLACK).all()
        return support.possible & jnp.where(support.free, jnp.isfinite(action).all(), near)
