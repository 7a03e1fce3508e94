"""What trajectories are paid: log R where they end, and what their states are worth on the way."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import packing
from gfnjax.envs.base import (
    Environment,
    PartialReward,
    PathReward,
    State,
    log_partial_reward_of,
    log_reward_of,
)
from gfnjax.types import Array, Trajectory


def paid(env: Environment, trajectories: Trajectory, last: State) -> Trajectory:
    """Trajectories `[B, ...]` with log R of the states `last` `[B, ...]` that they end in.

    Of a `PathReward` environment also with the rewards of all their states.
    """
    if not isinstance(env, PathReward):
        return trajectories._replace(log_reward=jax.vmap(partial(log_reward_of, env))(last))
    values = path_rewards(env, trajectories)
    found = jnp.take_along_axis(values, trajectories.length[:, None], axis=1)[:, 0]
    return trajectories._replace(log_reward=found, log_path_reward=values)


def of_ended(env: Environment, last: State) -> Array:
    """`[B]` log R of the states `[B, ...]` that are terminal, zero elsewhere."""
    ended = jax.vmap(env.is_terminal)(last)
    reward = partial(log_reward_of, env)
    return packing.evaluate_live(reward, last, ended, packing.chunk_of(ended.size))


def path_rewards(env: PathReward, trajectories: Trajectory) -> Array:
    """`[B, T + 1]` nats, without gradient: log R of stopping in each state of trajectories."""
    values = lax.stop_gradient(env.log_path_rewards(trajectories))
    return values.astype(jnp.result_type(float))


def partial_rewards(env: Environment, trajectories: Trajectory, wanted: Array) -> Array:
    """`[B, T + 1]` in the states that are `wanted`, zero elsewhere: a reward may be a network."""
    known = trajectories.log_path_reward
    if known is None and isinstance(env, PathReward):
        known = path_rewards(env, trajectories)
    if known is not None:
        return jnp.where(wanted, known, 0.0)
    assert isinstance(env, PartialReward)  # checked when the objective met the environment
    found = packing.evaluate_live(
        partial(log_partial_reward_of, env),
        jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectories.states),
        wanted.reshape(-1),
        packing.chunk_of(wanted.size),
    )
    return found.reshape(wanted.shape)
