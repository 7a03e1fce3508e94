"""Mixtures of von Mises densities on the circle.

    p(x) = sum_k w_k exp(z_k . (cos x, sin x)) / (2 pi I_0(|z_k|)),   x in [-pi, pi]

with natural parameters z = kappa (cos mu, sin mu): at z = 0 the density is uniform.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import i0e

from gfnjax.distributions.proposals import component_of, first_accepted
from gfnjax.shapes import check_shape
from gfnjax.types import Array

MOST = 500.0  # concentration
# Rows of the parameters: logits of the weights, and the two natural parameters.
NUM_ROWS = 3
# Keeps the gradient of a length finite at 0; far below what changes a density.
TINY = 1e-10
# Each is accepted with a probability of at least .66: all are refused once in 10^8.
PROPOSALS = 17
# Uniform numbers that one draw takes: which component, proposals, and whether each is accepted.
NUM_NOISE = 1 + 2 * PROPOSALS


def wrap(angle: Array) -> Array:
    """The same angles in [-pi, pi], any shape."""
    return angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi))


def log_density(params: Array, x: Array) -> Array:
    """`[]` log p(x) in nats, for `params` `[3, k]` and any x, which is taken modulo 2 pi."""
    z, kappa = _natural(params)
    cosine = z[0] * jnp.cos(x) + z[1] * jnp.sin(x)
    each = cosine - kappa - jnp.log(2 * jnp.pi * i0e(kappa))
    return jax.nn.logsumexp(jax.nn.log_softmax(params[0]) + each)


def sample(params: Array, temperature: Array, noise: Array) -> Array:
    """`[]` x from `params` `[3, k]`, with weights and each component raised to 1 / temperature.

    By rejection from a wrapped Cauchy density (Best and Fisher, 1979), from uniform numbers in
    [0, 1), `noise` `[NUM_NOISE]`. Without gradient.
    """
    check_shape("noise", noise, (NUM_NOISE,), "[NUM_NOISE]")
    component = component_of(params[0] / temperature, noise[0])
    place, accept = noise[1:].reshape(2, -1)
    z, kappa = (x[..., component] for x in _natural(params))
    kappa = jnp.minimum(kappa / temperature, MOST)
    # 1 - rho, and r - 1 below, are small for large kappa: no differences of large numbers.
    tau = 1 + jnp.sqrt(1 + 4 * kappa**2)
    rho = 2 * kappa / (tau + jnp.sqrt(2 * tau))
    x = 2 * jnp.arctan((1 - rho) / (1 + rho) * jnp.tan(jnp.pi * (place - 0.5)))
    c = kappa * ((1 - rho) ** 2 / (2 * rho) + 2 * jnp.sin(x / 2) ** 2)
    found = first_accepted(x, accept < c * jnp.exp(1 - c))
    return wrap(found + jnp.arctan2(z[1], z[0]))


def _natural(params: Array) -> tuple[Array, Array]:
    """z `[2, k]` and kappa `[k]`, kept below MOST."""
    length = jnp.sqrt((params[1:] ** 2).sum(axis=0) + TINY)
    shrink = 1 / (1 + length / MOST)
    return params[1:] * shrink[None], length * shrink
