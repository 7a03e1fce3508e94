"""Graphs built of nodes and edges of classes; all numberings of a graph are one object."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs import graph_symmetry
from gfnjax.envs.base import check_indexable
from gfnjax.envs.drawing import INK, Panel, histogram
from gfnjax.envs.graph_drawing import CLASSES, Lines, counted, draw_graph, spread_out
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.graph_building import Even, Ring, Triangles
from gfnjax.types import Array


class BuiltGraph(NamedTuple):
    """A graph over the first m of at most n nodes.

    Attributes:
        nodes: `[n]` int32 classes, -1 where there is no node yet.
        edges: `[P]` int32 classes of the edges between all pairs, -1 where there is none.
        stopped: `[]` bool.
    """

    nodes: Array
    edges: Array
    stopped: Array


@pytree
class GraphBuilding(Comparable):
    """Graphs of at most n nodes: add a node or an edge of some class, or stop.

    The next node gets the next number, and is taken back only while it is the last one and has no
    edges: then every step has one that undoes it. Of C node classes, E edge classes and P pairs of
    nodes,

        action c < C            adds a node of class c        backward P      takes the last back
        action C + e P + p      adds an edge of class e       backward p      takes it back
        action C + E P          stops                         backward P + 1  resumes

    A graph of m nodes has m! / |Aut| numberings, all of them states: the environment is
    `Symmetric`, so that graphs are sampled in proportion to R, whatever their symmetry, and
    `Canonical`. With `labelled` the nodes are told apart and every state is an object of its own.
    With `fixed_nodes` all n nodes of class 0 are there from the start: there are no actions for
    nodes, forward or backward.

    The reward is defined on every graph, so it is the partial reward too. The observation is a
    one-hot vector of the class, or absence, of each node and of each edge.

    Args:
        num_nodes: n, at most 7 unless `labelled`.
        num_node_classes: C.
        num_edge_classes: E.
        reward: callable pytree `(nodes [n], edges [n, n]) -> log R`, or any function of that form;
            see `gfnjax.rewards.graph_building`.
        directed: whether u -> v and v -> u are two edges.
        labelled: whether numberings of one graph are different objects.
        fixed_nodes: whether there are edges alone to be added.

    Raises:
        ValueError: for sizes out of range or that do not go together, and for a reward of directed
            graphs where these are undirected, or the other way round.
    """

    num_nodes: int = static()
    num_node_classes: int = static(default=1)
    num_edge_classes: int = static(default=1)
    reward: Callable[[Array, Array], Array] = Even()
    directed: bool = static(default=False)
    labelled: bool = static(default=False)
    fixed_nodes: bool = static(default=False)

    def __post_init__(self) -> None:
        settle(self, num_nodes=2, num_node_classes=1, num_edge_classes=1)
        if not self.labelled:
            graph_symmetry.check_num_nodes(self.num_nodes)
        if self.fixed_nodes and self.num_node_classes > 1:
            raise ArgumentError("num_node_classes", "must be 1 with {fixed_nodes}")
        reward: Any = self.reward
        if isinstance(reward, Triangles | Ring) and reward.directed != self.directed:
            kind = type(reward).__name__
            problem = f"must have directed={self.directed} as the graphs have"
            raise ArgumentError("reward", problem, f"use {kind}(directed={self.directed})")
        object.__setattr__(self, "reward", as_node(reward))

    @property
    def _node_actions(self) -> int:
        return 0 if self.fixed_nodes else self.num_node_classes

    @property
    def num_pairs(self) -> int:
        return len(pairs(self.num_nodes, self.directed))

    @property
    def num_actions(self) -> int:
        return self._node_actions + self.num_edge_classes * self.num_pairs + 1

    @property
    def num_backward_actions(self) -> int:
        return self.num_pairs + 1 + (not self.fixed_nodes)

    @property
    def max_steps(self) -> int:
        return self.num_pairs + 1 + (0 if self.fixed_nodes else self.num_nodes)

    def initial_state(self) -> BuiltGraph:
        first = 0 if self.fixed_nodes else -1
        nodes = jnp.full(self.num_nodes, first, jnp.int32)
        return BuiltGraph(nodes, jnp.full(self.num_pairs, -1, jnp.int32), jnp.zeros((), bool))

    def step(self, state: BuiltGraph, action: Array) -> BuiltGraph:
        live = ~state.stopped
        place, edge = self._numbers(), action - self._node_actions
        new = (place == self._count(state)) & (action < self._node_actions) & live
        here = (self._pair_numbers() == edge % self.num_pairs) & (edge >= 0) & live
        here &= edge < self.num_edge_classes * self.num_pairs
        return BuiltGraph(
            jnp.where(new, action, state.nodes).astype(jnp.int32),
            jnp.where(here, edge // self.num_pairs, state.edges).astype(jnp.int32),
            state.stopped | (action == self.stop_action),
        )

    def backward_step(self, state: BuiltGraph, backward_action: Array) -> BuiltGraph:
        live = ~state.stopped
        gone = (self._pair_numbers() == backward_action) & live
        last = self._numbers() == self._count(state) - 1
        node = jnp.asarray(not self.fixed_nodes) & (backward_action == self.num_pairs) & live
        return BuiltGraph(
            jnp.where(last & node, -1, state.nodes),
            jnp.where(gone, -1, state.edges),
            state.stopped & (backward_action != self.num_backward_actions - 1),
        )

    def forward_mask(self, state: BuiltGraph) -> Array:
        count = self._count(state)
        free = self._present(count) & (state.edges < 0)
        room = jnp.full(self._node_actions, count < self.num_nodes)
        edges = jnp.tile(free, self.num_edge_classes)
        return jnp.concatenate([room, edges, (count > 0)[None]]) & ~state.stopped

    def backward_mask(self, state: BuiltGraph) -> Array:
        count = self._count(state)
        of_last = self._present(count) & ~self._present(count - 1)
        bare = (count > 0) & ~(of_last & (state.edges >= 0)).any()
        node = jnp.full(0 if self.fixed_nodes else 1, bare)
        undoable = jnp.concatenate([state.edges >= 0, node]) & ~state.stopped
        return jnp.append(undoable, state.stopped)

    def backward_action(self, state: BuiltGraph, action: Array) -> Array:
        edge = (action - self._node_actions) % self.num_pairs
        undo = jnp.where(action < self._node_actions, self.num_pairs, edge)
        stops = action == self.stop_action
        return jnp.where(stops, self.num_backward_actions - 1, undo).astype(jnp.int32)

    def forward_action(self, state: BuiltGraph, backward_action: Array) -> Array:
        pair = jnp.minimum(backward_action, self.num_pairs - 1)
        edge = jnp.maximum(state.edges[pair], 0) * self.num_pairs + pair + self._node_actions
        last = jnp.maximum(state.nodes[jnp.maximum(self._count(state) - 1, 0)], 0)
        action = jnp.where(backward_action == self.num_pairs, last, edge)
        resumes = backward_action == self.num_backward_actions - 1
        return jnp.where(resumes, self.stop_action, action).astype(jnp.int32)

    def is_terminal(self, state: BuiltGraph) -> Array:
        return state.stopped

    def observe(self, state: BuiltGraph) -> Array:
        nodes = jax.nn.one_hot(state.nodes + 1, self.num_node_classes + 1)
        edges = jax.nn.one_hot(state.edges + 1, self.num_edge_classes + 1)
        return jnp.concatenate([nodes.reshape(-1), edges.reshape(-1)])

    def log_reward(self, state: BuiltGraph) -> Array:
        return self.reward(state.nodes, self.matrix(state))

    def log_partial_reward(self, state: BuiltGraph) -> Array:
        return self.log_reward(state)

    def matrix(self, state: BuiltGraph) -> Array:
        """`[n, n]` int32 classes of edges u -> v, -1 where there is none."""
        tail, head = pairs(self.num_nodes, self.directed).T
        shape = self.num_nodes, self.num_nodes
        found = jnp.full(shape, -1, jnp.int32).at[tail, head].set(state.edges)
        return found if self.directed else found.at[head, tail].set(state.edges)

    def log_multiplicity(self, state: BuiltGraph) -> Array:
        """`[]` log(m! / |Aut|), nats; 0 where nodes are labelled."""
        if self.labelled:
            return jnp.zeros((), jnp.result_type(float))
        orders = graph_symmetry.log_factorial(self._count(state), self.num_nodes)
        return orders - graph_symmetry.log_automorphisms(state.nodes, self.matrix(state))

    def canonical(self, state: BuiltGraph) -> BuiltGraph:
        if self.labelled:
            return state
        nodes, matrix = graph_symmetry.canonical(state.nodes, self.matrix(state))
        tail, head = pairs(self.num_nodes, self.directed).T
        return BuiltGraph(nodes, matrix[tail, head], state.stopped)

    @property
    def stop_action(self) -> int:
        return self.num_actions - 1

    @property
    def num_states(self) -> int:
        return 2 * int(self._starts()[-1]) - self._empty

    @property
    def _empty(self) -> int:
        """How many graphs there are that one cannot stop with: the one without nodes."""
        return 0 if self.fixed_nodes else 1

    def state_index(self, state: BuiltGraph) -> Array:
        check_indexable(self)
        count, starts = self._count(state), jnp.asarray(self._starts(), jnp.int32)
        digits = jnp.concatenate([jnp.maximum(state.nodes, 0), state.edges + 1])
        bases = self._places(count)
        index = starts[count] + (digits * bases).sum(dtype=jnp.int32)
        last = int(self._starts()[-1]) - self._empty
        return index + jnp.where(state.stopped, last, 0).astype(jnp.int32)

    def state_at(self, index: Array) -> BuiltGraph:
        check_indexable(self)
        starts = self._starts()
        stopped = index >= int(starts[-1])
        index = index - jnp.where(stopped, int(starts[-1]) - self._empty, 0).astype(jnp.int32)
        after = jnp.asarray(starts[1:], jnp.int32) <= index
        count = after.sum(dtype=jnp.int32)
        code = index - jnp.asarray(starts, jnp.int32)[count]
        places = jnp.maximum(self._places(count), 1)
        classes = np.repeat(
            [self.num_node_classes, self.num_edge_classes + 1], [self.num_nodes, self.num_pairs]
        )
        digits = code // places % jnp.asarray(classes, jnp.int32)
        nodes = jnp.where(self._numbers() < count, digits[: self.num_nodes], -1)
        edges = jnp.where(self._present(count), digits[self.num_nodes :] - 1, -1)
        return BuiltGraph(nodes, edges, stopped)

    def render(self, states: BuiltGraph, weights: np.ndarray) -> tuple[Panel, ...]:
        """How many nodes and how many edges there are."""
        nodes = (np.asarray(states.nodes) >= 0).sum(axis=1)
        edges = (np.asarray(states.edges) >= 0).sum(axis=1)
        shown = (histogram(edges, weights, "edges"),)
        return shown if self.fixed_nodes else (histogram(nodes, weights, "nodes"), *shown)

    def draw(self, axes: Any, state: BuiltGraph) -> None:
        """Draw a graph on a matplotlib axes, classes of nodes and of edges by colour."""
        nodes = np.asarray(state.nodes)[: int(self._count(state))]
        matrix = np.asarray(self.matrix(state))[: len(nodes), : len(nodes)]
        there = (matrix >= 0) | (matrix.T >= 0)
        shown = matrix if self.directed else np.triu(matrix + 1) - 1
        edge_colours = CLASSES if self.num_edge_classes > 1 else (INK,)
        lines = [
            Lines(np.argwhere(shown == kind), edge_colours[kind % len(edge_colours)])
            for kind in range(self.num_edge_classes)
        ]
        colours = [CLASSES[kind % len(CLASSES)] for kind in nodes]
        names = [str(node) for node in range(len(nodes))] if self.labelled else []
        places = spread_out(there)
        draw_graph(axes, places, lines, colours, names, self.directed)
        num_edges = int((shown >= 0).sum())
        axes.set_title(f"{counted(len(nodes), 'node')}, {counted(num_edges, 'edge')}")

    def _count(self, state: BuiltGraph) -> Array:
        return (state.nodes >= 0).sum(dtype=jnp.int32)

    def _numbers(self) -> Array:
        return jnp.arange(self.num_nodes, dtype=jnp.int32)

    def _pair_numbers(self) -> Array:
        return jnp.arange(self.num_pairs, dtype=jnp.int32)

    def _present(self, count: Array) -> Array:
        """`[P]` bool, the pairs among the first `count` nodes."""
        return jnp.asarray(pairs(self.num_nodes, self.directed).max(axis=1)) < count

    def _starts(self) -> np.ndarray:
        """`[n + 2]` where the indices of graphs of each number of nodes start, and their end."""
        counts = range(self.num_nodes + 1)
        pairs_of = [len(pairs(m, self.directed)) for m in counts]
        sizes = [
            self.num_node_classes**m * (self.num_edge_classes + 1) ** p
            for m, p in zip(counts, pairs_of, strict=True)
        ]
        if self.fixed_nodes:
            sizes = [0] * self.num_nodes + sizes[-1:]
        return np.array([sum(sizes[:i]) for i in range(len(sizes) + 1)], object)

    def _places(self, count: Array) -> Array:
        """`[n + P]` int32, what each digit of a graph of `count` nodes counts for."""
        rows = []
        for m in range(self.num_nodes + 1):
            num_edges = len(pairs(m, self.directed))
            edges = [(self.num_edge_classes + 1) ** i for i in range(num_edges)]
            whole = (self.num_edge_classes + 1) ** num_edges
            nodes = [whole * self.num_node_classes**i for i in range(m)]
            empty = [0] * (self.num_nodes - m), [0] * (self.num_pairs - num_edges)
            rows.append(nodes + empty[0] + edges + empty[1])
        return jnp.asarray(np.array(rows), jnp.int32)[count]


@lru_cache(maxsize=64)
def pairs(num_nodes: int, directed: bool) -> np.ndarray:
    """`[P, 2]` int32 (u, v) of all edges; those among the first m nodes are the first ones."""
    found = [(u, v) for v in range(num_nodes) for u in range(v)]
    if directed:
        found = [edge for u, v in found for edge in ((u, v), (v, u))]
    return np.array(found, np.int32).reshape(-1, 2)


@registry.environment(
    "graphs",
    summary="graphs built of nodes and edges of some classes, sampled whatever their symmetry",
    defaults={"steps": 3_000, "batch_size": 64, "final_learning_rate": 1e-5},
)
@dataclass(frozen=True)
class GraphBuildingConfig:
    """Graphs of at most num_nodes nodes, each in proportion to its reward."""

    num_nodes: int = 4
    """at most"""
    num_node_classes: int = 1
    """kinds of nodes"""
    num_edge_classes: int = 1
    """kinds of edges"""
    reward: Literal["even", "triangles", "ring"] = "triangles"
    """all alike, exp(weight) a triangle, or exp(weight) for one cycle through all nodes"""
    weight: float = 1.0
    """of triangles and rings"""
    directed: bool = False
    """edges have a direction"""
    labelled: bool = False
    """nodes have names: numberings of one graph are different objects"""
    fixed_nodes: bool = False
    """start with all nodes, add edges alone"""

    def make(self) -> GraphBuilding:
        rewards = {"triangles": Triangles, "ring": Ring}
        even = self.reward == "even"
        reward = Even() if even else rewards[self.reward](self.weight, self.directed)
        sizes = self.num_nodes, self.num_node_classes, self.num_edge_classes
        return GraphBuilding(*sizes, reward, self.directed, self.labelled, self.fixed_nodes)
