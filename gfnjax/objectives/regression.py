"""Regression functions g: what a residual costs. With D = log(model / target), on-policy.

The expected gradient of g(D) over trajectories of the current policy is the gradient of a
divergence between the policy P and the target Q (Hu et al., 2410.02596). The pairs are tested by
enumeration; a flipped sign silently turns one divergence into another.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.special import spence

from gfnjax import registry
from gfnjax.numbers import POSITIVE, Numbered, check_number
from gfnjax.types import Array

FINITE = (lambda x: math.isfinite(x)), "be finite"
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


@dataclass(frozen=True)
class Alpha(Numbered):
    """(exp(k D) - 1 - k D) / k^2, k = alpha - 1: the gradient of an alpha-divergence,

        D_alpha(P || Q) = (sum P^alpha Q^{1 - alpha} - 1) / (alpha (alpha - 1)).

    alpha = 0 is KL(Q || P), which covers all modes, 1/2 four times the squared Hellinger distance,
    1 KL(P || Q), which may miss some, and 2 half of chi^2(P || Q). All have g = D^2 / 2 near 0, and
    are continuous in alpha: at 0, 1/2 and 2 they are `forward_kl`, `hellinger` and `chi_square`, at
    1 half of `square`.

    Attributes:
        alpha: any number; it may be scheduled from covering modes to seeking them.

    Raises:
        ValueError: if `alpha` is not finite.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, *FINITE)

    def __call__(self, residual: Array) -> Array:
        x = (jnp.asarray(self.alpha, residual.dtype) - 1) * residual
        near = jnp.abs(x) < 0.5
        series = _polynomial(EXCESS, jnp.where(near, x, 0.0))
        far = jnp.where(near, 1.0, x)
        return residual**2 * jnp.where(near, series, _excess(far) / far**2)


# (e^x - 1 - x) / x^2 to the precision of doubles for |x| < 1/2.
EXCESS = tuple(1 / math.factorial(n) for n in range(16, 1, -1))


@registry.regression("jensen-shannon", summary="gradients of the Jensen-Shannon divergence")
@jax.custom_jvp
def jensen_shannon(residual: Array) -> Array:
    """2 (D log 2 - Li_2(-e^{-D}) - pi^2 / 12): four times the gradient of JSD(P, Q).

    JSD = (KL(P || M) + KL(Q || M)) / 2 with M = (P + Q) / 2, whose f'(u) is log(2u / (1 + u)) / 2.
    The gradient is at most 2 log 2 where the policy has too much, and grows like 2 |D| where it has
    too little.
    """
    size = jnp.abs(residual)
    # Li_2(-e^{-D}) + Li_2(-e^D) = -pi^2 / 6 - D^2 / 2.
    tail = spence(1 + jnp.exp(-size))
    low = -(jnp.pi**2) / 6 - size**2 / 2 - tail
    whole = residual * math.log(2) - jnp.where(residual < 0, low, tail) - jnp.pi**2 / 12
    near = jnp.where(size < 0.1, residual, 0.0)
    series = near**2 * _polynomial(DILOGARITHM, near)
    return jnp.where(size < 0.1, series, 2 * whole)


# 2 (log 2 - log(1 + e^{-t})) = t - 2 log cosh(t / 2), integrated, by t^2.
DILOGARITHM = 17 / 2903040, 0.0, -1 / 10080, 0.0, 1 / 480, 0.0, -1 / 12, 1 / 2


@jensen_shannon.defjvp
def _jensen_shannon_slope(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (residual,), (tangent,) = primals, tangents
    slope = 2 * (math.log(2) - jax.nn.softplus(-residual))
    return jensen_shannon(residual), slope * tangent


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """With the coefficient of the highest power first."""
    total = jnp.zeros_like(x)
    for each in coefficients:
        total = total * x + each
    return total


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
    "jensen-shannon": jensen_shannon,
}
