"""Distributions of conditions: what is drawn once a trajectory, and how a network sees it."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import is_known, settle
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree, static, unchecked
from gfnjax.types import Array

# Each choice is evaluated on its own; the first ones stand for many.
MOST_CHOICES = 5


class Conditions(Protocol):
    """A frozen pytree: a distribution over vectors of k numbers."""

    def draw(self, key: Array) -> Array:
        """`[k]` a condition at random."""
        ...

    def centre(self) -> Array:
        """`[k]` a typical condition."""
        ...

    def spread(self) -> Array:
        """`[n, k]` a few conditions all over the distribution to evaluate at, `centre` first."""
        ...

    def encode(self, condition: Array) -> Array:
        """`[m]` what a network sees of a condition `[k]`, of the order of 1."""
        ...


@pytree
class Uniform(Comparable):
    """One number c, uniform on [low, high], seen as 2 (c - low) / (high - low) - 1.

    Raises:
        ValueError: unless low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def draw(self, key: Array) -> Array:
        return self._at(jax.random.uniform(key, (1,), jnp.result_type(float)))

    def centre(self) -> Array:
        return self.spread()[0]

    def spread(self) -> Array:
        return self._at(jnp.array([[0.5], [0.05], [0.95]], jnp.result_type(float)))

    def encode(self, condition: Array) -> Array:
        return 2 * (condition - self.low) / (self.high - self.low) - 1

    def _at(self, share: Array) -> Array:
        return self.low + (self.high - self.low) * share


@pytree
class LogUniform(Comparable):
    """One positive number c, its logarithm uniform on [log low, log high] and seen from -1 to 1.

    Raises:
        ValueError: unless 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)
        if is_known(self.low) and not self.low > 0:
            raise ArgumentError("low", f"must be positive, got {self.low}")

    def draw(self, key: Array) -> Array:
        return jnp.exp(self._logs().draw(key))

    def centre(self) -> Array:
        return jnp.exp(self._logs().centre())

    def spread(self) -> Array:
        return jnp.exp(self._logs().spread())

    def encode(self, condition: Array) -> Array:
        return self._logs().encode(jnp.log(condition))

    def _logs(self) -> Uniform:
        low, high = (jnp.log(jnp.asarray(x, jnp.result_type(float))) for x in (self.low, self.high))
        return unchecked(Uniform, low=low, high=high)


@pytree
class Dirichlet(Comparable):
    """k preferences w_i >= 0 that sum to 1, with density prod w_i^(concentration - 1).

    A network sees them from -1 to 1 for two, as w k - 1 in general.

    Args:
        num_weights: k, at least 2.
        concentration: 1 is uniform on the simplex; less favours its corners.

    Raises:
        ValueError: for an argument out of range.
    """

    num_weights: int = static(default=2)
    concentration: float = 1.0

    def __post_init__(self) -> None:
        settle(self, num_weights=2)
        if is_known(self.concentration) and not self.concentration > 0:
            raise ArgumentError("concentration", f"must be positive, got {self.concentration}")

    def draw(self, key: Array) -> Array:
        dtype = jnp.result_type(float)
        alpha = jnp.full(self.num_weights, self.concentration, dtype)
        return jax.random.dirichlet(key, alpha, dtype=dtype)

    def centre(self) -> Array:
        return jnp.full(self.num_weights, 1 / self.num_weights, jnp.result_type(float))

    def spread(self) -> Array:
        corners = 0.1 * self.centre()[None] + 0.9 * jnp.eye(
            self.num_weights, dtype=jnp.result_type(float)
        )
        return jnp.concatenate([self.centre()[None], corners])

    def encode(self, condition: Array) -> Array:
        return self.num_weights * condition - 1


@pytree
class Choice(Comparable):
    """One of the rows of `values` `[n, k]`, each as likely as the others, seen as it is.

    Build one with `choice`.
    """

    values: Array

    def draw(self, key: Array) -> Array:
        return self.values[jax.random.randint(key, (), 0, self.values.shape[0])]

    def centre(self) -> Array:
        return self.values[0]

    def spread(self) -> Array:
        return self.values[:MOST_CHOICES]

    def encode(self, condition: Array) -> Array:
        return condition


def choice(values: object) -> Choice:
    """`Choice` of numbers `[n]` or of vectors `[n, k]`.

    Raises:
        ValueError: for another shape, or numbers that are not finite.
    """
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise ArgumentError("values", f"must be n finite numbers or vectors, got {values!r}")
    return Choice(jnp.asarray(table, jnp.result_type(float)))


def _check_range(low: Any, high: Any) -> None:
    if is_known(low, high) and not low < high:
        raise ArgumentError("low", f"must be less than high, got {low} and {high}")
