"""Regression functions g: what a residual costs. With D = log(model / target), on-policy.

The expected gradient of g(D) over trajectories of the current policy is the gradient of a
divergence between the policy P and the target Q (Hu et al., 2410.02596). The pairs are tested by
enumeration; a flipped sign silently turns one divergence into another.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.numbers import POSITIVE, Numbered, check_number
from gfnjax.types import Array

# Beyond it exponentials go on as straight lines: squares of gradients stay in float32's range.
EXPONENT_LIMIT = 30.0


@registry.regression("square", summary="the residual squared")
def square(residual: Array) -> Array:
    """D^2: twice the gradient of KL(P || Q)."""
    return residual**2


@registry.regression("huber", summary="squared, then linear from delta on")
@dataclass(frozen=True)
class Huber(Numbered):
    """D^2 for |D| <= delta, then delta (2|D| - delta): the square with a bounded gradient.

    Attributes:
        delta: where the square ends, positive.

    Raises:
        ValueError: if `delta` is not positive.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_number("delta", self.delta, *POSITIVE)

    def __call__(self, residual: Array) -> Array:
        size, delta = jnp.abs(residual), jnp.asarray(self.delta, residual.dtype)
        return jnp.where(size <= delta, residual**2, delta * (2 * size - delta))


huber = Huber()


@registry.regression("forward-kl", summary="gradients of KL(target || policy)")
def forward_kl(residual: Array) -> Array:
    """exp(-D) + D - 1: the gradient of KL(Q || P)."""
    return _excess(-residual)


@registry.regression("hellinger", summary="gradients of the Hellinger distance")
def hellinger(residual: Array) -> Array:
    """4 exp(-D/2) + 2D - 4: four times the gradient of the squared Hellinger distance.

    With H^2 = 1 - sum sqrt(P Q), E_P[g'(D) grad log P] = -4 grad sum sqrt(P Q).
    """
    return 4 * _excess(-residual / 2)


@registry.regression("chi-square", summary="gradients of chi^2(policy || target)")
def chi_square(residual: Array) -> Array:
    """exp(D) - D - 1: half the gradient of chi^2(P || Q) = sum P^2 / Q - 1."""
    return _excess(residual)


def _excess(x: Array) -> Array:
    """exp(x) - 1 - x, continued by its tangent: a clipped one would lose the sign of g' far out."""
    inside = jnp.minimum(x, EXPONENT_LIMIT)
    slope = jnp.expm1(inside)
    return (slope - inside) + slope * (x - inside)


REGRESSIONS = {
    "square": square,
    "huber": huber,
    "forward-kl": forward_kl,
    "hellinger": hellinger,
    "chi-square": chi_square,
}
