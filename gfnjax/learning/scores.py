"""Trajectories as an objective sees them: all it needs scored, the flows as it defines them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import groups, rollout, spread
from gfnjax.envs.base import Conditioned, RandomSource
from gfnjax.errors import ArgumentError
from gfnjax.learning import pathwise
from gfnjax.log_flows import from_start
from gfnjax.model import Model, nowhere, score_inflow, score_policies, score_prior
from gfnjax.objectives.base import (
    Objective,
    Regression,
    loss_and_errors,
    name_of,
    resolve_log_z,
)
from gfnjax.scoring import VisitScores
from gfnjax.state import Params
from gfnjax.types import Array, PyTree, Scores, Trajectory


def score(
    model: Model,
    objective: Objective,
    params: Params,
    trajectories: Trajectory,
    *,
    target: PyTree | None = None,
    previous: PyTree | None = None,
    rows: VisitScores | None = None,
    key: Array | None = None,
    chunk_size: int | None = None,
    members: bool = False,
) -> Scores:
    """`GFlowNet.score`, with the number of live states evaluated at a time or None."""
    needs = objective.needs
    look = partial(
        adapted,
        model,
        objective,
        params,
        trajectories=trajectories,
        chunk_size=chunk_size,
        members=members,
    )
    scores = look(params.policy, rows=rows, key=key)
    if "log_inflow" in needs:
        inflow = score_inflow(model, params, trajectories, scores.mask, chunk_size)
        scores = scores._replace(log_inflow=inflow)
    whole = score_prior(model, trajectories, chunk_size, needs)
    whole |= _of_groups(model, objective, trajectories)
    scores = scores._replace(**(_repeat(whole, scores) if members else whole))
    if "target" in needs:
        if target is None:
            name = name_of(objective)
            problem = "needs target=, the target network's parameters, got None"
            raise ArgumentError("target", problem, subject=name)
        scores = scores._replace(target=lax.stop_gradient(look(target)))
    if "previous" in needs:
        before = scores if previous is None else look(previous)
        scores = scores._replace(previous=lax.stop_gradient(before))
    resolve = partial(resolve_log_z, objective.log_z, power=objective.log_z_power)
    return jax.vmap(resolve)(scores) if members else resolve(scores)


def _of_groups(model: Model, objective: Objective, trajectories: Trajectory) -> dict[str, Any]:
    """Of the fields of `Scores` that are needed those that compare trajectories `[B, ...]`."""
    needs = objective.needs & {"group", "group_reward"}
    if not needs and objective.log_z != "group":
        return {}
    group = source_groups(model, trajectories)
    if "group_reward" not in needs:
        return {"group": group}
    return {"group": group, "group_reward": groups.standardised(trajectories.log_reward, group)}


def source_groups(model: Model, trajectories: Trajectory) -> Array:
    """`[B]` int32 `Scores.group`: which trajectories have the same condition.

    Raises:
        ValueError: where several devices have parts of a batch with different conditions.
    """
    if not isinstance(model.env, Conditioned):
        return jnp.zeros(trajectories.length.shape, jnp.int32)
    remedy = "use an objective that does not compare trajectories of one condition"
    spread.refuse("an objective that compares trajectories of one condition", "objective", remedy)
    return groups.leaders(jax.tree.map(lambda x: x[:, 0], trajectories.states))


def adapted(
    model: Model,
    objective: Objective,
    params: Params,
    policy: PyTree,
    trajectories: Trajectory,
    chunk_size: int | None = None,
    rows: VisitScores | None = None,
    key: Array | None = None,
    members: bool = False,
) -> Scores:
    """What `policy` parameters say of trajectories `[B, ...]`, through `Objective.adapt`.

    Of an `EnsemblePolicy` with `members` that of each member: `[K, B, ...]`.
    """
    if objective.pathwise:
        scores = pathwise.score(model, params, policy, trajectories)
    else:
        options: Any = {"chunk_size": chunk_size, "rows": rows, "members": members}
        given = model, params, policy, trajectories
        scores = score_policies(*given, needs=objective.needs, **options)
    if params.objective is not None:
        assist = partial(objective.assist, params.objective, model.env)
        num_keys = spread.whole(trajectories.length.size)
        keys = None if key is None else spread.rows(jax.random.split(key, num_keys))
        over = 0, None if keys is None else 0
        auxiliary = jax.vmap(assist, over)(trajectories, keys)
        scores = scores._replace(auxiliary=_repeat(auxiliary, scores) if members else auxiliary)

    def adapt(scores: Scores) -> Scores:
        start, scale = params.log_flow_start, objective.value_scale
        drawn = isinstance(model.env, RandomSource)
        return objective.adapt(from_start(scores, start, scale, drawn))

    adapt_all = jax.vmap(jax.vmap(adapt)) if members else jax.vmap(adapt)
    return adapt_all(scores)


def path_scores(
    model: Model, objective: Objective, params: Params, trajectories: Trajectory
) -> Scores:
    """What the policies alone say of trajectories `[B, ...]`: no adapted flows, no second network.

    `log_prior` is there for objectives that need it, nothing else that they may need.
    """
    size = model.chunk_size_for(trajectories)
    scores = score_policies(model, params, params.policy, trajectories, chunk_size=size)
    said = score_prior(model, trajectories, size, objective.needs & {"log_prior"})
    return scores._replace(**said)


def log_z(model: Model, objective: Objective, params: Params) -> Array:
    """`[]` the objective's estimate of log Z; NaN where it makes one from batches only."""
    if objective.log_z == "learned":
        return params.log_z
    if objective.log_z != "flow":
        return jnp.full_like(params.log_z, jnp.nan)
    source = nowhere(model.env, params.log_z.dtype)
    return adapted(model, objective, params, params.policy, source).log_flow[0, 0]


def loss(
    model: Model,
    objective: Objective,
    regression: Regression,
    params: Params,
    trajectories: Trajectory,
    *,
    key: Array | None,
    **known: Any,
) -> tuple[Array, Scores, Array]:
    """What trajectories `[B, ...]` cost: the loss, scores `[B, ...]` and each one's error `[B]`.

    Of an ensemble: means over its members, and the scores of the first one.
    """
    given = model, objective, params, trajectories
    known["chunk_size"] = model.chunk_size_for(trajectories)
    if model.policy.num_members is None:
        scores = score(*given, key=key, **known)
        keep = _learned_from(objective, scores)
        value, errors = loss_and_errors(objective, regression, scores, keep)
        return value, scores, errors if keep is None else jnp.where(keep, errors, 0.0)
    score_key, keep_key = (None, None) if key is None else jax.random.split(key)
    scores = score(*given, key=score_key, members=True, **known)
    value, errors = mean_loss(model.policy, objective, regression, scores, keep_key)
    return value, jax.tree.map(lambda x: x[0], scores), errors


def _learned_from(objective: Objective, scores: Scores) -> Array | None:
    """Which trajectories count where there are cycles; None where all of them do."""
    if scores.from_source is None or objective.cycles == "all":
        return None
    return scores.whole


def mean_loss(
    policy: Any, objective: Objective, regression: Regression, scores: Scores, key: Array | None
) -> tuple[Array, Array]:
    """The mean over the members of an ensemble of their losses on scores `[K, B, ...]`.

    Args:
        policy: an `EnsemblePolicy`, says how often a member learns from a trajectory.
        objective: the objective.
        regression: g.
        scores: of each member.
        key: of the bootstrap; without one every member learns from every trajectory.

    Returns:
        The loss `[]`, and `[B]` the mean over all members of what a trajectory costs them.
    """
    keep = jnp.ones(scores.log_reward.shape, bool)
    if key is not None and policy.keep < 1:
        shape = keep.shape[0], spread.whole(keep.shape[1])
        keep = spread.rows(jax.random.bernoulli(key, policy.keep, shape), axis=1)
    if (whole := _learned_from(objective, scores)) is not None:
        keep &= whole
    judge = partial(loss_and_errors, objective, regression)
    losses, errors = jax.vmap(judge)(scores, keep)
    return losses.mean(), errors.mean(axis=0)


def _repeat(values: PyTree, scores: Scores) -> PyTree:
    """`[B, ...]` values for each member of an ensemble: `[K, B, ...]`."""
    return rollout.tile(values, scores.length.shape[0])
