"""Scores whose gradient goes through the sampling: the path that the same noise takes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.actions import actions_of, backward_actions_of
from gfnjax.envs.base import log_reward_of
from gfnjax.errors import ArgumentError
from gfnjax.model import Model
from gfnjax.state import Params
from gfnjax.types import Array, PyTree, Scores, Trajectory


class _Place(NamedTuple):
    """Where a path is, and what undoes the arrival there."""

    state: PyTree
    undo: PyTree


def check_pathwise(model: Model, name: str) -> None:
    """Raise an error, for the objective of that name, where `score` cannot be had."""
    env, actions = model.env, actions_of(model.env)
    if not getattr(actions, "reparametrised", False):
        raise ArgumentError(
            "env",
            "differentiates through the sampling: it needs an environment whose actions are "
            f"reparametrised, as Gaussian ones are; those of {type(env).__name__} are "
            f"{type(actions).__name__}",
            subject=name,
        )
    if not hasattr(model.policy, "evaluate") or model.policy.num_members is not None:
        problem = f"must be a Policy, got {type(model.policy).__name__}"
        raise ArgumentError(
            "policy", problem, subject=f"{name} follows states one by one: {{policy}}"
        )


def score(model: Model, params: Params, policy: PyTree, trajectories: Trajectory) -> Scores:
    """`Scores` `[B, ...]` of trajectories, as functions of `policy` by way of their states.

    Values are those of `Model.score`. The gradient is that of what the policy would have sampled
    from the noise behind each action: x_{t+1}(theta) depends on theta and on x_t(theta). That of
    log P_F is by way of the states alone; the rest, its score, is 0 in the mean, and without it the
    gradient of KL(P_F || R P_B / Z) is 0 on every path at the optimum (Roeder et al., 1703.09194).
    Nothing is kept of a visit but its state.

    Args:
        model: with a reward that can be differentiated in the states.
        params: of the rest of the model.
        policy: parameters of the policy.
        trajectories: `[B, ...]`, complete ones from s_0.
    """
    env, backward = model.env, lax.stop_gradient(model.backward_policy(params))
    forward: Any = actions_of(env)
    undoing, policies = backward_actions_of(env), model.policy

    def visit(place: _Place, given: PyTree) -> tuple[_Place, tuple[Array, ...]]:
        """The step that was taken from here, once more; what is said of here and of the step."""
        state, (taken, live) = place.state, given
        output = policies.evaluate(policy, env, state)
        support = env.forward_mask(state)
        noise = lax.stop_gradient(forward.noise_of(output.forward_logits, support, taken))
        action = forward.sample(output.forward_logits, support, noise)
        seen = policies.evaluate(lax.stop_gradient(policy), env, state)
        log_pf = forward.log_prob(seen.forward_logits, support, action)
        logits = backward(env, state, output)  # pyrefly: ignore
        log_pb = undoing.log_prob(logits, env.backward_mask(state), place.undo)
        after = _Place(env.step(state, action), env.backward_action(state, action))
        place = jax.tree.map(lambda x, y: jnp.where(live, x, y), after, place)
        return place, (log_pf, log_pb, output.log_flow)

    def follow(path: Trajectory) -> Scores:
        horizon = jax.tree.leaves(path.actions)[0].shape[0]
        live = jnp.arange(horizon + 1, dtype=jnp.int32) < path.length
        ends = jax.tree.map(lambda x: jnp.concatenate([x, x[-1:]]), path.actions)
        first = jax.tree.map(lambda x: x[0], path.states)
        start = _Place(first, env.backward_action(first, jax.tree.map(lambda x: x[0], ends)))
        once_more = lax.scan(jax.checkpoint(visit), start, (ends, live))
        place, (log_pf, log_pb, log_flow) = once_more
        log_reward = log_reward_of(env, place.state)
        steps = jnp.arange(horizon + 1, dtype=jnp.int32)
        flow = jnp.where(steps == path.length, log_reward, jnp.where(live, log_flow, 0.0))
        return Scores(
            log_pf=jnp.where(live[:-1], log_pf[:-1], 0.0),
            log_pb=jnp.where(live[:-1], log_pb[1:], 0.0),
            log_flow=flow,
            log_reward=log_reward,
            log_z=jnp.asarray(params.log_z, log_reward.dtype),
            mask=live[:-1],
            length=path.length,
            complete=env.is_terminal(place.state),
        )

    return jax.vmap(follow)(trajectories)
