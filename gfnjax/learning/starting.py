"""Where log Z and the flows start: at what the untrained policy says of them.

Log Z of 45 learned from 0 first destroys the policy: all residuals agree that everything is too
unlikely. For any policy the mean of log R + sum log P_B - sum log P_F over its trajectories is
log Z minus a Kullback-Leibler divergence, so a batch of the untrained policy gives a near start.

Flows are another matter where they are learned from what comes after them, state by state: what
is known there is log R at the end, and they start at its mean, or, where the network has them
relative to partial rewards, at 0. At log Z the last of them would be
wrong by tens of nats, and of all steps theirs are learned first.
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


def started(
    model: Model,
    objective: Objective,
    log_z_init: LogZInit,
    params: Params,
    key: Array,
    batch_size: int,
) -> Params:
    """`params` with log Z and the flows where `log_z_init` has them: a number, or by a batch."""
    if log_z_init != "batch":
        number = jnp.full_like(params.log_z, log_z_init)
        return _started_alike(model.env, objective, params, number)
    trajectories = model.sample(params, key, sample_size(batch_size))
    log_z = estimate(model, objective, params, trajectories)
    if not objective.bootstraps:
        return _started_alike(model.env, objective, params, log_z)
    log_flow = jnp.zeros_like(log_z) if objective.looks_forward else mean_log_reward(trajectories)
    return params._replace(log_z=log_z, log_flow_start=log_flow.astype(log_z.dtype))


def sample_size(batch_size: int) -> int:
    """Trajectories to start from, where training steps have `batch_size`."""
    parts = spread.num_parts()
    least = -(-LEAST_BATCH // parts) * parts  # a few more on 3 devices than on 4
    return max(batch_size, least)


def _started_alike(env: Environment, objective: Objective, params: Params, log_z: Array) -> Params:
    """All flows of the network moved by one number, so that log F(s_0) starts near `log_z`.

    Where s_1 is drawn log F(s_0) is the learned log Z, and it is F(s_1) that starts near Z mu(s_1).
    """
    log_flow = jnp.copy(log_z)
    if isinstance(env, RandomSource):
        log_flow = log_flow + env.log_source(env.initial_state())
    if objective.looks_forward:
        forward: Any = env  # the network's flow is short of the partial reward
        log_flow = log_flow - log_partial_reward_of(forward, env.initial_state())
    return params._replace(log_z=log_z, log_flow_start=log_flow)


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
    return _mean(found, finite).astype(params.log_z.dtype)


def mean_log_reward(trajectories: Trajectory) -> Array:
    """`[]` the mean log R of the trajectories `[B, ...]` that came to an end, of finite ones."""
    counted = jnp.isfinite(trajectories.log_reward)
    if trajectories.cut is not None:
        counted &= ~trajectories.cut
    return _mean(trajectories.log_reward, counted)


def _mean(found: Array, counted: Array) -> Array:
    """`[]` of those `[B]` that are `counted`, 0 of none; without gradient."""
    total = jnp.where(counted, found, 0.0).sum()
    total, count = spread.total((total, counted.sum()))
    count = jnp.maximum(count, 1).astype(found.dtype)
    return jax.lax.stop_gradient(total / count)
