"""The state graph of an `Enumerable` environment as arrays, for dynamic programming."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import masking
from gfnjax.envs.base import (
    Enumerable,
    Environment,
    RandomSource,
    check_num_states,
    is_acyclic,
    log_reward_of,
    source_state,
)
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
        levels: `[L, W]` int32 states by longest distance from s_0, padded with N; None where there
            are cycles or s_1 is drawn, and no such order is needed (`gfnjax.metrics.chains`).
        source: `[]` int32 index of s_0.
        log_source: `[N]` nats, log mu of each state as s_1, where that is drawn
            (`envs.base.RandomSource`); else None.
    """

    children: Array
    forward_mask: Array
    parents: Array
    parent_actions: Array
    backward_mask: Array
    backward_actions: Array
    terminal: Array
    log_reward: Array
    levels: Array | None
    source: Array
    log_source: Array | None = None

    @property
    def num_states(self) -> int:
        return self.terminal.shape[0]


def build_graph(env: Environment) -> StateGraph:
    """Enumerate an environment. Not jittable; build once, use for every evaluation.

    Raises:
        TypeError: if `env` is not `Enumerable`.
        ValueError: if it has too many states, states that s_0 does not reach or that reach no
            terminal state, or if the rewards of its terminal states make no distribution.
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
    if is_acyclic(env) and not isinstance(env, RandomSource):
        levels = _levels(children, forward_mask, int(source), env.max_steps)
        return StateGraph(**rows, levels=jnp.asarray(levels), source=source)
    graph = StateGraph(**rows, levels=None, source=source)
    _check_reached(graph)
    return graph


@partial(jax.jit, static_argnums=1)
def _tabulate(env: Any, kinds: tuple[type, ...]) -> tuple[dict[str, Array], Array]:
    actions = jnp.arange(env.num_actions, dtype=jnp.int32)
    undos = jnp.arange(env.num_backward_actions, dtype=jnp.int32)
    over = partial(jax.vmap, in_axes=(None, 0))

    source = env.state_index(source_state(env)).astype(jnp.int32)

    def log_source(parents: Any, mask: Array, indices: Array) -> Array:
        found = jax.vmap(env.log_source)(parents)
        return jnp.where(mask & (indices == source), found, masking.FILL).max()

    def row(index: Array) -> dict[str, Array]:
        state = env.state_at(index)
        children = over(env.step)(state, actions)
        parents = over(env.backward_step)(state, undos)
        from_parents = jax.vmap(env.state_index)(parents)
        drawn = {}
        if isinstance(env, RandomSource):
            drawn = {"log_source": log_source(parents, env.backward_mask(state), from_parents)}
        return {
            **drawn,
            "children": jax.vmap(env.state_index)(children),
            "forward_mask": env.forward_mask(state),
            "parents": from_parents,
            "parent_actions": over(env.forward_action)(state, undos),
            "backward_mask": env.backward_mask(state),
            "backward_actions": over(env.backward_action)(state, actions),
            "terminal": env.is_terminal(state),
            "log_reward": log_reward_of(env, state),
        }

    rows = jax.lax.map(row, jnp.arange(env.num_states, dtype=jnp.int32), batch_size=4096)
    return rows, source


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


def _check_reached(graph: StateGraph) -> None:
    """Raise a `ValueError` unless s_0 reaches all states, and all of them a terminal one."""
    mask, source = np.asarray(graph.forward_mask), int(graph.source)
    tails = np.nonzero(mask)[0]
    heads = np.asarray(graph.children)[mask]
    first = [source]
    if graph.log_source is not None:
        tails, heads = tails[tails != source], heads[tails != source]
        first = [source, *np.flatnonzero(np.asarray(graph.log_source) > masking.FILL / 2)]
    ends = np.flatnonzero(np.asarray(graph.terminal))
    for seen, wrong in (
        (_closure(mask.shape[0], first, tails, heads), "cannot be reached from s_0"),
        (_closure(mask.shape[0], ends, heads, tails), "reaches no terminal state"),
    ):
        seen[source] = True
        if not seen.all():
            subject = f"state {int(np.argmin(seen))}"
            raise ArgumentError("env", wrong, subject=subject)


def _closure(num_states: int, first: Any, tails: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """`[num_states]` which states edges lead to, from the first ones on."""
    seen = np.zeros(num_states, bool)
    seen[first] = True
    while (new := heads[seen[tails] & ~seen[heads]]).size:
        seen[new] = True
    return seen


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
