"""Sampling and training with an `EnsemblePolicy`: one member a trajectory, all members learn."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from gfnjax import sampling, scoring
from gfnjax.envs.base import Environment, State
from gfnjax.objectives.base import Objective, Regression, loss_and_errors
from gfnjax.policies.backward import BackwardPolicy
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory

MEMBERS = PolicyOutput(forward_logits=0, backward_logits=None, log_flow=None)  # pyrefly: ignore


def sample_ensemble(
    env: Environment,
    policy: EnsemblePolicy,
    params: PyTree,
    behaviour: Callable[[State, PolicyOutput], Array],
    key: Array,
    member_key: Array,
    batch_size: int,
    window: sampling.Window | None = None,
) -> tuple[Trajectory, PolicyOutput]:
    """Trajectories `[B, ...]`, each built by one member drawn uniformly.

    Args:
        env: the environment.
        policy: the policy.
        params: of the policy.
        behaviour: a state and what the member says there to `[num_actions]` logits that act.
        key: of the rollout.
        member_key: of who acts in which trajectory.
        batch_size: number of trajectories B.
        window: as in `sampling.sample_forward`; each window has a member of its own.

    Returns:
        Trajectories `[B, ...]`, and `EnsemblePolicy.heads` in all their states `[B, T + 1, ...]`.
    """
    members = jax.random.randint(member_key, (batch_size,), 0, policy.num_members)

    def act(row: tuple[State, Array]) -> tuple[Array, PolicyOutput]:
        state, member = row
        heads = policy.heads(params, env, state)
        logits = heads.forward_logits[member]
        return behaviour(state, heads._replace(forward_logits=logits)), heads

    def act_all(memory: PyTree, t: Array, state: State, token: Array, live: Array) -> PyTree:
        return memory, *sampling.act_live(act, (state, members), live)

    return sampling.rollout(env, act_all, (), key, batch_size, window)


def score_ensemble(
    env: Environment,
    policy: EnsemblePolicy,
    backward: BackwardPolicy,
    params: PyTree,
    trajectories: Trajectory,
    *,
    log_z: Array | float = 0.0,
    chunk_size: int | None = None,
    outputs: PolicyOutput | None = None,
    needs: frozenset[str] = frozenset(),
) -> Scores:
    """`scoring.score` for each member, at the cost of one pass through the trunk.

    Args:
        env: the environment.
        policy: the policy.
        backward: the backward policy.
        params: of the policy; scores are differentiable in them.
        trajectories: `[B, ...]`.
        log_z: `[]` learned log Z, copied into the scores.
        chunk_size: as in `scoring.score`.
        outputs: `[B, T + 1, ...]` heads that a rollout of the same parameters has computed.
        needs: as in `scoring.score`.

    Returns:
        Scores `[K, B, ...]`.
    """
    read = jax.vmap(partial(scoring.read, needs=needs), (None, MEMBERS, None))
    model = env, backward, params, trajectories
    rows = scoring.read_visits(*model, policy.heads, read, chunk_size=chunk_size, outputs=outputs)
    rows = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), rows)
    return jax.vmap(lambda rows: scoring.assemble(env, trajectories, rows, log_z, needs))(rows)


def mean_loss(
    policy: EnsemblePolicy,
    objective: Objective,
    regression: Regression,
    scores: Scores,
    key: Array | None,
) -> tuple[Array, Array]:
    """The mean over members of their losses on scores `[K, B, ...]`.

    Args:
        policy: says how often a member learns from a trajectory.
        objective: the objective.
        regression: g.
        scores: of each member.
        key: of the bootstrap; without one every member learns from every trajectory.

    Returns:
        The loss `[]`, and `[B]` the mean over all members of what a trajectory costs them.
    """
    keep = jnp.ones(scores.log_reward.shape, bool)
    if key is not None and policy.keep < 1:
        keep = jax.random.bernoulli(key, policy.keep, keep.shape)
    judge = partial(loss_and_errors, objective, regression)
    losses, errors = jax.vmap(judge)(scores, keep)
    return losses.mean(), errors.mean(axis=0)
