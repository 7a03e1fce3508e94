"""What gfnx makes of states and actions: PYTHON -m benchmarks.peers.gfnx_check TASK STATES CHILDREN

Reads some of `Gauge.states` from a .npy file, and writes an .npz file of `children`
`[S, actions, ...]` in the same form, in gfnjax's order of actions, and their `log_reward`
`[S, actions]`, NaN where they are not terminal: what must agree before policies are compared.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import gfnx_states
from benchmarks.peers.gfnx_problems import PROBLEMS


def children(task: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    problem = PROBLEMS[task](task, *jax.random.split(jax.random.key(0)))
    env, order = problem.env, gfnx_states.order(problem.env)
    states = gfnx_states.states(env, np.repeat(rows, len(order), axis=0))
    actions = jnp.asarray(np.tile(order, len(rows)))
    _, after, log_reward, done, _ = jax.jit(env.step)(states, actions, problem.env_params)
    shape = len(rows), len(order)
    written = _written(env, after)
    return {
        "children": written.reshape(*shape, *written.shape[1:]),
        "log_reward": np.where(done, log_reward, np.nan).reshape(shape),
    }


def _written(env: Any, states: Any) -> np.ndarray:
    if hasattr(states, "tokens"):
        tokens = np.asarray(states.tokens)
        return np.where(tokens == env.pad_token, -1, tokens)
    return np.asarray(states.state if hasattr(states, "state") else states.adjacency_matrix)


if __name__ == "__main__":
    task, given, wanted = sys.argv[1:]
    np.savez(wanted, **children(task, np.load(given)))
