"""Where there is one thing to do, and a state says what."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.arguments import whole
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.shapes import check_shape
from gfnjax.types import Array


class Only(NamedTuple):
    """The support of `Deterministic`: `allowed` `[]` bool, and `action` `[d]`, what there is."""

    allowed: Array
    action: Array


@dataclass(frozen=True)
class Deterministic:
    """An action `[d]` that follows from the state: density 1 relative to a point mass, log P = 0.

    The way back where objects are built coordinate by coordinate, say. A policy has nothing to say
    of it: its parameters are the empty tuple, and there is nothing to explore.

    Attributes:
        size: numbers in an action, d.

    Raises:
        ValueError: if `size` is not positive.
    """

    size: int
    explores_by: ClassVar[tuple[str, ...]] = ()
    reparametrised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole("size", self.size, least=1))

    def neutral(self) -> tuple[()]:
        return ()

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """`[..., 0]` nothing."""
        return jax.random.uniform(key, (*shape, 0))

    def noise_of(self, params: tuple[()], support: Only, action: Array) -> Array:
        """`[0]` nothing."""
        return jnp.zeros(0, support.action.dtype)

    def sample(self, params: tuple[()], support: Only, noise: Array) -> Array:
        check_shape("action", support.action, (self.size,), "[d]")
        return support.action

    def log_prob(self, params: tuple[()], support: Only, action: Array) -> Array:
        check_shape("action", action, (self.size,), "[d]")
        return jnp.zeros((), jnp.result_type(float))

    def explore(self, params: tuple[()], support: Only, values: Hyperparameters) -> tuple[()]:
        return params

    def possible(self, support: Only) -> Array:
        return support.allowed

    def allows(self, support: Only, action: Array) -> Array:
        return support.allowed & (action == support.action).all()
