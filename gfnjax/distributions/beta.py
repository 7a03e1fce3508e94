"""Mixtures of Beta densities on the unit interval.

    p(u) = sum_k w_k u^(a_k - 1) (1 - u)^(b_k - 1) / B(a_k, b_k)

but for the two ends, [0, EDGE] and [1 - EDGE, 1]: there each component is levelled to its mean.
Single precision has few numbers near 1, and with a concentration below 1 much may lie there: 13%
of Beta(.1, .1) below EDGE. So levelled, what is drawn has exactly this density.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln

from gfnjax.distributions.proposals import component_of, first_accepted
from gfnjax.shapes import check_shape
from gfnjax.types import Array

EDGE = 1e-6
LEAST, MOST = 0.1, 100.0  # concentrations
# Rows of the parameters: logits of the weights, and what the two concentrations come from.
NUM_ROWS = 3
# A zero stands for the concentration 1.
_SHIFT = math.log(math.log(1 / LEAST) / math.log(MOST))
# Half the distance of uniform numbers in single precision.
HALF = 2.0**-25
# Each is accepted with a probability above .95: all are refused once in 10^8.
PROPOSALS = 6
# Uniform numbers that one draw takes: which component, where in an end, and for two Gamma variables
# a power, proposals, and whether these are accepted.
NUM_NOISE = 2 + 2 * (1 + 2 * PROPOSALS)


def concentration(raw: Array) -> Array:
    """LEAST (MOST / LEAST)^sigmoid(raw + c), any shape; 1, the uniform density, at 0."""
    return LEAST * (MOST / LEAST) ** jax.nn.sigmoid(raw + _SHIFT)


def log_density(params: Array, u: Array) -> Array:
    """`[]` log p(u) in nats, for `params` `[3, k]`; of the nearer end for u outside."""
    u = jnp.asarray(u, params.dtype)
    inner = jnp.clip(u, EDGE, 1 - EDGE)
    a, b = concentration(params[1]), concentration(params[2])
    log_norm = betaln(a, b)
    each = (a - 1) * jnp.log(inner) + (b - 1) * jnp.log1p(-inner) - log_norm
    each = jnp.where(u < EDGE, _log_level(a, b, log_norm), each)
    each = jnp.where(u > 1 - EDGE, _log_level(b, a, log_norm), each)
    return jax.nn.logsumexp(jax.nn.log_softmax(params[0]) + each)


def sample(params: Array, temperature: Array, noise: Array) -> Array:
    """`[]` u from `params` `[3, k]`, with weights and each component raised to 1 / temperature.

    As g_a / (g_a + g_b) for g_a ~ Gamma(a) and g_b ~ Gamma(b), from uniform numbers in [0, 1),
    `noise` `[NUM_NOISE]`. Without gradient.
    """
    check_shape("noise", noise, (NUM_NOISE,), "[NUM_NOISE]")
    component = component_of(params[0] / temperature, noise[0])
    # The power of a Beta density is another one.
    raised = 1 + (concentration(params[1:, component]) - 1) / temperature
    raised = jnp.clip(raised, LEAST, MOST)
    log_gamma = jax.vmap(_log_gamma)(raised, noise[2:].reshape(2, -1))
    logit, at_edge = log_gamma[0] - log_gamma[1], math.log(1 / EDGE - 1)
    u = jnp.clip(jax.nn.sigmoid(logit), EDGE, 1 - EDGE)
    u = jnp.where(logit > at_edge, 1 - EDGE * noise[1], u)
    return jnp.where(logit < -at_edge, EDGE * noise[1], u)


def _log_gamma(a: Array, noise: Array) -> Array:
    """`[]` log of a Gamma(a) variable: one of a + 1 (Marsaglia and Tsang, 2000) times U^(1 / a)."""
    noise = noise + HALF  # none is 0
    power, proposed, accept = noise[0], noise[1 : 1 + PROPOSALS], noise[1 + PROPOSALS :]
    normal, d = jax.scipy.special.ndtri(proposed), a + 2 / 3
    v = 1 + normal / jnp.sqrt(9 * d)
    log_v = 3 * jnp.log(jnp.where(v > 0, v, 1.0))
    log_ratio = normal**2 / 2 + d * (1 - v**3 + log_v)
    log_gamma = jnp.log(d) + first_accepted(log_v, (v > 0) & (jnp.log(accept) < log_ratio))
    return log_gamma + jnp.log(power) / a


def _log_level(a: Array, b: Array, log_norm: Array) -> Array:
    """log of P(U < EDGE) / EDGE for U ~ Beta(a, b): two terms of its series, EDGE^2 left out."""
    log_tail = a * math.log(EDGE) - jnp.log(a) - log_norm
    return log_tail + jnp.log1p(-EDGE * a * (b - 1) / (a + 1)) - math.log(EDGE)
