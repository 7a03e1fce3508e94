"""Rewards of graphs with classes: callable pytrees `(nodes, edges) -> log R` in nats.

`nodes` `[n]` int32 are classes of nodes, -1 where there is none; `edges` `[n, n]` int32 classes of
edges, -1 where there is none, symmetric where graphs are undirected. They must not depend on the
numbers of the nodes.
"""

from typing import Any

import jax.numpy as jnp

from gfnjax.pytree import pytree, static
from gfnjax.types import Array


@pytree
class Even:
    """R = 1: all graphs alike."""

    def __call__(self, nodes: Array, edges: Array) -> Array:
        return jnp.zeros((), jnp.result_type(float))


@pytree
class Triangles:
    """log R = weight times the number of triangles, directed cycles of three if `directed`."""

    weight: Any = 1.0
    directed: bool = static(default=False)

    def __call__(self, nodes: Array, edges: Array) -> Array:
        there = (edges >= 0).astype(jnp.result_type(float))
        walks = jnp.trace(there @ there @ there)
        # Each is walked from three nodes, and both ways round where edges have no direction.
        return self.weight * walks / (3.0 if self.directed else 6.0)


@pytree
class Ring:
    """log R = weight where the graph is one cycle through all of its nodes, at least three; 0 else.

    A directed cycle if `directed`.
    """

    weight: Any = 4.0
    directed: bool = static(default=False)

    def __call__(self, nodes: Array, edges: Array) -> Array:
        present, there = nodes >= 0, edges >= 0
        degree = 1 if self.directed else 2
        leaving, coming = (there.sum(axis=i, dtype=jnp.int32) for i in (1, 0))
        regular = (jnp.where(present, leaving, degree) == degree).all()
        regular &= (jnp.where(present, coming, degree) == degree).all()
        whole = _reached(there) == present.sum(dtype=jnp.int32)
        ring = regular & whole & (present.sum(dtype=jnp.int32) >= 3)
        return jnp.where(ring, jnp.asarray(self.weight, jnp.result_type(float)), 0.0)


def _reached(there: Array) -> Array:
    """`[]` int32, how many nodes lie on paths from the first one, itself included."""
    num_nodes = there.shape[0]
    reach = there | jnp.eye(num_nodes, dtype=bool)
    for _ in range(num_nodes.bit_length()):
        reach = (reach[:, :, None] & reach[None]).any(axis=1)
    return reach[0].sum(dtype=jnp.int32)
