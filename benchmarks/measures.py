"""How far the policies of the enumerable problems are from their targets, exactly.

A library says its logits in all states that have actions; where these end is computed here, by
dynamic programming, so that all libraries are measured by one program. States travel as the first
field of gfnjax's, which says all of them: the position in a grid, the letters so far (-1 where
there are none yet) or the adjacency matrix. Actions have gfnjax's numbers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import masking
from gfnjax.envs.dags import DAGState, transposed_closure
from gfnjax.metrics import exact, state_graph


class Measure(NamedTuple):
    """What is measured of one problem.

    Attributes:
        name: of the distance, in tables and pictures.
        metric: its name in `ExactMetrics`.
        goals: from the farthest to the nearest.
        chunk: steps before the first measurement, and at least between two.
    """

    name: str
    metric: str
    goals: tuple[float, ...]
    chunk: int


_TV = Measure("TV", "total_variation", (0.2, 0.1, 0.05), 250)

MEASURES: dict[str, Measure] = {
    "grid-tb": _TV,
    "grid-db": _TV,
    "grid-subtb": _TV,
    "grid-8x8": _TV._replace(chunk=25),
    "dag": Measure("JSD", "jsd", (0.1, 0.05, 0.02), 50),
    "tfbind8": _TV._replace(chunk=100),
    "qm9-small": _TV._replace(chunk=100),
}


class Gauge(NamedTuple):
    """`distance(logits [S, actions])` of a policy; `states` `[S, ...]` are those of the logits."""

    states: np.ndarray
    distance: Callable[[np.ndarray], float]


def make_gauge(env: Any, metric: str) -> Gauge:
    """Of an enumerable environment.

    Logits are -inf where an action is not allowed: `distance` raises a `ValueError` where these
    are other actions than the environment's, as they are in another order of states or actions.
    """
    graph = state_graph.build_graph(env)
    index = np.flatnonzero(~np.asarray(graph.terminal)).astype(np.int32)
    mask = np.asarray(graph.forward_mask)[index]

    def distance(logits: np.ndarray) -> float:
        if not np.array_equal(logits > -np.inf, mask):
            raise ValueError("these are logits of other actions than the environment allows")
        table = np.zeros(graph.forward_mask.shape, np.float32)
        table[index] = np.where(mask, logits, 0.0)
        log_pf = masking.log_softmax(jnp.asarray(table), graph.forward_mask)
        return float(getattr(exact.evaluate(graph, log_pf), metric))

    return Gauge(np.asarray(jax.vmap(env.state_at)(index)[0]), distance)


def state_of(env: Any, row: jax.Array) -> Any:
    """The state that is written as `row` in `Gauge.states`."""
    empty = env.initial_state()
    if isinstance(empty, DAGState):
        return DAGState(row, transposed_closure(row), empty.stopped)
    return empty._replace(**{empty._fields[0]: row})
