"""From the settings of a run to its numbers, some of which depend on the step."""

from typing import Any

import jax.numpy as jnp
from jax.tree_util import Partial

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.run.settings import Training
from gfnjax.types import Array


def hyperparameters_of(settings: Training) -> Hyperparameters:
    """The numbers of a run, schedules for those that change on the way."""
    learning_rate, epsilon = settings.learning_rate, settings.epsilon
    exploration_std: Any = settings.exploration_std
    if settings.final_learning_rate is not None:
        end = settings.final_learning_rate
        learning_rate = Partial(_cosine_decay, learning_rate, end, settings.planned_steps)
    if settings.epsilon_decay is not None:
        end = settings.final_epsilon if epsilon > 0 else 0.0
        epsilon = Partial(_linear_decay, epsilon, end, settings.epsilon_decay)
    if settings.exploration_decay is not None and exploration_std > 0:
        exploration_std = Partial(_linear_decay, exploration_std, 0.0, settings.exploration_decay)
    return Hyperparameters(
        learning_rate,
        settings.log_z_learning_rate,
        epsilon,
        settings.temperature,
        settings.backward_learning_rate,
        exploration_std,
    )


# Schedules as functions of their numbers, which are then leaves: runs that differ in these alone
# share compiled code, which the closures of optax cannot.


def _linear_decay(start: Array, end: Array, num_steps: Array, step: Array) -> Array:
    """From `start` to `end` in a straight line, and then constant."""
    return end + (start - end) * (1 - _share_of(step, num_steps))


def _cosine_decay(start: Array, end: Array, num_steps: Array, step: Array) -> Array:
    """From `start` to `end` along half a wave, and then constant."""
    return end + (start - end) * 0.5 * (1 + jnp.cos(jnp.pi * _share_of(step, num_steps)))


def _share_of(step: Array, num_steps: Array) -> Array:
    return jnp.minimum(step, num_steps) / num_steps
