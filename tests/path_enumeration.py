"""Brute force: all trajectories of a small `TabularDAG`, listed in plain Python."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np

from gfnjax import TabularDAG, Trajectory, random_dag
from gfnjax.envs.tabular import TabularState
from gfnjax.metrics.state_graph import StateGraph, build_graph

NUM_STATES = 9
NUM_ACTIONS = NUM_STATES - 1
NUM_UNDOS = 3


def padded_dag(seed: int) -> TabularDAG:
    """A random DAG whose tables have the same shapes for every seed: one compilation for all."""
    env = random_dag(seed, NUM_STATES, NUM_UNDOS)

    def pad(table, width):
        table = np.asarray(table)
        return jnp.asarray(np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=-1))

    return TabularDAG(
        children=pad(env.children, NUM_ACTIONS),
        parents=pad(env.parents, NUM_UNDOS),
        undo=pad(env.undo, NUM_ACTIONS),
        redo=pad(env.redo, NUM_UNDOS),
        log_rewards=env.log_rewards,
        max_steps=NUM_STATES - 1,
    )


def padded_graph(env: TabularDAG) -> StateGraph:
    """The graph of a `padded_dag`, its levels padded to one shape for all seeds too."""
    graph = build_graph(env)
    rows, columns = graph.levels.shape
    padding = ((0, NUM_STATES - rows), (0, NUM_STATES - columns))
    levels = jnp.pad(graph.levels, padding, constant_values=NUM_STATES)
    return graph._replace(levels=levels)


def all_paths(env: TabularDAG) -> list[list[tuple[int, int]]]:
    """Every path from s_0 to a terminal state: pairs (state, action), the last action -1."""
    children = np.asarray(env.children)

    def extend(state: int) -> list[list[tuple[int, int]]]:
        actions = [a for a in range(children.shape[1]) if children[state, a] >= 0]
        if not actions:
            return [[(state, -1)]]
        return [[(state, a), *rest] for a in actions for rest in extend(int(children[state, a]))]

    return extend(0)


def path_log_probs(env: TabularDAG, path, log_pf, log_pb) -> tuple[float, float]:
    """sum log P_F and sum log P_B along one path, from tables `[N, A]` and `[N, K]`."""
    undo = np.asarray(env.undo)
    forward = sum(float(log_pf[s, a]) for s, a in path[:-1])
    backward = sum(float(log_pb[child, undo[s, a]]) for (s, a), (child, _) in pairwise(path))
    return forward, backward


def all_trajectories(env: TabularDAG, count: int | None = None) -> Trajectory:
    """All paths as a batch; repeated from the first on up to `count`, where it is given."""
    paths = all_paths(env)
    if count is not None:
        assert len(paths) <= count, len(paths)
        paths = [paths[i % len(paths)] for i in range(count)]
    horizon = env.max_steps
    states = np.zeros((len(paths), horizon + 1), np.int32)
    actions = np.zeros((len(paths), horizon), np.int32)
    for row, path in enumerate(paths):
        visited = [s for s, _ in path]
        states[row] = visited + [visited[-1]] * (horizon + 1 - len(visited))
        actions[row, : len(path) - 1] = [a for _, a in path[:-1]]
    lengths = np.array([len(path) - 1 for path in paths], np.int32)
    return Trajectory(
        states=TabularState(jnp.asarray(states)),
        actions=jnp.asarray(actions),
        length=jnp.asarray(lengths),
        log_reward=env.log_rewards[states[:, -1]],
    )
