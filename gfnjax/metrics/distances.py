"""Distances between two distributions given as log-probabilities `[n]`. Nats; `[]` results.

Entries of probability zero may be any very negative number, `masking.FILL` included.
"""

import jax.numpy as jnp

from gfnjax.types import Array


def total_variation(log_p: Array, log_q: Array) -> Array:
    """1/2 sum |p - q|, in [0, 1]."""
    return l1(log_p, log_q) / 2


def l1(log_p: Array, log_q: Array) -> Array:
    """sum |p - q|, in [0, 2]."""
    return jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)).sum()


def kl(log_p: Array, log_q: Array) -> Array:
    """sum p (log p - log q); very large where q misses mass of p."""
    p = jnp.exp(log_p)
    return jnp.where(p > 0, p * (log_p - log_q), 0.0).sum()


def jsd(log_p: Array, log_q: Array) -> Array:
    """Jensen-Shannon divergence, the mean KL to the average (p + q) / 2; in [0, log 2]."""
    log_mean = jnp.logaddexp(log_p, log_q) - jnp.log(2.0).astype(log_p.dtype)
    return (kl(log_p, log_mean) + kl(log_q, log_mean)) / 2
