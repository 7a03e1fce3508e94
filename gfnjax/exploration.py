"""Behaviour policies: how sampling departs from the current policy. Never scored."""

from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp

from gfnjax import masking
from gfnjax.actions import Mixture, actions_of
from gfnjax.envs.base import Environment, Stoppable
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.types import Array, PyTree


class Exploration(Protocol):
    """A hashable value: what to act by in one state, given what the policy says there."""

    def __call__(
        self, env: Environment, params: PyTree, support: PyTree, values: Hyperparameters
    ) -> PyTree: ...


@dataclass(frozen=True)
class EpsilonTempered:
    """What the kind of action makes of the run's `epsilon` and `temperature`."""

    def __call__(
        self, env: Environment, params: PyTree, support: PyTree, values: Hyperparameters
    ) -> PyTree:
        return actions_of(env).explore(params, support, values)


@dataclass(frozen=True)
class StopFlattening:
    """Only the choice between stopping and going on is tempered, not where to go on to.

    With p the policy's probability of stopping, the odds p / (1 - p) are raised to the power
    1 / temperature; epsilon acts as always. For environments with a stop action.
    """

    def __call__(
        self, env: Stoppable, logits: Array, mask: Array, values: Hyperparameters
    ) -> Mixture:
        stop = jnp.arange(mask.size, dtype=jnp.int32) == env.stop_action
        go_on = masking.logsumexp(logits, mask & ~stop)
        log_odds = logits[env.stop_action] - go_on
        flattened = jnp.where(stop, go_on + log_odds / values.temperature, logits)
        # Where there is nothing but stopping, or no stopping at all, nothing is to be flattened.
        both = mask[env.stop_action] & (mask & ~stop).any()
        logits = jnp.where(both, flattened, logits)
        return Mixture(logits, values.epsilon)
