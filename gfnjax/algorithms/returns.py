"""What reward maximisation is paid: log R or R, once, at the end of a trajectory."""

from typing import Literal

import jax.numpy as jnp

from gfnjax.errors import ArgumentError
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Array, Scores

Return = Literal["log_reward", "reward"]


def check_return(name: object) -> None:
    """Raise a `ValueError` for another name."""
    if name not in ("log_reward", "reward"):
        raise ArgumentError("returns", f'must be "log_reward" or "reward", got {name!r}')


def with_return(scores: Scores, returns: Return) -> Scores:
    """Scores of one trajectory whose `log_flow` `[T + 1]` are values: the return at the end.

    The policy's flow head is the value function. Without discounting, and with nothing to gain on
    the way, V(s_t) = E[return], and V(s_T) is the return itself.
    """
    check_one(scores)
    if returns == "log_reward":
        return scores
    value = jnp.where(terminal_step(scores), jnp.exp(scores.log_reward), scores.log_flow)
    return scores._replace(log_flow=value)


def entropy(log_policy: Array) -> Array:
    """-sum_a pi log pi, nats, over the last axis; forbidden actions add nothing."""
    probability = jnp.exp(log_policy)
    return -(probability * jnp.where(probability > 0, log_policy, 0.0)).sum(axis=-1)
