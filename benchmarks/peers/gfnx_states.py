"""States for gfnx from what gfnjax's measures write them as, and actions back in their order."""

from collections.abc import Callable
from typing import Any

import gfnx
import jax.numpy as jnp
import numpy as np


def _flags(initial: np.ndarray) -> dict[str, Any]:
    """Of states from which there are actions; `initial` `[S]` is where nothing was done yet."""
    none = jnp.zeros(len(initial), bool)
    return {"is_initial": jnp.asarray(initial), "is_terminal": none, "is_pad": none}


def _cells(env: Any, positions: np.ndarray) -> Any:
    flags = _flags((positions == 0).all(axis=-1))
    return gfnx.HypergridEnvState(state=jnp.asarray(positions), **flags)


def _letters(kind: type) -> Callable[[Any, np.ndarray], Any]:
    def states(env: Any, letters: np.ndarray) -> Any:
        tokens = np.where(letters < 0, env.pad_token, letters)
        return kind(tokens=jnp.asarray(tokens), **_flags(letters[:, 0] < 0))

    return states


def _graphs(env: Any, adjacency: np.ndarray) -> Any:
    """`closure_T[u, v]` is whether v leads to u: paths of up to d - 1 edges."""
    step = adjacency.swapaxes(1, 2) | np.eye(env.num_variables, dtype=bool)
    closure = step
    for _ in range(env.num_variables - 2):
        closure = closure @ step
    return gfnx.DAGEnvState(
        adjacency_matrix=jnp.asarray(adjacency),
        closure_T=jnp.asarray(closure),
        **_flags(~adjacency.any(axis=(1, 2))),
    )


KINDS: dict[type, Callable[[Any, np.ndarray], Any]] = {
    gfnx.HypergridEnvironment: _cells,
    gfnx.TFBind8Environment: _letters(gfnx.TFBind8EnvState),
    gfnx.QM9SmallEnvironment: _letters(gfnx.QM9SmallEnvState),
    gfnx.DAGEnvironment: _graphs,
}


def states(env: Any, rows: np.ndarray) -> Any:
    return KINDS[type(env)](env, rows)


def order(env: Any) -> np.ndarray:
    """`[actions]` gfnx's number of each of gfnjax's actions: it appends first, gfnx prepends."""
    actions = np.arange(env.action_space.n)
    both_ends = isinstance(env, gfnx.QM9SmallEnvironment)
    return np.roll(actions, env.nchar) if both_ends else actions
