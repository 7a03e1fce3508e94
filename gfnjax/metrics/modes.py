"""Coverage: which modes were found, and the best distinct objects seen.

A sampler can find all modes and still be far from the target: report these beside a distance.
States are batches of any environment's states, `[n, ...]`; everything is jittable.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking
from gfnjax.envs.base import Environment, State, canonical_of, source_state
from gfnjax.errors import require
from gfnjax.shapes import check_shape, check_states
from gfnjax.types import Array


class Best(NamedTuple):
    """The best distinct objects, best first.

    Attributes:
        states: `[k, ...]`.
        log_reward: `[k]` nats; `masking.FILL` in slots that no object has filled yet.
    """

    states: State
    log_reward: Array


def modes_near(
    states: State, modes: State, distance: Callable[[State, State], Array], radius: float
) -> Array:
    """`[M]` True for each mode that some state comes within `radius` of, inclusive.

    Count with `.sum()`; combine batches with `|`.

    Args:
        states: `[n, ...]`.
        modes: `[M, ...]`, in the form that `distance` takes.
        distance: `(state, mode) -> []`.
        radius: largest distance at which a mode counts as found.

    Raises:
        ValueError: if `distance` returns more than a number.
    """

    def near(mode: State) -> Array:
        found = jax.vmap(distance, (0, None))(states, mode)
        require(found.ndim == 1, "distance", "must return one number", f"shape {found.shape[1:]}")
        return (found <= radius).any()

    return lax.map(near, modes)


def modes_visited(index: Array, mode_index: Array) -> Array:
    """`[M]` True for each mode whose index is among those of the states: an exact hit.

    Args:
        index: `[n]` integers, `state_index` of the states.
        mode_index: `[M]` integers.
    """
    return jnp.isin(mode_index, index)


def first_occurrences(states: State, env: Environment | None = None) -> Array:
    """`[n]` True where a state equals none before it: `.sum()` counts the distinct ones.

    Compares all pairs, O(n^2): meant for batches, not for whole runs.

    Args:
        states: `[n, ...]`.
        env: whose states they are, to tell objects apart rather than states, where its states
            have a `canonical` form.

    Raises:
        ValueError: if these are no batch of states of `env`.
    """
    if env is not None:
        check_states("states", states, source_state(env))
        states = jax.vmap(partial(canonical_of, env))(states)
    leaves = jax.tree.leaves(states)
    index = jnp.arange(leaves[0].shape[0])

    def repeated(i: Array) -> Array:
        rows = [(x == x[i][None]).reshape(index.size, -1).all(axis=1) for x in leaves]
        return (jnp.stack(rows).all(axis=0) & (index < i)).any()

    return ~jax.vmap(repeated)(index)


def empty_best(env: Environment, k: int) -> Best:
    """Room for k objects of `env`."""
    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (k, *x.shape)), source_state(env))
    return Best(states, jnp.full(k, masking.FILL, jnp.result_type(float)))


def update_best(
    best: Best, states: State, log_reward: Array, env: Environment | None = None
) -> Best:
    """The best distinct objects among those of `best` and a batch of terminal states.

    Args:
        best: from `empty_best` or an earlier update, k objects.
        states: `[n, ...]`, repetitions allowed.
        log_reward: `[n]` nats.
        env: as in `first_occurrences`.

    Raises:
        ValueError: unless there is one log reward a state.
    """
    check_shape("log_reward", log_reward, jax.tree.leaves(states)[0].shape[:1], "[n]")
    states = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), best.states, states)
    log_reward = jnp.concatenate([best.log_reward, log_reward])
    # Best first, so that a filled slot goes before an empty one that holds the same state.
    order = jnp.argsort(log_reward, descending=True)
    states = jax.tree.map(lambda x: x[order], states)
    value = jnp.where(first_occurrences(states, env), log_reward[order], masking.FILL)
    top, index = lax.top_k(value, best.log_reward.size)
    return Best(jax.tree.map(lambda x: x[index], states), top)


def mean_reward(best: Best) -> Array:
    """`[]` the mean of R over the slots of `best`; an empty slot counts as R = 0."""
    return jnp.exp(best.log_reward).mean()
