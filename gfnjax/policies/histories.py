"""What comes before a state: the path to it, and what its source has to say."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.envs.base import Environment, State
from gfnjax.types import Array, PyTree


class Contexts(NamedTuple):
    """What a policy has read before the first token: of each trajectory, or of all the same.

    Attributes:
        values: a context, with a leading axis `[B, ...]` where `axis` is 0.
        axis: 0, or None where all trajectories share the one that there is.
    """

    values: PyTree
    axis: int | None

    def each(self, fn: Callable[[Any, PyTree], PyTree], rows: PyTree) -> PyTree:
        """`[B, ...]` what `fn` makes of each of the rows `[B, ...]` and its context."""
        return jax.vmap(fn, (0, self.axis))(rows, self.values)


class History(NamedTuple):
    """The only path to a state: its source, tokens `[T + 1]`, 0 past its end, and length `[]`."""

    source: State
    tokens: Array
    length: Array


def read_history(env: Environment, state: State) -> History:
    """The path to `state`, by undoing its steps."""
    undo = jnp.zeros((), jnp.int32)

    def back(state: State, _: None) -> tuple[State, tuple[Array, Array]]:
        moved = env.backward_mask(state)[0]
        return env.backward_step(state, undo), (env.forward_action(state, undo), moved)

    source, (actions, moved) = jax.lax.scan(back, state, None, length=env.max_steps)
    length = moved.sum(dtype=jnp.int32)
    steps = jnp.arange(1, env.max_steps + 1, dtype=jnp.int32)
    actions = actions[jnp.maximum(length - steps, 0)]
    return History(source, history_tokens(actions, length), length)


def history_tokens(actions: Array, length: Array) -> Array:
    """Actions `[T]` of a trajectory of some length to tokens `[T + 1]`."""
    live = jnp.arange(actions.size, dtype=jnp.int32) < length
    return jnp.pad(jnp.where(live, actions + 1, 0), (1, 0))
