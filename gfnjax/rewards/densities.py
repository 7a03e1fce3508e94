"""Targets over R^d whose log Z is known, and exact samples of them.

A target is any callable pytree from `x` `[d]` to log R(x) in nats. Those here also say `dim`, what
log Z is, where the modes are, and how to draw from R / Z: what samplers of densities are judged by
(Sendera et al., 2402.05098; Midgley et al., 2208.01893).
"""

from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError
from gfnjax.numbers import POSITIVE, check_number
from gfnjax.pytree import pytree, static
from gfnjax.shapes import check_shape
from gfnjax.types import Array

# The double well is below e^-500 of its top outside of this.
WELL_RANGE = 6.0
WELL_POINTS = 120_001
# Its tops are near -+sqrt(3), where the second derivative of log R is -24.
WELL_PLACE, WELL_WIDTH = 3**0.5, 24**-0.5
# Of the share of the samples that is its own: with less a mode counts as missed.
LEAST_SHARE = 0.1


@runtime_checkable
class KnownDensity(Protocol):
    """A target whose truth is known."""

    @property
    def dim(self) -> int:
        """d."""
        ...

    @property
    def log_z(self) -> float:
        """log of the integral of R, nats."""
        ...

    def sample(self, key: Array, num_samples: int) -> Array:
        """`[num_samples, d]` exact draws from R / Z."""
        ...


@runtime_checkable
class Modal(Protocol):
    """A target that knows which of its modes a point belongs to."""

    @property
    def shares(self) -> np.ndarray:
        """`[num_modes]` how much of the mass is in each."""
        ...

    def in_modes(self, x: Array) -> Array:
        """`[num_modes]` bool, in which of the modes `x` `[d]` is; in none of them far from all."""
        ...


@pytree
class GaussianMixture:
    """log R = log mean_k N(x; mean_k, std^2 I): normalised, so log Z = 0.

    Attributes:
        means: `[k, d]`.
        std: `[]` of each component in each coordinate.

    Raises:
        ValueError: for means that are no matrix, or a `std` that is not positive.
    """

    means: Any
    std: Any = 1.0

    def __post_init__(self) -> None:
        means = np.asarray(self.means, dtype=float)
        if means.ndim != 2 or 0 in means.shape:
            raise ArgumentError("means", f"must be [k, d], got shape {means.shape}")
        check_number("std", self.std, *POSITIVE)
        check_shape("std", self.std, (), "[]")
        object.__setattr__(self, "means", means)

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    @property
    def log_z(self) -> float:
        return 0.0

    @property
    def shares(self) -> np.ndarray:
        """All alike."""
        return np.full(len(self.means), 1 / len(self.means))

    def __call__(self, x: Array) -> Array:
        away = self._away(x)
        log_scale = jnp.log(2 * jnp.pi) / 2 + jnp.log(self.std)
        components = -away.sum(axis=1) / 2 - self.dim * log_scale
        return jax.nn.logsumexp(components) - np.log(len(self.means))

    def sample(self, key: Array, num_samples: int) -> Array:
        component_key, noise_key = jax.random.split(key)
        component = jax.random.randint(component_key, (num_samples,), 0, len(self.means))
        noise = jax.random.normal(noise_key, (num_samples, self.dim))
        return jnp.asarray(self.means, noise.dtype)[component] + self.std * noise

    def in_modes(self, x: Array) -> Array:
        """Within three standard deviations a coordinate, in the mean, of a component's mean."""
        return self._away(x).mean(axis=1) < 9.0

    def _away(self, x: Array) -> Array:
        """`[k, d]` squared distances from the means, in standard deviations."""
        x = _point(x, self.dim)
        return ((x[None] - jnp.asarray(self.means, x.dtype)) / jnp.asarray(self.std, x.dtype)) ** 2


def gaussian(dim: int, mean: float = 0.0, variance: float = 1.0) -> GaussianMixture:
    """N(mean, variance I): what a Brownian sampler can reach exactly, see `Diffusion`."""
    check_number("variance", variance, *POSITIVE)
    return GaussianMixture(np.full((1, whole("dim", dim, least=1)), float(mean)), variance**0.5)


def grid_mixture() -> GaussianMixture:
    """25 Gaussians of variance .3 on the grid {-10, -5, 0, 5, 10}^2 (2402.05098)."""
    axis = np.arange(-10.0, 11.0, 5.0)
    return GaussianMixture(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), 0.3**0.5)


def wide_mixture(num_modes: int = 40, width: float = 40.0, seed: int = 0) -> GaussianMixture:
    """Gaussians at places drawn uniformly from [-width, width]^2, as in 2208.01893.

    Their standard deviation is softplus(1) = 1.3133. The places there come from another generator
    of random numbers: the task is of the same kind, not the same.
    """
    check_number("width", width, *POSITIVE)
    rng = np.random.default_rng(seed)
    means = rng.uniform(-width, width, (whole("num_modes", num_modes, least=1), 2))
    return GaussianMixture(means, float(np.log1p(np.e)))


@pytree
class Funnel:
    """x_0 ~ N(0, std^2) and the others N(0, e^{x_0}) given it (Neal, 2003): log Z = 0.

    Attributes:
        dim: d, at least 2.
        std: of x_0: 3, or 1 for the easier one that most tables are about.
    """

    dim: int = static(default=10)
    std: Any = 3.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole("dim", self.dim, least=2))
        check_number("std", self.std, *POSITIVE)

    @property
    def log_z(self) -> float:
        return 0.0

    def __call__(self, x: Array) -> Array:
        x = _point(x, self.dim)
        first = -((x[0] / self.std) ** 2) / 2 - jnp.log(self.std)
        others = -(x[1:] ** 2).sum() * jnp.exp(-x[0]) / 2 - (self.dim - 1) * x[0] / 2
        return first + others - self.dim * np.log(2 * np.pi) / 2

    def sample(self, key: Array, num_samples: int) -> Array:
        noise = jax.random.normal(key, (num_samples, self.dim))
        first = self.std * noise[:, :1]
        return jnp.concatenate([first, jnp.exp(first / 2) * noise[:, 1:]], axis=1)


@pytree
class ManyWell:
    """log R = sum over pairs of -x_1^4 + 6 x_1^2 + x_1 / 2 - x_2^2 / 2 (2208.01893).

    Each pair (x_1, x_2) has two wells, near x_1 = -1.7 and 1.7, of which the right one has .844307
    of the mass; d / 2 pairs make 2^{d/2} modes. log Z = d/2 times 10.293480. Who finds the heavier
    well of each pair alone, and covers it perfectly, is off by d/2 times .169235: 2.7078 for d =
    32, which looks like a good sampler.

    Attributes:
        dim: d, even.
    """

    dim: int = static(default=32)

    def __post_init__(self) -> None:
        dim = whole("dim", self.dim, least=2)
        if dim % 2:
            raise ArgumentError("dim", f"must be even, got {dim}", subject="ManyWell: {dim}")
        object.__setattr__(self, "dim", dim)

    @property
    def num_pairs(self) -> int:
        return self.dim // 2

    @property
    def log_z(self) -> float:
        return self.num_pairs * (_double_well().log_mass + np.log(2 * np.pi) / 2)

    @property
    def shares(self) -> np.ndarray:
        """`[d]` of left wells, then right ones: their combinations are too many to count."""
        left = _double_well().left_share
        return np.repeat([left, 1 - left], self.num_pairs)

    def __call__(self, x: Array) -> Array:
        x = _point(x, self.dim)
        first, second = x[::2], x[1::2]
        return _log_well(first).sum() - (second**2).sum() / 2

    def sample(self, key: Array, num_samples: int) -> Array:
        first_key, second_key = jax.random.split(key)
        well = _double_well()
        shape = num_samples, self.num_pairs
        uniform = jax.random.uniform(first_key, shape)
        table = (jnp.asarray(x, uniform.dtype) for x in (well.cumulative, well.grid))
        first = jnp.interp(uniform, *table)
        second = jax.random.normal(second_key, shape)
        return jnp.stack([first, second], axis=2).reshape(num_samples, self.dim)

    def in_modes(self, x: Array) -> Array:
        """Left wells of all pairs, then right ones, of a point near a well in most pairs.

        Three widths of a well, in the mean of all pairs: N(0, I) has no such points.
        """
        first = _point(x, self.dim)[::2]
        near = (((jnp.abs(first) - WELL_PLACE) / WELL_WIDTH) ** 2).mean() < 9.0
        return near & jnp.concatenate([first < 0, first >= 0])


def _point(x: Array, dim: int) -> Array:
    """`x` `[d]` as real numbers: cast to integers, the parameters of a target would be others."""
    check_shape("x", x, (dim,), "[d]")
    return jnp.asarray(x, jnp.result_type(float))


class _Well:
    """exp(-x^4 + 6 x^2 + x / 2): `log_mass`, `left_share`, and a table, `grid`, `cumulative`."""

    def __init__(self) -> None:
        self.grid = np.linspace(-WELL_RANGE, WELL_RANGE, WELL_POINTS)
        density = np.exp(_log_well(self.grid))
        pieces = (density[1:] + density[:-1]) / 2 * np.diff(self.grid)
        self.cumulative = np.append(0.0, np.cumsum(pieces)) / pieces.sum()
        self.log_mass = float(np.log(pieces.sum()))
        self.left_share = float(np.interp(0.0, self.grid, self.cumulative))


@lru_cache(maxsize=1)
def _double_well() -> _Well:
    return _Well()


def _log_well(x: Any) -> Any:
    return -(x**4) + 6 * x**2 + x / 2


def modes_found(reward: Modal, x: Array) -> Array:
    """`[]` int32, how many modes have at least a tenth of the samples that are theirs.

    Args:
        reward: knows the modes.
        x: `[n, d]` samples.
    """
    check_shape("x", x, (None, None), "[n, d]")
    found = jax.vmap(reward.in_modes)(x).astype(jnp.result_type(float)).mean(axis=0)
    return (found >= LEAST_SHARE * jnp.asarray(reward.shares, found.dtype)).sum(dtype=jnp.int32)
