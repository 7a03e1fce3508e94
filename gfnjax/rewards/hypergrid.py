"""Rewards on the hypergrid. A reward is any callable pytree `(position, side) -> log R` (nats).

`position` is `[num_dims]` int32 with entries in {0..H-1}, H = `side`. With a = |x/(H-1) - 1/2|,
inequalities such as a > 3/10 are decided in integers: floats disagree on grid lines.
"""

import jax.numpy as jnp
from flax import struct

from gfnjax.errors import ArgumentError
from gfnjax.shapes import check_shape
from gfnjax.types import Array

VARIANTS = {"standard": (0.1, 0.5, 2.0), "easy": (1e-3, 0.5, 2.0), "hard": (1e-4, 1.0, 3.0)}


def _offset_exceeds(position: Array, side: int, numerator: int, denominator: int) -> Array:
    """a > numerator / denominator, strict and exact: a = |2x - (H-1)| / (2 (H-1))."""
    return denominator * jnp.abs(2 * position - (side - 1)) > 2 * numerator * (side - 1)


def _in_ring(position: Array, side: int) -> Array:
    """3/10 < a < 2/5 in every dimension."""
    outside = 10 * jnp.abs(2 * position - (side - 1)) < 8 * (side - 1)
    return (_offset_exceeds(position, side, 3, 10) & outside).all()


@struct.dataclass
class Corners:
    """R = r0 + r1 prod 1[a > 1/4] + r2 prod 1[3/10 < a < 2/5] (Bengio et al., 2106.04399)."""

    r0: float = 0.1
    r1: float = 0.5
    r2: float = 2.0

    def __call__(self, position: Array, side: int) -> Array:
        check_shape("position", position, (None,), "[num_dims]")
        corner = _offset_exceeds(position, side, 1, 4).all()
        ring = _in_ring(position, side)
        return jnp.log(self.r0 + jnp.where(corner, self.r1, 0.0) + jnp.where(ring, self.r2, 0.0))


@struct.dataclass
class Cosine:
    """R = r0 + r1 prod (cos(50 a) + 1) phi(5 a), phi the standard normal density."""

    r0: float = 0.1
    r1: float = 0.5

    def __call__(self, position: Array, side: int) -> Array:
        check_shape("position", position, (None,), "[num_dims]")
        a = jnp.abs(position.astype(jnp.result_type(float)) / (side - 1) - 0.5)
        density = jnp.exp(-0.5 * (5 * a) ** 2) / jnp.sqrt(2 * jnp.pi)
        return jnp.log(self.r0 + self.r1 * jnp.prod((jnp.cos(50 * a) + 1) * density))


@struct.dataclass
class Deceptive:
    """R = r0 + r1 - r1 prod 1[a > 1/10] + r2 prod 1[3/10 < a < 2/5]: poor ground hides modes."""

    r0: float = 1e-5
    r1: float = 0.1
    r2: float = 2.0

    def __call__(self, position: Array, side: int) -> Array:
        check_shape("position", position, (None,), "[num_dims]")
        moat = _offset_exceeds(position, side, 1, 10).all()
        ring = _in_ring(position, side)
        return jnp.log(self.r0 + jnp.where(moat, 0.0, self.r1) + jnp.where(ring, self.r2, 0.0))


@struct.dataclass
class Sparse:
    """R = 1 where every coordinate is 1 or H-2, plus `floor` everywhere."""

    floor: float = 1e-12

    def __call__(self, position: Array, side: int) -> Array:
        check_shape("position", position, (None,), "[num_dims]")
        hit = ((position == 1) | (position == side - 2)).all()
        return jnp.log(self.floor + jnp.where(hit, 1.0, 0.0))


def corners(variant: str = "standard") -> Corners:
    """`Corners` with the parameters of "standard", "easy" or "hard"."""
    if variant not in VARIANTS:
        raise ArgumentError("variant", f"must be one of {', '.join(VARIANTS)}, got {variant!r}")
    return Corners(*VARIANTS[variant])
