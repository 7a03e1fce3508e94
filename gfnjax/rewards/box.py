"""Densities on the unit box and on the torus. A reward is any callable pytree `x [d] -> log R`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import whole
from gfnjax.numbers import NON_NEGATIVE, POSITIVE, check_number
from gfnjax.pytree import pytree, static
from gfnjax.shapes import check_shape
from gfnjax.types import Array


@pytree
class BoxCorners:
    """R = r0 + r1 prod 1[a > 1/4] + r2 prod 1[3/10 < a < 2/5], a = |x - 1/2| (2301.12594).

    The hypergrid's reward as a density on [0, 1]^d; Z = r0 + r1 / 2^d + r2 / 5^d.

    Args:
        dim: d.
        r0: of the whole box, positive.
        r1: of the corners.
        r2: of the frames in them.

    Raises:
        ValueError: for numbers out of range.
    """

    dim: int = static(default=2)
    r0: Any = 0.1
    r1: Any = 0.5
    r2: Any = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole("dim", self.dim, least=1))
        check_number("r0", self.r0, *POSITIVE)
        for name in ("r1", "r2"):
            check_number(name, getattr(self, name), *NON_NEGATIVE)

    def __call__(self, x: Array) -> Array:
        check_shape("x", x, (self.dim,), "[d]")
        away = jnp.abs(x - 0.5)
        corner, frame = (away > 0.25).all(), ((away > 0.3) & (away < 0.4)).all()
        return jnp.log(self.r0 + jnp.where(corner, self.r1, 0.0) + jnp.where(frame, self.r2, 0.0))

    @property
    def log_z(self) -> float:
        return float(np.log(self.r0 + self.r1 * 0.5**self.dim + self.r2 * 0.2**self.dim))

    def sample(self, key: Array, num_samples: int) -> Array:
        """`[num_samples, d]` exact draws from R / Z: a mixture of uniform densities."""
        which_key, side_key, place_key = jax.random.split(key, 3)
        parts = self.r0, self.r1 * 0.5**self.dim, self.r2 * 0.2**self.dim
        weights = jnp.stack([jnp.asarray(x, jnp.result_type(float)) for x in parts])
        which = jax.random.categorical(which_key, jnp.log(weights), shape=(num_samples, 1))
        shape = num_samples, self.dim
        side = jax.random.bernoulli(side_key, shape=shape)
        u = jax.random.uniform(place_key, shape)
        away = jnp.where(which == 1, 0.25 + 0.25 * u, 0.3 + 0.1 * u)
        both = 0.5 + jnp.where(side, away, -away)
        return jnp.where(which == 0, u, both)


@pytree
class TorusCosine:
    """log R = kappa sum_i cos(x_i - mu_i), angles x `[d]`; Z = (2 pi I_0(kappa))^d.

    Args:
        center: mu `[d]`.
        kappa: positive.

    Raises:
        ValueError: for numbers out of range.
    """

    center: Any
    kappa: Any = 2.0

    def __post_init__(self) -> None:
        check_shape("center", self.center, (None,), "[d]")
        check_number("kappa", self.kappa, *POSITIVE)

    @property
    def dim(self) -> int:
        return np.shape(self.center)[0]

    def __call__(self, x: Array) -> Array:
        x = jnp.asarray(x, jnp.result_type(float))
        center = jnp.asarray(self.center, x.dtype)
        check_shape("x", x, center.shape, "[d]")
        return self.kappa * jnp.cos(x - center).sum()

    @property
    def log_z(self) -> float:
        return float(self.dim * np.log(2 * np.pi * np.i0(float(self.kappa))))
