"""When two numberings are one graph: automorphisms and canonical forms, by all permutations."""

from functools import lru_cache
from itertools import permutations

import jax.numpy as jnp
import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.types import Array

# 7! = 5,040 permutations of a matrix are looked at for each graph.
MAX_NODES = 7


def check_num_nodes(num_nodes: int) -> None:
    """Raise a `ValueError` where graphs have too many nodes for all permutations."""
    if num_nodes > MAX_NODES:
        raise ArgumentError(
            "num_nodes",
            f"must be at most {MAX_NODES} where numberings of one graph are told to be one, "
            f"got {num_nodes}",
            "set labelled=True",
        )


@lru_cache(maxsize=MAX_NODES)
def _all(num_nodes: int) -> np.ndarray:
    """`[n!, n]` int32, the identity first."""
    return np.array(list(permutations(range(num_nodes))), np.int32).reshape(-1, num_nodes)


def _numberings(nodes: Array, edges: Array) -> tuple[Array, Array]:
    """`[n!, n]` and `[n!, n, n]`: nodes and edges with the nodes in every order."""
    orders = jnp.asarray(_all(nodes.size))
    return nodes[orders], edges[orders[:, :, None], orders[:, None, :]]


def log_automorphisms(nodes: Array, edges: Array) -> Array:
    """`[]` nats, of how many permutations of the nodes leave classes and edges as they are.

    Args:
        nodes: `[n]` int32, -1 where there is none: of these nothing is counted.
        edges: `[n, n]` int32, -1 where there is none.
    """
    moved_nodes, moved_edges = _numberings(nodes, edges)
    same = (moved_nodes == nodes[None]).all(axis=1)
    same &= (moved_edges == edges[None]).all(axis=(1, 2))
    # What is not there is permuted in all ways as well.
    absent = (nodes < 0).sum(dtype=jnp.int32)
    return jnp.log(same.sum(dtype=jnp.int32).astype(jnp.result_type(float))) - log_factorial(
        absent, nodes.size
    )


def log_factorial(count: Array, most: int) -> Array:
    """`[]` log count!, for `count` `[]` int32 up to `most`."""
    logs = np.cumsum(np.log(np.maximum(np.arange(most + 1), 1)))
    return jnp.asarray(logs, jnp.result_type(float))[count]


def canonical(nodes: Array, edges: Array) -> tuple[Array, Array]:
    """Nodes `[n]` and edges `[n, n]` in the order that comes last in lexicographic order.

    Absent nodes are the last then.
    """
    moved_nodes, moved_edges = _numberings(nodes, edges)
    numbers = jnp.concatenate([moved_nodes, moved_edges.reshape(len(moved_nodes), -1)], axis=1)
    best = jnp.ones(len(numbers), bool)
    for column in numbers.T:
        best &= column == jnp.where(best, column, -2).max()
    chosen = jnp.argmax(best)
    return moved_nodes[chosen], moved_edges[chosen]
