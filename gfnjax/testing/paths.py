"""What `check_environment` asks of an environment that values whole trajectories."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax.actions import actions_of
from gfnjax.envs.base import (
    Conditioned,
    PathReward,
    log_partial_reward_of,
    log_reward_of,
    source_state,
)
from gfnjax.testing.claims import each
from gfnjax.types import Array, PyTree, Trajectory

MAX_CHECKED_PATHS = 8


def broken_values(env: PathReward, key: Array) -> str | None:
    """What is wrong with the rewards of all states of trajectories, in words; None if nothing is.

    They must be those of each state: `log_partial_reward` before the end, `log_reward` there.
    """
    keys = jax.random.split(key, MAX_CHECKED_PATHS)
    trajectories = jax.device_get(jax.jit(jax.vmap(_random_path(env)))(keys))
    found = np.asarray(jax.jit(env.log_path_rewards)(trajectories))
    before = each(jax.vmap(partial(log_partial_reward_of, env)))(trajectories.states)
    if found.shape != before.shape:
        return f"log_path_rewards: must be of shape [B, T + 1], got {found.shape}"
    steps, length = np.arange(before.shape[1])[None], trajectories.length[:, None]
    expected = np.where(steps < length, before, trajectories.log_reward[:, None])
    wrong = (steps <= length) & ~np.isclose(found, expected, 1e-4, 1e-5)
    if not wrong.any():
        return None
    row, step = np.argwhere(wrong)[0]
    name = "log_partial_reward" if step < trajectories.length[row] else "log_reward"
    state = jax.tree.map(lambda x: x[row, step], trajectories.states)
    values = f"{found[row, step]} instead of {expected[row, step]}"
    return f"log_path_rewards: must be the {name} of each state; it is {values} in {state}"


def _random_path(env: Any) -> Callable[[Array], Trajectory]:
    """A function of a key: a random trajectory, from a source drawn at random where there are."""
    moves = actions_of(env)

    def move(state: PyTree, noise: PyTree) -> tuple[PyTree, tuple]:
        action = moves.sample(moves.neutral(), env.forward_mask(state), noise)
        following, live = env.step(state, action), ~env.is_terminal(state)
        taken = jax.tree.map(lambda x: jnp.where(live, x, jnp.zeros_like(x)), action)
        return following, (following, taken, live)

    def path(key: Array) -> Trajectory:
        source_key, key = jax.random.split(key)
        conditioned = isinstance(env, Conditioned)
        source = env.draw_initial_state(source_key) if conditioned else source_state(env)
        noise = moves.noise(key, (env.max_steps,))
        last, (following, actions, live) = lax.scan(move, source, noise)
        states = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), source, following)
        return Trajectory(states, actions, live.sum(dtype=jnp.int32), log_reward_of(env, last))

    return path
