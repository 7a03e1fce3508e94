"""Directed acyclic graphs: add one edge at a time and stop anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.data import absolute, read_matrix
from gfnjax.envs.drawing import Panel
from gfnjax.envs.graph_drawing import Lines, circle, counted, draw_graph
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.dag_data import erdos_renyi_dag, linear_gaussian_data
from gfnjax.rewards.dags import UNIFORM, EdgePrior, posterior
from gfnjax.rewards.gaussian_networks import bge, linear_gaussian
from gfnjax.types import Array

MAX_ENUMERATED_NODES = 6


class DAGState(NamedTuple):
    """A graph over d nodes.

    Attributes:
        adjacency: `[d, d]` bool, `adjacency[u, v]` is the edge u -> v.
        closure: `[d, d]` bool, the reflexive transitive closure of the transpose:
            `closure[u, v]` says that v leads to u, so that u -> v would close a cycle.
        stopped: `[]` bool.
    """

    adjacency: Array
    closure: Array
    stopped: Array


@pytree
class DAGs(Comparable):
    """All DAGs over d labelled nodes, each also as a terminal copy (Deleu et al., 2202.13903).

    Action u * d + v adds the edge u -> v where it keeps the graph acyclic, action d^2 stops;
    backward actions undo the forward action of the same number. The observation is the adjacency
    matrix `[d, d]` as floats. The reward is defined on every graph, so it is the partial reward
    too. With d nodes the longest trajectory has d(d-1)/2 + 1 steps; up to 6 nodes the states can
    be enumerated.

    Args:
        num_nodes: d, at least 1.
        reward: callable pytree `adjacency [d, d] bool -> log R`, or a plain function of the same
            form; `gfnjax.rewards.dags.posterior` makes one from data.

    Raises:
        ValueError: if `num_nodes` is out of range.
    """

    num_nodes: int = static()
    reward: Callable[[Array], Array]

    def __post_init__(self) -> None:
        settle(self, num_nodes=1)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_actions(self) -> int:
        return self.num_nodes**2 + 1

    @property
    def num_backward_actions(self) -> int:
        return self.num_nodes**2 + 1

    @property
    def max_steps(self) -> int:
        return comb(self.num_nodes, 2) + 1

    def initial_state(self) -> DAGState:
        shape = self.num_nodes, self.num_nodes
        return DAGState(
            jnp.zeros(shape, bool), jnp.eye(self.num_nodes, dtype=bool), jnp.array(False)
        )

    def step(self, state: DAGState, action: Array) -> DAGState:
        edge = self._edge(action) & ~state.stopped
        # Whatever leads to u now leads to whatever v leads to.
        before = (state.closure & edge.any(axis=1)[:, None]).any(axis=0)
        after = (state.closure & edge.any(axis=0)[None, :]).any(axis=1)
        return DAGState(
            state.adjacency | edge,
            state.closure | (after[:, None] & before[None, :]),
            state.stopped | (action == self.num_nodes**2),
        )

    def backward_step(self, state: DAGState, backward_action: Array) -> DAGState:
        resumed = backward_action == self.num_nodes**2
        adjacency = state.adjacency & ~(self._edge(backward_action) & ~state.stopped)
        return DAGState(adjacency, transposed_closure(adjacency), state.stopped & ~resumed)

    def forward_mask(self, state: DAGState) -> Array:
        edges = ~state.adjacency & ~state.closure
        return jnp.append(edges.reshape(-1), True) & ~state.stopped

    def backward_mask(self, state: DAGState) -> Array:
        return jnp.append(state.adjacency.reshape(-1) & ~state.stopped, state.stopped)

    def backward_action(self, state: DAGState, action: Array) -> Array:
        return action

    def forward_action(self, state: DAGState, backward_action: Array) -> Array:
        return backward_action

    def is_terminal(self, state: DAGState) -> Array:
        return state.stopped

    def observe(self, state: DAGState) -> Array:
        return state.adjacency.astype(jnp.result_type(float))

    def log_reward(self, state: DAGState) -> Array:
        return self.reward(state.adjacency)

    def log_partial_reward(self, state: DAGState) -> Array:
        return self.reward(state.adjacency)

    def parts(self, state: DAGState) -> Array:
        return state.adjacency

    @property
    def stop_action(self) -> int:
        return self.num_nodes**2

    @property
    def num_states(self) -> int:
        return 2 * num_dags(self.num_nodes)

    def state_index(self, state: DAGState) -> Array:
        codes = dag_codes(self.num_nodes)
        bits = state.adjacency[np.nonzero(~np.eye(self.num_nodes, dtype=bool))]
        place = jnp.asarray(1 << np.arange(bits.size), jnp.int32)
        code = jnp.where(bits, place, 0).sum(dtype=jnp.int32)
        index = jnp.searchsorted(jnp.asarray(codes), code).astype(jnp.int32)
        return index + jnp.where(state.stopped, codes.size, 0)

    def state_at(self, index: Array) -> DAGState:
        codes = dag_codes(self.num_nodes)
        off_diagonal = np.nonzero(~np.eye(self.num_nodes, dtype=bool))
        code = jnp.asarray(codes)[index % codes.size]
        bits = (code >> jnp.arange(off_diagonal[0].size, dtype=jnp.int32)) & 1
        shape = self.num_nodes, self.num_nodes
        adjacency = jnp.zeros(shape, bool).at[off_diagonal].set(bits == 1)
        return DAGState(adjacency, transposed_closure(adjacency), index >= codes.size)

    def render(self, states: DAGState, weights: np.ndarray) -> tuple[Panel, ...]:
        edges = np.einsum("n,nuv->uv", weights, np.asarray(states.adjacency, float))
        return (Panel(edges, "child", "parent", "probability of the edge"),)

    def draw(self, axes: Any, state: DAGState) -> None:
        """Draw a graph on a matplotlib axes, its nodes always in the same places."""
        edges = np.argwhere(state.adjacency)
        names = [str(node) for node in range(self.num_nodes)]
        draw_graph(axes, circle(self.num_nodes), [Lines(edges)], names=names, directed=True)
        axes.set_title(counted(len(edges), "edge"))

    def _edge(self, action: Array) -> Array:
        """`[d, d]` True at the edge that an action adds; all False for stop."""
        edges = jnp.arange(self.num_nodes**2, dtype=jnp.int32) == action
        return edges.reshape(self.num_nodes, self.num_nodes)


def transposed_closure(adjacency: Array) -> Array:
    """`[d, d]` bool: whether v leads to u, by a path of any length, zero included.

    Paths of length at most 2^k come from k squarings of I + A^T.
    """
    num_nodes = adjacency.shape[-1]
    closure = adjacency.T | jnp.eye(num_nodes, dtype=bool)
    for _ in range(max(num_nodes - 1, 1).bit_length()):
        closure = (closure[:, :, None] & closure[None, :, :]).any(axis=1)
    return closure


def num_dags(num_nodes: int) -> int:
    """The number of labelled DAGs: 1, 3, 25, 543, 29281, ...

    a(n) = sum_{k=1..n} (-1)^(k+1) C(n, k) 2^(k (n-k)) a(n-k), a(0) = 1: inclusion and exclusion
    over the nodes without parents (Robinson, 1973).
    """
    counts = [1]
    for n in range(1, num_nodes + 1):
        terms = (
            (-1) ** (k + 1) * comb(n, k) * 2 ** (k * (n - k)) * counts[n - k]
            for k in range(1, n + 1)
        )
        counts.append(sum(terms))
    return counts[num_nodes]


@lru_cache(maxsize=8)
def dag_codes(num_nodes: int) -> np.ndarray:
    """`[num_dags]` sorted int32 bit codes of all DAGs, off-diagonal entries in row order.

    A DAG over n nodes is a DAG over the first n - 1, and parents and children of the last node
    such that no child leads to a parent.

    Raises:
        ValueError: for more than 6 nodes.
    """
    if num_nodes > MAX_ENUMERATED_NODES:
        raise ArgumentError(
            "num_nodes",
            f"must be at most {MAX_ENUMERATED_NODES} to enumerate all DAGs, got {num_nodes}",
        )
    if num_nodes == 1:
        return np.zeros(1, np.int32)
    smaller = _rows(dag_codes(num_nodes - 1), num_nodes - 1)
    descendants = _descendants(smaller)
    last = num_nodes - 1
    codes = []
    for parents in range(1 << last):
        for children in range(1 << last):
            reached = np.zeros(len(smaller), np.int64)
            for node in range(last):
                if children >> node & 1:
                    reached |= descendants[:, node]
            good = smaller[reached & parents == 0]
            rows = [good[:, u] | ((parents >> u & 1) << last) for u in range(last)]
            codes.append(_code([*rows, np.full(len(good), children)]))
    return np.sort(np.concatenate(codes)).astype(np.int32)


def _rows(codes: np.ndarray, num_nodes: int) -> np.ndarray:
    """`[n, d]` adjacency rows as bit masks, the empty diagonal put back in."""
    wide = codes.astype(np.int64)[:, None]
    nodes = np.arange(num_nodes)
    row = wide >> (nodes * (num_nodes - 1)) & ((1 << (num_nodes - 1)) - 1)
    below = row & ((1 << nodes) - 1)
    return below | (row - below) << 1


def _code(rows: list[np.ndarray]) -> np.ndarray:
    """The inverse of `_rows`."""
    code = np.zeros_like(rows[0])
    for node, row in enumerate(rows):
        below = row & ((1 << node) - 1)
        code |= (below | (row >> (node + 1)) << node) << (node * (len(rows) - 1))
    return code


def _descendants(rows: np.ndarray) -> np.ndarray:
    """`[n, d]` bit masks of the nodes each node leads to, itself included."""
    num_nodes = rows.shape[1]
    reach = rows | (1 << np.arange(num_nodes))
    for via in range(num_nodes):
        through = (reach >> via & 1).astype(bool)
        reach = np.where(through, reach | reach[:, [via]], reach)
    return reach


# The literature trains a graph network for 100,000 steps of batch 128 at 1e-4; with 5 nodes an MLP
# gets there sooner (`--network graph` is there for more).
@registry.environment(
    "dag",
    summary="the posterior over Bayesian networks, of synthetic data or your own (--data)",
    defaults={
        "objective": "mdb",
        "backward": "uniform",
        "regression": "huber",
        "steps": 8_000,
        "chunk_size": 500,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "final_learning_rate": 6e-5,
        "epsilon": 1.0,
        "final_epsilon": 0.1,
        "epsilon_share": 0.5,
    },
)
@dataclass(frozen=True)
class DAGConfig:
    """The posterior over Bayesian networks, given data."""

    num_nodes: int = 5
    """variables of the synthetic data; with --data, its columns count"""
    score: Literal["bge", "linear-gaussian"] = "bge"
    """marginal likelihood of the data given a graph"""
    prior: Literal["uniform", "edge"] = "uniform"
    """every graph alike, or every edge with probability edge_probability"""
    edge_probability: float = 0.2
    """of the edge prior"""
    data: str | None = None
    """.npy, .npz, .csv, .tsv or .parquet file, a row a sample and a column a variable;
    synthetic without"""
    standardise: bool = False
    """give every variable mean 0 and variance 1 first"""
    edges_per_node: float = 1.0
    """expected edges of the random graph behind synthetic data"""
    num_samples: int = 100
    """rows of synthetic data"""
    data_seed: int = 0
    """of synthetic data"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))

    def make(self) -> DAGs:
        rows = self._synthetic() if self.data is None else read_matrix(self.data)
        likelihood = {"bge": bge, "linear-gaussian": linear_gaussian}[self.score](
            rows, standardise=self.standardise
        )
        prior = UNIFORM if self.prior == "uniform" else EdgePrior(self.edge_probability)
        return DAGs(rows.shape[1], posterior(likelihood, prior))

    def _synthetic(self) -> np.ndarray:
        graph_key, data_key = jax.random.split(jax.random.key(self.data_seed))
        graph = erdos_renyi_dag(graph_key, self.num_nodes, self.edges_per_node)
        return np.asarray(linear_gaussian_data(data_key, graph, self.num_samples).data)
