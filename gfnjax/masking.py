"""Masked categorical distributions: NaN-safe, and the only place that knows the fill value.

Masks are True where valid. A row without any valid entry gives finite values and zero gradients. A
mask whose last axis differs in size is a `ValueError`.
"""

import jax
import jax.numpy as jnp

from gfnjax.shapes import check_last_axis, check_shape
from gfnjax.types import Array

# Low enough that no logit reaches it, that its exponential vanishes beside any
# valid entry and that adding a number to it changes nothing; finite, so that no row gives NaN.
FILL = -1e30


def log_softmax(logits: Array, mask: Array) -> Array:
    """Log-probabilities over the valid entries, `FILL` elsewhere. Both `[..., n]`; nats."""
    check_last_axis(logits=logits, mask=mask)
    filled = jnp.where(mask, logits, FILL)
    shifted = filled - jax.lax.stop_gradient(filled.max(axis=-1, keepdims=True))
    log_total = jnp.log(jnp.exp(shifted).sum(axis=-1, keepdims=True))
    return jnp.where(mask, shifted - log_total, FILL)


def logsumexp(values: Array, mask: Array) -> Array:
    """log sum exp over the valid entries of the last axis, `FILL` where there are none.

    -inf, with a gradient of zero, where all of them are -inf.
    """
    check_last_axis(values=values, mask=mask)
    filled = jnp.where(mask, values, FILL)
    peak = jax.lax.stop_gradient(filled.max(axis=-1))
    peak = jnp.where(jnp.isfinite(peak), peak, 0.0)
    total = jnp.where(mask, jnp.exp(filled - peak[..., None]), 0.0).sum(axis=-1)
    empty = jnp.where(mask.any(axis=-1), -jnp.inf, FILL).astype(total.dtype)
    return jnp.where(total > 0, peak + jnp.log(jnp.where(total > 0, total, 1.0)), empty)


def select(values: Array, index: Array) -> Array:
    """`values[..., index[...]]` along the last axis."""
    check_shape("index", index, values.shape[:-1], "[...]")
    return jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]
