"""Trajectories as an objective sees them: all it needs scored, the flows as it defines them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
from jax import lax

from gfnjax import causal, scoring
from gfnjax.objectives.base import name_of, resolve_log_z
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.causal import CausalPolicy
from gfnjax.state import Params
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory

if TYPE_CHECKING:
    from gfnjax.training import GFlowNet


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
) -> Scores:
    """`GFlowNet.score`, with the number of live states evaluated at a time or None."""
    needs = gfn.objective.needs
    look = partial(view, gfn, params, trajectories=trajectories, chunk_size=chunk_size)
    scores = look(params.policy, outputs=outputs, key=key)
    if "log_inflow" in needs:
        inflow = scoring.log_inflow(
            gfn.env, gfn.policy, params.policy, trajectories, chunk_size=chunk_size
        )
        scores = scores._replace(log_inflow=inflow)
    if "log_prior" in needs:
        scores = scores._replace(log_prior=_log_prior(gfn, trajectories, chunk_size))
    if "target" in needs:
        if target is None:
            name = name_of(gfn.objective)
            raise ValueError(f"{name} needs target=, the target network's parameters, got None")
        scores = scores._replace(target=lax.stop_gradient(look(target)))
    if "previous" in needs:
        before = scores if previous is None else look(previous)
        scores = scores._replace(previous=lax.stop_gradient(before))
    return resolve_log_z(gfn.objective.log_z, scores)


def view(
    gfn: GFlowNet,
    params: Params,
    policy: PyTree,
    trajectories: Trajectory,
    chunk_size: int | None = None,
    outputs: PolicyOutput | None = None,
    key: Array | None = None,
) -> Scores:
    """What `policy` parameters say of trajectories `[B, ...]`, through `Objective.adapt`."""
    # A trained backward policy has a loss of its own; the objective takes it as it is.
    backward = lax.stop_gradient(gfn.backward_policy(params))
    options: Any = {"log_z": params.log_z, "needs": gfn.objective.needs}
    if isinstance(gfn.policy, CausalPolicy):
        model = gfn.env, gfn.policy, backward, policy
        scores = causal.score_causal(*model, trajectories, **options)
    else:
        model = gfn.env, gfn.policy, backward, policy
        options |= {"chunk_size": chunk_size, "outputs": outputs}
        scores = scoring.score(*model, trajectories, **options)
    if params.objective is not None:
        assist = partial(gfn.objective.assist, params.objective, gfn.env)
        keys = None if key is None else jax.random.split(key, trajectories.length.size)
        over = 0, None if keys is None else 0
        scores = scores._replace(auxiliary=jax.vmap(assist, over)(trajectories, keys))
    return jax.vmap(gfn.objective.adapt)(scores)


def _log_prior(gfn: GFlowNet, trajectories: Trajectory, chunk_size: int | None) -> Array:
    prior = gfn.prior
    assert prior is not None  # checked at construction
    model = gfn.env, prior.policy, UniformBackward(), prior.params
    scores = scoring.score(*model, trajectories, chunk_size=chunk_size)
    return lax.stop_gradient(scores.log_pf)
