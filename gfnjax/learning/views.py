"""Trajectories as an objective sees them: all it needs scored, the flows as it defines them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import rollout, scoring
from gfnjax.objectives.base import name_of, resolve_log_z, terminal_step
from gfnjax.policies import causal, ensemble
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.causal import CausalPolicy
from gfnjax.state import Params
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory

if TYPE_CHECKING:
    from gfnjax.gflownet import GFlowNet


def score(
    gfn: GFlowNet,
    params: Params,
    trajectories: Trajectory,
    *,
    target: PyTree | None = None,
    previous: PyTree | None = None,
    outputs: PolicyOutput | None = None,
    key: Array | None = None,
    chunk_size: int | None = None,
    members: bool = False,
) -> Scores:
    """`GFlowNet.score`, with the number of live states evaluated at a time or None."""
    needs = gfn.objective.needs
    look = partial(
        view, gfn, params, trajectories=trajectories, chunk_size=chunk_size, members=members
    )
    scores = look(params.policy, outputs=outputs, key=key)
    if "log_inflow" in needs:
        inflow = scoring.log_inflow(
            gfn.env, gfn.policy, params.policy, trajectories, chunk_size=chunk_size
        )
        if params.log_flow_start is not None:  # s_0 has no inflow, nor has what comes after the end
            start = lax.stop_gradient(params.log_flow_start)
            inflow = inflow.at[:, 1:].add(jnp.where(scores.mask, start, 0.0))
        scores = scores._replace(log_inflow=inflow)
    if "log_prior" in needs:
        log_prior = _log_prior(gfn, trajectories, chunk_size)
        scores = scores._replace(log_prior=_repeat(log_prior, scores) if members else log_prior)
    if "target" in needs:
        if target is None:
            name = name_of(gfn.objective)
            raise ValueError(f"{name} needs target=, the target network's parameters, got None")
        scores = scores._replace(target=lax.stop_gradient(look(target)))
    if "previous" in needs:
        before = scores if previous is None else look(previous)
        scores = scores._replace(previous=lax.stop_gradient(before))
    resolve = partial(resolve_log_z, gfn.objective.log_z)
    return jax.vmap(resolve)(scores) if members else resolve(scores)


def view(
    gfn: GFlowNet,
    params: Params,
    policy: PyTree,
    trajectories: Trajectory,
    chunk_size: int | None = None,
    outputs: PolicyOutput | None = None,
    key: Array | None = None,
    members: bool = False,
) -> Scores:
    """What `policy` parameters say of trajectories `[B, ...]`, through `Objective.adapt`.

    Of an `EnsemblePolicy` with `members` that of each member: `[K, B, ...]`.
    """
    needs = gfn.objective.needs
    options: Any = {"chunk_size": chunk_size, "outputs": outputs, "members": members}
    scores = _policy_scores(gfn, params, policy, trajectories, needs, **options)
    if params.objective is not None:
        assist = partial(gfn.objective.assist, params.objective, gfn.env)
        keys = None if key is None else jax.random.split(key, trajectories.length.size)
        over = 0, None if keys is None else 0
        auxiliary = jax.vmap(assist, over)(trajectories, keys)
        scores = scores._replace(auxiliary=_repeat(auxiliary, scores) if members else auxiliary)

    def adapt(scores: Scores) -> Scores:
        scale = gfn.objective.value_scale
        return gfn.objective.adapt(from_start(scores, params.log_flow_start, scale))

    adapt_all = jax.vmap(jax.vmap(adapt)) if members else jax.vmap(adapt)
    return adapt_all(scores)


def path_scores(gfn: GFlowNet, params: Params, trajectories: Trajectory) -> Scores:
    """What the policies alone say of trajectories `[B, ...]`: no adapted flows, no second network.

    `log_prior` is there for objectives that need it, nothing else that they may need.
    """
    chunk_size = gfn.chunk_size_for(trajectories)
    scores = _policy_scores(
        gfn, params, params.policy, trajectories, frozenset(), chunk_size=chunk_size
    )
    if "log_prior" in gfn.objective.needs:
        scores = scores._replace(log_prior=_log_prior(gfn, trajectories, chunk_size))
    return scores


def from_start(scores: Scores, start: Array | None, value_scale: float | None) -> Scores:
    """Scores of one trajectory with the flows of the network shifted to where they started.

    Flows that are read off the forward logits, `value_scale` times `log_value`, are shifted alike;
    what is known is not: log R at the terminal state.
    """
    if start is None:
        return scores
    visited = jnp.pad(scores.mask, (1, 0), constant_values=True)
    shift = jnp.where(visited & ~terminal_step(scores), lax.stop_gradient(start), 0.0)
    value = scores.log_value
    if value is not None:
        value = value + shift / (1.0 if value_scale is None else value_scale)
    return scores._replace(log_flow=scores.log_flow + shift, log_value=value)


def _policy_scores(
    gfn: GFlowNet,
    params: Params,
    policy: PyTree,
    trajectories: Trajectory,
    needs: frozenset[str],
    *,
    chunk_size: int | None = None,
    outputs: PolicyOutput | None = None,
    members: bool = False,
) -> Scores:
    # A trained backward policy has a loss of its own; the objective takes it as it is.
    backward = lax.stop_gradient(gfn.backward_policy(params))
    options: Any = {"log_z": params.log_z, "needs": needs}
    model: tuple[Any, Any, Any, Any] = gfn.env, gfn.policy, backward, policy
    if isinstance(gfn.policy, CausalPolicy):
        return causal.score_causal(*model, trajectories, **options)
    options |= {"chunk_size": chunk_size, "outputs": outputs}
    score = ensemble.score_ensemble if members else scoring.score
    return score(*model, trajectories, **options)


def _repeat(values: PyTree, scores: Scores) -> PyTree:
    """`[B, ...]` values for each member of an ensemble: `[K, B, ...]`."""
    return rollout.tile(values, scores.length.shape[0])


def _log_prior(gfn: GFlowNet, trajectories: Trajectory, chunk_size: int | None) -> Array:
    prior = gfn.prior
    assert prior is not None  # checked at construction
    model = gfn.env, prior.policy, UniformBackward(), prior.params
    scores = scoring.score(*model, trajectories, chunk_size=chunk_size)
    return lax.stop_gradient(scores.log_pf)
