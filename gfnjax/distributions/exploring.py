"""What acts in place of a density while exploring."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.shapes import check_shape
from gfnjax.types import Array, PyTree


class Undecided(Protocol):
    """A kind of action that says what an undecided policy says."""

    def neutral(self) -> PyTree: ...


class Explored(NamedTuple):
    """With probability epsilon the undecided policy, else the policy at a temperature.

    Attributes:
        params: what the policy says.
        epsilon: `[]` in [0, 1], decided anew in every step.
        temperature: `[]` above 0; odds and components are raised to the power of its inverse.
    """

    params: PyTree
    epsilon: Array
    temperature: Array


def explored(params: PyTree, values: Hyperparameters) -> Explored:
    """What `Actions.explore` gives, for the run's epsilon and temperature `[]`."""
    check_shape("epsilon", values.epsilon, (), "[]")
    check_shape("temperature", values.temperature, (), "[]")
    return Explored(params, values.epsilon, values.temperature)


def deciding(actions: Undecided, params: Any, noise: Array) -> tuple[PyTree, Array]:
    """Parameters that decide this once and their temperature `[]`, from `noise` `[]` in [0, 1)."""
    if not isinstance(params, Explored):
        return params, jnp.ones((), noise.dtype)
    # A compiled schedule may end at -6e-8.
    undecided = noise < params.epsilon

    def pick(x: Array, y: Array) -> Array:
        return jnp.where(undecided, x, y)

    return jax.tree.map(pick, actions.neutral(), params.params), params.temperature
