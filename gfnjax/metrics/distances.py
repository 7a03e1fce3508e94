"""Distances between two distributions given as log-probabilities `[n]`. Nats; `[]` results.

Both must sum to one. Entries of probability zero may be -inf or any very negative number,
`masking.FILL` included. Arguments of different lengths, or of other ranks, are a `ValueError`.
"""

import math

import jax.numpy as jnp

from gfnjax.shapes import check_alike
from gfnjax.types import Array


def total_variation(log_p: Array, log_q: Array) -> Array:
    """1/2 sum |p - q|, in [0, 1]."""
    return l1(log_p, log_q) / 2


def l1(log_p: Array, log_q: Array) -> Array:
    """sum |p - q|, in [0, 2]."""
    check_alike(1, log_p=log_p, log_q=log_q)
    return jnp.minimum(jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)).sum(), 2.0)


def kl(log_p: Array, log_q: Array) -> Array:
    """sum p (log p - log q), at least 0; infinite, or very large, where q misses mass of p.

    Added up as sum of p (log p - log q) - p + q, whose terms are not negative: what cancels in a
    sum of terms of both signs is as large as the divergence of similar distributions.
    """
    check_alike(1, log_p=log_p, log_q=log_q)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    gap = jnp.where(p > 0, log_p, 0.0) - jnp.where(p > 0, log_q, 0.0)
    near = jnp.abs(gap) < 1
    close = jnp.where(near, gap, 0.0)
    terms = jnp.where(near, p * (jnp.expm1(-close) + close), p * gap - p + q)
    return jnp.maximum(jnp.where(p > 0, terms, q), 0.0).sum()


def jsd(log_p: Array, log_q: Array) -> Array:
    """Jensen-Shannon divergence, the mean KL to the average (p + q) / 2; in [0, log 2]."""
    check_alike(1, log_p=log_p, log_q=log_q)
    log_mean = jnp.logaddexp(log_p, log_q) - jnp.log(2.0).astype(log_p.dtype)
    return jnp.minimum((kl(log_p, log_mean) + kl(log_q, log_mean)) / 2, math.log(2))
