"""What `check_environment` asks of environments with cycles: ways to an end, and back to s_0."""

from typing import Any

import jax
import numpy as np
from jax import lax

from gfnjax.actions import backward_actions_of
from gfnjax.envs.base import Environment
from gfnjax.testing.claims import each, require
from gfnjax.testing.sources import is_source
from gfnjax.types import Array, PyTree


def subsample(states: PyTree, most: int) -> PyTree:
    """At most so many of the states `[T + 1, n, ...]` of random trajectories, drawn at random."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), states)
    total = jax.tree.leaves(flat)[0].shape[0]
    index = np.random.default_rng(0).permutation(total)[:most]
    return jax.tree.map(lambda x: x[index], flat)


def ends(env: Environment, states: PyTree) -> PyTree:
    """The terminal states `[n, ...]` that trajectories `[T + 1, ...]` have come to."""
    last = jax.tree.map(lambda x: x[-1], states)
    ended = each(env.is_terminal)(last)
    require(
        ended.any(),
        f"max_steps = {env.max_steps}: not one random trajectory had ended after that many steps",
    )
    return jax.tree.map(lambda x: x[ended], last)


def check_way_back(env: Environment, key: Array, states: PyTree) -> None:
    """Some random way back from states `[n, ...]` must come to s_0 within `max_steps`."""
    undoing = backward_actions_of(env)

    def walk(state: PyTree, noise: PyTree) -> Array:
        def back(state: PyTree, noise: PyTree) -> tuple[PyTree, None]:
            support = env.backward_mask(state)
            undo = undoing.sample(undoing.neutral(), support, noise)
            # An s_0 stays what it is, whatever is undone.
            return env.backward_step(state, undo), None

        return is_source(env, lax.scan(back, state, noise)[0])

    size: Any = jax.tree.leaves(states)[0].shape[0]
    noise = undoing.noise(key, (size, env.max_steps))
    require(
        each(walk)(states, noise).any(),
        f"max_steps = {env.max_steps}: not one random way back had come to s_0 after that many",
    )
