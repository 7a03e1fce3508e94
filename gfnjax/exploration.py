"""Behaviour policies: how sampling departs from the current policy. Never scored."""

import jax.numpy as jnp

from gfnjax import masking
from gfnjax.types import Array


def epsilon_tempered(logits: Array, mask: Array, epsilon: Array, temperature: Array) -> Array:
    """(1 - epsilon) softmax(logits / temperature) + epsilon uniform(valid), decided per step.

    Args:
        logits: `[num_actions]` of the current policy.
        mask: `[num_actions]` True where allowed.
        epsilon: probability of a uniform action, in [0, 1].
        temperature: above 1 flattens the policy, below 1 sharpens it.

    Returns:
        `[num_actions]` log-probabilities of the behaviour policy.
    """
    # A compiled schedule may end at -6e-8, whose logarithm is NaN.
    epsilon = jnp.clip(epsilon, 0.0, 1.0)
    log_policy = masking.log_softmax(logits / temperature, mask)
    log_uniform = masking.log_softmax(jnp.zeros_like(logits), mask)
    return jnp.logaddexp(jnp.log1p(-epsilon) + log_policy, jnp.log(epsilon) + log_uniform)
