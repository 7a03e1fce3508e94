"""What graph problems come to without learning: chance and greed.

Everything is NumPy on the host, on one graph `[n, n]` without padding. Greedy is strong: a learned
policy should be told beside it, beside local search (`gfnjax.metrics.graph_search`), and beside
what is proven (`gfnjax.metrics.graph_optimum`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfnjax.arguments import whole
from gfnjax.data.graphs import as_adjacency
from gfnjax.envs.graph_rules import RULES, Rules
from gfnjax.errors import require


class Solutions(NamedTuple):
    """K objects of a graph, which may be equal.

    Attributes:
        parts: `[K, n]` bool, the nodes of each set, or of one side of a cut.
        scores: `[K]` int, |S|, -|D| or the cut.
    """

    parts: np.ndarray
    scores: np.ndarray


def random_solutions(problem: str, graph: object, num: int, rng: np.random.Generator) -> Solutions:
    """Objects of the uniform policy, which chooses any undecided node alike.

    Args:
        problem: as in `gfnjax.envs.graph_problem`.
        graph: as `gfnjax.data.graphs.as_adjacency` takes it.
        num: how many.
        rng: of NumPy.

    Raises:
        ValueError: for an unknown problem, something that is no graph, or a number below 1.
    """
    return _follow(problem, graph, num, rng, _alike)


def greedy_solutions(problem: str, graph: object, num: int, rng: np.random.Generator) -> Solutions:
    """Greedy objects that differ in how ties are broken.

    Next comes the node with the fewest undecided neighbours for independent sets, the most for
    cliques, the one whose side cuts most for cuts. A dominating set starts from nothing, takes in
    what dominates most that nothing does yet, and loses what is not needed.

    Arguments and errors are those of `random_solutions`.
    """
    weights = as_adjacency(graph).astype(np.float32)
    degree = weights.sum(axis=1)

    def worth(undecided: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        if problem == "max-cut":
            return degree[None] - 2 * (chosen @ weights)
        around = undecided @ weights
        return around if problem == "clique" else -around

    start = None
    if problem == "dominating-set":
        start = ~_dominating(weights, whole("num", num, 1), rng)
    return _follow(problem, graph, num, rng, worth, start)


def finish(problem: str, graph: object, chosen: np.ndarray, rng: np.random.Generator) -> Solutions:
    """Objects of unfinished states: random nodes are chosen until none is left to choose.

    Args:
        problem: as in `random_solutions`.
        graph: as there.
        chosen: `[K, n]` bool, as states of a `GraphProblem` have them.
        rng: of NumPy.
    """
    return _follow(problem, graph, len(chosen), rng, _alike, chosen.copy())


def solutions(problem: str, graph: object, chosen: np.ndarray) -> Solutions:
    """The objects of chosen sets `[K, n]`, as states of a `GraphProblem` have them."""
    rules, adjacency = _rules(problem), as_adjacency(graph)
    there = np.ones(len(adjacency), bool)
    parts = rules.parts(there, chosen)
    return Solutions(parts, np.asarray(rules.score(adjacency, there, chosen)))


def _follow(
    problem: str,
    graph: object,
    num: int,
    rng: np.random.Generator,
    worth: Callable[[np.ndarray, np.ndarray], np.ndarray],
    start: np.ndarray | None = None,
) -> Solutions:
    """Choose what is worth most, of several at random, until nothing is left to choose.

    `worth` takes who is undecided and who is chosen, `[K, n]` bool each.
    """
    rules, adjacency = _rules(problem), as_adjacency(graph)
    there = np.ones(len(adjacency), bool)
    chosen = np.zeros((whole("num", num, 1), len(adjacency)), bool) if start is None else start
    while True:
        undecided = rules.undecided(adjacency, there, chosen)
        if not undecided.any():
            return solutions(problem, adjacency, chosen)
        value = np.where(undecided, worth(undecided, chosen), -np.inf)
        best = (value + 0.5 * rng.random(value.shape)).argmax(axis=1)
        rows = np.flatnonzero(undecided.any(axis=1))
        chosen[rows, best[rows]] = True


def _alike(undecided: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.zeros(chosen.shape)


def _dominating(weights: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """`[K, n]` dominating sets, perhaps with more nodes than needed."""
    closed = weights + np.eye(len(weights), dtype=weights.dtype)
    inside = np.zeros((num, len(weights)), bool)
    while True:
        missing = inside @ closed == 0
        rows = np.flatnonzero(missing.any(axis=1))
        if not len(rows):
            return inside
        covers = missing @ closed
        best = (covers + 0.5 * rng.random(covers.shape)).argmax(axis=1)
        inside[rows, best[rows]] = True


def _rules(problem: str) -> Rules:
    require(problem in RULES, "problem", f"must be one of {', '.join(RULES)}", repr(problem))
    return RULES[problem]
