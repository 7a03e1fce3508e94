"""Graph problems on the command line: which graphs, at which temperature."""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.data import absolute, graphs, read_matrix
from gfnjax.data.graphs import PaddedGraphs, Sizes
from gfnjax.envs.graph_problems import graph_problem
from gfnjax.envs.tempered import tempered
from gfnjax.errors import ArgumentError, require
from gfnjax.types import Array

Family = Literal[
    "er", "ba", "rb", "rb-small", "path", "cycle", "grid", "cube", "petersen", "dodecahedron"
]
DRAWN = "er", "ba"
RANDOM = *DRAWN, "rb", "rb-small"
NUM_NODES, NUM_GRAPHS = 24, 200

# What a short run on two cores gets far with.
NETWORK = "gin"
DEFAULTS = {
    "objective": "fl-subtb",
    "network": NETWORK,
    "backward": "uniform",
    "steps": 1_500,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "final_learning_rate": 4e-5,
    "epsilon": 0.1,
    "final_epsilon": 0.0,
    "epsilon_share": 0.5,
    "evaluation_samples": 500,
}


# Graphs of 100 nodes by what is learned on smaller ones, which is less work: nodes have no names,
# and a group of trajectories of one graph needs no flows, which would grow with it. Dominating sets
# stay behind greed.
LARGE = {
    "objective": "vargrad-group",
    "group_size": 8,
    "tempered_share": 0.0,
    "steps": 1_000,
    "epsilon": 0.0,
    "gin": {"width": 32},
}
LARGE_GRAPHS = {"family": "ba", "num_nodes": 40, "num_links": 4, "held_out_nodes": 100}


def _registered(name: str, summary: str, beta: float = 4.0, large_beta: float = 8.0) -> Any:
    large = LARGE | {name: LARGE_GRAPHS | {"beta": large_beta}}
    return registry.environment(
        name,
        summary=summary,
        values={"problem": name, "beta": beta},
        fixed={"problem": name} | ({"maximal": True} if name == "max-cut" else {}),
        defaults=dict(DEFAULTS),
        variants={"small": {}, "large": large},
    )


@_registered("independent-set", "sets of nodes without an edge in between, the more the better")
@_registered("clique", "sets of nodes with all edges in between, the more the better")
@_registered("dominating-set", "sets of nodes next to all others, the fewer the better")
@_registered("max-cut", "two sides, the more edges in between the better", 2.0, 4.0)
@dataclass(frozen=True)
class GraphConfig:
    """A problem on random graphs, on a named one or on your own (--graph)."""

    problem: str = "independent-set"
    """which"""
    family: Family = "er"
    """random graphs (er: Erdos-Renyi, ba: Barabasi-Albert, rb: Model RB), or one with a name"""
    graph: str | None = None
    """.npy, .npz, .csv, .tsv or .parquet file with an adjacency matrix, instead of a family"""
    num_nodes: int | None = None
    """of each graph; 24, or what a named one has"""
    num_graphs: int | None = None
    """to train on; 200, each trajectory draws one; one that has a name"""
    held_out: int = 16
    """graphs that solutions are reported of after training, where there are several"""
    held_out_nodes: int | None = None
    """of each graph held out; as many as of those to train on"""
    graph_seed: int = 0
    """of random graphs"""
    probability: float = 0.2
    """of an edge (er)"""
    num_links: int = 3
    """of each new node (ba)"""
    num_cliques: int = 6
    """that a graph is made of (rb)"""
    clique_size: int = 4
    """of each (rb)"""
    beta: float = 4.0
    """inverse temperature: log R = beta * score"""
    first_beta: float | None = None
    """where beta starts, to rise in a straight line"""
    beta_steps: int = 500
    """steps until it is there (first_beta)"""
    maximal: bool = True
    """sets that cannot be made larger (or smaller); without, stop anywhere"""
    num_solutions: int = 20
    """of each graph that is reported"""
    solver_seconds: float = 2.0
    """for HiGHS to prove the optimum of a graph that is reported; 0 for none"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", absolute(self.graph))
        for name, least in (("num_nodes", 1), ("num_graphs", 1), ("held_out_nodes", 1)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, value, least))
        for name, least in (("held_out", 2), ("beta_steps", 1), ("num_solutions", 1)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        several = self.graph is None and self.family in DRAWN and self.num_graphs != 1
        if self.held_out_nodes is not None and not several:
            problem = "needs several random graphs, of a family whose size is free (er, ba)"
            raise ArgumentError("held_out_nodes", problem)
        seconds = self.solver_seconds
        require(seconds >= 0, "solver_seconds", "must not be negative", seconds)
        first = self.first_beta
        valid = first is None or 0 < first <= self.beta
        require(valid, "first_beta", f"must be in (0, beta = {self.beta}]", first)

    def make(self) -> Any:
        problem = self._problem(self._graphs()[0])
        if self.first_beta is None:
            return problem
        return tempered(problem, Partial(_rising, self.first_beta / self.beta, self.beta_steps))

    def reported(self) -> Any:
        """The problem on the graphs held out, or on the only one."""
        return self._problem(self._graphs()[1])

    def check_network(self, name: str) -> None:
        """Raise a `ValueError` for a network that does not fit graphs of another size."""
        if self.held_out_nodes not in (None, self.num_nodes or NUM_NODES) and name != NETWORK:
            problem = f"needs a network for graphs of any size, {NETWORK}, got {name}"
            raise ArgumentError("held_out_nodes", problem)

    def _problem(self, found: PaddedGraphs) -> Any:
        return graph_problem(self.problem, found, self.beta, maximal=self.maximal)

    def _graphs(self) -> tuple[PaddedGraphs, PaddedGraphs]:
        """Those to train on, and those to report."""
        if self.graph is not None or self.family not in RANDOM:
            self._check_single()
            named = self._named() if self.graph is None else read_matrix(self.graph)
            return (graphs.pad(named),) * 2
        count = NUM_GRAPHS if self.num_graphs is None else self.num_graphs
        if self.held_out_nodes is not None:
            larger = replace(self, num_nodes=self.held_out_nodes, held_out_nodes=None)
            # Others than those of the same number to train on, where sizes are the same.
            drawn = graphs.draw_graphs(larger._draw, count + self.held_out, self.graph_seed)
            own = graphs.draw_graphs(self._draw, count, self.graph_seed)
            return graphs.pad(own), graphs.pad(drawn[count:])
        drawn = graphs.draw_graphs(self._draw, count + self.held_out, self.graph_seed)
        # Of one size, so that networks that are made for one fit the others.
        adjacency, sizes = graphs.pad(drawn)
        if count == 1:
            return (PaddedGraphs(adjacency[:1], sizes[:1]),) * 2
        return (
            PaddedGraphs(adjacency[:count], sizes[:count]),
            PaddedGraphs(adjacency[count:], sizes[count:]),
        )

    def _check_single(self) -> None:
        if self.num_graphs not in (None, 1):
            problem = f"must be 1 for one that is given, got {self.num_graphs}"
            raise ArgumentError("num_graphs", problem)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        size = NUM_NODES if self.num_nodes is None else self.num_nodes
        if self.family == "er":
            return graphs.erdos_renyi(size, self.probability, rng)
        if self.family == "ba":
            return graphs.barabasi_albert(size, self.num_links, rng)
        if self.num_nodes is not None:
            raise ArgumentError("num_nodes", "follows from {num_cliques} and {clique_size}")
        if self.family == "rb-small":
            return graphs.model_rb("small", rng)
        cliques, nodes = self.num_cliques, self.clique_size
        fit = cliques >= 2 and nodes >= 2
        require(fit, "num_cliques", "must be at least 2, and clique_size", (cliques, nodes))
        total = cliques * nodes
        return graphs.model_rb(Sizes((cliques,) * 2, (nodes,) * 2, (total, total)), rng)

    def _named(self) -> np.ndarray:
        if self.family in ("petersen", "dodecahedron"):
            found = {"petersen": graphs.petersen, "dodecahedron": graphs.dodecahedron}[
                self.family
            ]()
            right = self.num_nodes in (None, len(found))
            require(right, "num_nodes", f"must be {len(found)}", self.num_nodes)
            return found
        size = {"cube": 8, "grid": 16}.get(self.family, 12)
        size = size if self.num_nodes is None else self.num_nodes
        if self.family == "cube":
            power = size >= 2 and size & (size - 1) == 0
            require(power, "num_nodes", "must be a power of 2", size)
            return graphs.cube(size.bit_length() - 1)
        if self.family == "grid":
            require(isqrt(size) ** 2 == size, "num_nodes", "must be a square number", size)
            return graphs.grid(isqrt(size), isqrt(size))
        return {"path": graphs.path, "cycle": graphs.cycle}[self.family](size)


def _rising(start: Array, num_steps: Array, step: Array) -> Array:
    """From `start` to 1 in a straight line."""
    return start + (1 - start) * jnp.minimum(step / num_steps, 1.0)
