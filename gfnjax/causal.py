"""Sampling and scoring with a `CausalPolicy`: O(T) tokens a trajectory instead of O(T^2)."""

from collections.abc import Callable
from functools import partial

import jax

from gfnjax import sampling, scoring
from gfnjax.envs.base import Environment, State
from gfnjax.policies.backward import BackwardPolicy
from gfnjax.policies.base import in_full_precision
from gfnjax.policies.causal import CausalPolicy, history_tokens
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


def sample_causal(
    env: Environment,
    policy: CausalPolicy,
    params: PyTree,
    behaviour: Callable[[State, PolicyOutput], Array],
    key: Array,
    batch_size: int,
) -> Trajectory:
    """Build `batch_size` objects from s_0, the policy's memory growing by one token a step.

    Args:
        env: an environment with one path to each state.
        policy: the policy.
        params: of the policy.
        behaviour: a state and what the policy says there to `[num_actions]` logits that act.
        key: a typed PRNG key.
        batch_size: number of trajectories B.

    Returns:
        Trajectories `[B, ...]`.
    """
    memory = sampling.tile(policy.start(params), batch_size)
    step = jax.vmap(policy.step, (None, 0, 0, None))

    def act(memory: PyTree, t: Array, state: State, token: Array, live: Array) -> PyTree:
        memory, output = step(params, memory, token, t)
        return memory, jax.vmap(behaviour)(state, in_full_precision(output)), None

    return sampling.rollout(env, act, memory, key, batch_size)[0]


def score_causal(
    env: Environment,
    policy: CausalPolicy,
    backward: BackwardPolicy,
    params: PyTree,
    trajectories: Trajectory,
    *,
    log_z: Array | float = 0.0,
    needs: frozenset[str] = frozenset(),
) -> Scores:
    """`scoring.score` for a causal policy: one pass over each trajectory, padding included.

    Args:
        env: an environment with one path to each state.
        policy: the policy.
        backward: the backward policy.
        params: of the policy; scores are differentiable in them.
        trajectories: `[B, ...]`.
        log_z: `[]` learned log Z, copied into the scores.
        needs: as in `scoring.score`.

    Returns:
        Scores `[B, ...]`.
    """
    tokens = jax.vmap(history_tokens)(trajectories.actions, trajectories.length)
    outputs = in_full_precision(jax.vmap(policy.unroll, (None, 0))(params, tokens))
    read = partial(scoring.read, needs=needs)
    read = jax.vmap(jax.vmap(read, (None, 0, 0)), (None, 0, 0))
    rows = read((env, backward), outputs, scoring.visits(env, trajectories))
    return scoring.assemble(env, trajectories, rows, log_z, needs)
