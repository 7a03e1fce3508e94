"""Where log Z and the flows start: at what the untrained policy says of them, not at zero.

Log Z of 45 learned from 0 first destroys the policy: all residuals agree that everything is too
unlikely. For any policy the mean of log R + sum log P_B - sum log P_F over its trajectories is
log Z minus a Kullback-Leibler divergence, so a batch of the untrained policy gives a near start.
"""

import math
from numbers import Real
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gfnjax import masking, spread
from gfnjax.envs.base import Environment, RandomSource, log_partial_reward_of
from gfnjax.errors import ArgumentError
from gfnjax.learning.scores import path_scores
from gfnjax.model import Model
from gfnjax.objectives.base import Objective
from gfnjax.state import Params
from gfnjax.types import Array, Trajectory

LogZInit = float | Literal["batch"]
# A small batch is not enough for an estimate that a whole run starts from.
LEAST_BATCH = 16


def check_log_z_init(log_z_init: Any) -> None:
    """Raise a `ValueError` for anything but a finite number or "batch"."""
    number = isinstance(log_z_init, Real) and not isinstance(log_z_init, bool)
    if log_z_init != "batch" and not (number and math.isfinite(log_z_init)):
        raise ArgumentError("log_z_init", f'must be "batch" or a finite number, got {log_z_init!r}')


def first_log_z(
    model: Model,
    objective: Objective,
    log_z_init: LogZInit,
    params: Params,
    key: Array,
    batch_size: int,
) -> Array:
    """`[]` what `log_z_init` says log Z is at first: a number, or a batch's estimate."""
    if log_z_init != "batch":
        return jnp.full_like(params.log_z, log_z_init)
    trajectories = model.sample(params, key, sample_size(batch_size))
    return estimate(model, objective, params, trajectories)


def sample_size(batch_size: int) -> int:
    """Trajectories to start from, where training steps have `batch_size`."""
    parts = spread.num_parts()
    least = -(-LEAST_BATCH // parts) * parts  # a few more on 3 devices than on 4
    return max(batch_size, least)


def first_log_flow(env: Environment, objective: Objective, log_z: Array) -> Array:
    """`[]` what is added to all flows of the network so that log F(s_0) starts near `log_z`.

    Where s_1 is drawn log F(s_0) is the learned log Z, and it is F(s_1) that starts near Z mu(s_1).
    """
    if isinstance(env, RandomSource):
        log_z = log_z + env.log_source(env.initial_state())
    if not objective.looks_forward:
        return jnp.copy(log_z)
    forward: Any = env  # the network's flow is short of the partial reward
    return log_z - log_partial_reward_of(forward, env.initial_state())


def estimate(model: Model, objective: Objective, params: Params, trajectories: Trajectory) -> Array:
    """`[]` the mean of `Objective.first_log_z` over trajectories `[B, ...]`, of the finite ones.

    Where there are cycles the logarithm of the mean of exp, 0 of those that were cut: long
    trajectories, of which an untrained policy has many, would make the mean far too low.
    """
    scores = path_scores(model, objective, params, trajectories)
    found = jax.vmap(objective.first_log_z)(scores)
    finite = jnp.isfinite(found)
    if scores.from_source is not None:
        finite &= scores.whole
        top = spread.largest(jnp.where(finite, found, masking.FILL).max())
        weights = jnp.where(finite, jnp.exp(found - top), 0.0)
        total, count = spread.total((weights.sum(), jnp.ones_like(weights).sum()))
        start = jnp.where(total > 0, top + jnp.log(total / count), 0.0)
        return jax.lax.stop_gradient(start).astype(params.log_z.dtype)
    total = jnp.where(finite, found, 0.0).sum()
    total, count = spread.total((total, finite.sum()))
    count = jnp.maximum(count, 1).astype(found.dtype)
    return jax.lax.stop_gradient(total / count).astype(params.log_z.dtype)
