"""Behaviour policies: how sampling departs from the current policy. Never scored."""

from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp

from gfnjax import masking
from gfnjax.envs.base import Environment, Stoppable
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.types import Array


class Exploration(Protocol):
    """A hashable value: what to act by in one state, given the policy's logits there."""

    def __call__(
        self, env: Environment, logits: Array, mask: Array, values: Hyperparameters
    ) -> Array: ...


@dataclass(frozen=True)
class EpsilonTempered:
    """`epsilon_tempered` with the run's `epsilon` and `temperature`."""

    def __call__(
        self, env: Environment, logits: Array, mask: Array, values: Hyperparameters
    ) -> Array:
        return epsilon_tempered(logits, mask, values.epsilon, values.temperature)


@dataclass(frozen=True)
class StopFlattening:
    """Only the choice between stopping and going on is tempered, not where to go on to.

    With p the policy's probability of stopping, the odds p / (1 - p) are raised to the power
    1 / temperature; epsilon acts as always. For environments with a stop action.
    """

    def __call__(
        self, env: Stoppable, logits: Array, mask: Array, values: Hyperparameters
    ) -> Array:
        stop = jnp.arange(mask.size, dtype=jnp.int32) == env.stop_action
        go_on = masking.logsumexp(logits, mask & ~stop)
        log_odds = logits[env.stop_action] - go_on
        flattened = jnp.where(stop, go_on + log_odds / values.temperature, logits)
        # Where there is nothing but stopping, or no stopping at all, nothing is to be flattened.
        both = mask[env.stop_action] & (mask & ~stop).any()
        logits = jnp.where(both, flattened, logits)
        return epsilon_tempered(logits, mask, values.epsilon, jnp.ones_like(values.temperature))


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
