"""The state graph of an `Enumerable` environment as arrays, for dynamic programming."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import Enumerable, Environment, check_num_states, log_reward_of, source_state
from gfnjax.errors import ArgumentError
from gfnjax.identity import classes
from gfnjax.types import Array

MAX_STATES = 20_000_000


class StateGraph(NamedTuple):
    """All N states and edges, and the order in which to visit them.

    Attributes:
        children: `[N, num_actions]` int32 index of the child; arbitrary where masked.
        forward_mask: `[N, num_actions]` True where the action is allowed.
        parents: `[N, num_backward_actions]` int32 index of the parent; arbitrary where masked.
        parent_actions: `[N, num_backward_actions]` int32, the action that leads from the parent.
        backward_mask: `[N, num_backward_actions]` True where the backward action is allowed.
        backward_actions: `[N, num_actions]` int32, the backward action that undoes an action.
        terminal: `[N]` bool.
        log_reward: `[N]` nats; meaningless off terminal states.
        levels: `[L, W]` int32 states by longest distance from s_0, padded with N.
        source: `[]` int32 index of s_0.
    """

    children: Array
    forward_mask: Array
    parents: Array
    parent_actions: Array
    backward_mask: Array
    backward_actions: Array
    terminal: Array
    log_reward: Array
    levels: Array
    source: Array

    @property
    def num_states(self) -> int:
        return self.terminal.shape[0]


def build_graph(env: Environment) -> StateGraph:
    """Enumerate an environment. Not jittable; build once, use for every evaluation.

    Raises:
        TypeError: if `env` is not `Enumerable`.
        ValueError: if it has too many states, or states that s_0 does not reach, or if the
            rewards of its terminal states make no distribution.
    """
    if hasattr(type(env), "num_states"):
        check_num_states(
            env, "exact metrics enumerate; use gfnjax.metrics.sampled instead", MAX_STATES
        )
    if not isinstance(env, Enumerable):
        problem = f"need an Enumerable environment, got {type(env).__name__}"
        raise ArgumentError("env", problem, subject="exact metrics")
    rows, source = _tabulate(env, classes(env))
    _check_rewards(np.asarray(rows["log_reward"]), np.asarray(rows["terminal"]))
    children, forward_mask = np.asarray(rows["children"]), np.asarray(rows["forward_mask"])
    levels = _levels(children, forward_mask, int(source), env.max_steps)
    return StateGraph(**rows, levels=jnp.asarray(levels), source=source)


@partial(jax.jit, static_argnums=1)
def _tabulate(env: Any, kinds: tuple[type, ...]) -> tuple[dict[str, Array], Array]:
    actions = jnp.arange(env.num_actions, dtype=jnp.int32)
    undos = jnp.arange(env.num_backward_actions, dtype=jnp.int32)
    over = partial(jax.vmap, in_axes=(None, 0))

    def row(index: Array) -> dict[str, Array]:
        state = env.state_at(index)
        children = over(env.step)(state, actions)
        parents = over(env.backward_step)(state, undos)
        return {
            "children": jax.vmap(env.state_index)(children),
            "forward_mask": env.forward_mask(state),
            "parents": jax.vmap(env.state_index)(parents),
            "parent_actions": over(env.forward_action)(state, undos),
            "backward_mask": env.backward_mask(state),
            "backward_actions": over(env.backward_action)(state, actions),
            "terminal": env.is_terminal(state),
            "log_reward": log_reward_of(env, state),
        }

    rows = jax.lax.map(row, jnp.arange(env.num_states, dtype=jnp.int32), batch_size=4096)
    return rows, env.state_index(source_state(env)).astype(jnp.int32)


def _check_rewards(log_reward: np.ndarray, terminal: np.ndarray) -> None:
    """Raise a `ValueError` unless R is finite in terminal states `[N]`, and positive in one."""
    wrong = terminal & ~(log_reward < np.inf)
    if wrong.any():
        state = int(np.argmax(wrong))
        raise ArgumentError(
            "env",
            f"is {log_reward[state]} in terminal state {state}: it must be a number, or -inf where "
            "R = 0",
            subject="log_reward",
        )
    if terminal.any() and (log_reward[terminal] == -np.inf).all():
        raise ArgumentError(
            "env",
            f"is -inf in all {terminal.sum()} terminal states: R / Z is undefined, let R be "
            "positive somewhere",
            subject="log_reward",
        )


def _levels(children: np.ndarray, mask: np.ndarray, source: int, max_steps: int) -> np.ndarray:
    """States by their longest distance from s_0, one row a distance."""
    num_states = mask.shape[0]
    depth = np.full(num_states, -1)
    frontier = np.array([source])
    for distance in range(max_steps + 1):
        depth[frontier] = distance
        frontier = np.unique(children[frontier][mask[frontier]])
        if frontier.size == 0:
            break
    else:
        problem = f"is longer than max_steps = {max_steps}"
        raise ArgumentError("env", problem, subject="a trajectory")
    if (depth < 0).any():
        problem = "cannot be reached from s_0"
        raise ArgumentError("env", problem, subject=f"state {int(np.argmin(depth))}")
    order = np.argsort(depth, kind="stable")
    counts = np.bincount(depth)
    levels = np.full((counts.size, counts.max()), num_states, np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for i, count in enumerate(counts):
        levels[i, :count] = order[starts[i] : starts[i + 1]]
    return levels
