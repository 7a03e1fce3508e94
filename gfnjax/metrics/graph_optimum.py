"""Proven optima of small graph problems, by integer programming (HiGHS, in SciPy)."""

import time
from typing import Any, NamedTuple

import numpy as np

from gfnjax.data.graphs import as_adjacency
from gfnjax.envs.graph_rules import RULES
from gfnjax.errors import require

Rows = list[tuple[list[int], list[float], float]]


class Optimum(NamedTuple):
    """What a solver has found.

    Attributes:
        score: |S|, -|D| or the cut of the best object; None if there was no time to find any.
        bound: no score is larger.
        proven: whether the score is that bound.
        seconds: taken.
        parts: `[n]` bool, the object; None without.
    """

    score: int | None
    bound: int
    proven: bool
    seconds: float
    parts: np.ndarray | None


class Program(NamedTuple):
    """Maximise `worth` x over binary x, every row (variables, weights, limit) within its limit.

    The first n variables are the nodes of the object.
    """

    worth: np.ndarray
    rows: Rows


def optimum(problem: str, graph: object, time_limit: float = 10.0) -> Optimum:
    """The best object of a graph, or how good it can be.

    - independent-set: at most one node of each clique, of as few as cover all edges; clique: the
      same on the complement;
    - dominating-set: at least one node around each;
    - max-cut: a variable for each edge as well, which is 1 only if its ends are on two sides.

    Args:
        problem: as in `gfnjax.envs.graph_problem`.
        graph: as `gfnjax.data.graphs.as_adjacency` takes it.
        time_limit: seconds for the solver.

    Raises:
        ValueError: for an unknown problem, something that is no graph, or a limit that is not
            positive.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    require(problem in RULES, "problem", f"must be one of {', '.join(RULES)}", repr(problem))
    require(time_limit > 0, "time_limit", "must be positive", time_limit)
    adjacency = as_adjacency(graph)
    program = _program(problem, adjacency)
    started = time.perf_counter()
    options: dict[str, Any] = {"time_limit": float(time_limit)}
    constraints = []
    if program.rows:
        index = [i for i, (variables, _, _) in enumerate(program.rows) for _ in variables]
        variables = [v for row in program.rows for v in row[0]]
        weights = [w for row in program.rows for w in row[1]]
        shape = len(program.rows), program.worth.size
        matrix = csr_array((weights, (index, variables)), shape=shape)
        constraints = [LinearConstraint(matrix, ub=[row[2] for row in program.rows])]
    found = milp(
        -program.worth,
        integrality=np.ones(program.worth.size),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options=options,
    )
    seconds = time.perf_counter() - started
    parts = None if found.x is None else found.x[: len(adjacency)] > 0.5
    # Of the object itself: before the search is over a cut may have edges that are not counted.
    score = None if parts is None else _score(problem, adjacency, parts)
    limit = found.mip_dual_bound
    known = limit is not None and np.isfinite(limit)
    # Scores are whole numbers.
    bound = int(np.floor(-limit + 1e-6)) if known else int(program.worth.clip(0).sum())
    return Optimum(score, bound, score == bound, seconds, parts)


def edge_cliques(adjacency: np.ndarray) -> list[list[int]]:
    """Cliques that cover all edges, each grown greedily from an edge that none has yet."""
    left = np.triu(adjacency)
    cliques = []
    while left.any():
        u, v = divmod(int(left.argmax()), len(left))
        clique, common = [u, v], adjacency[u] & adjacency[v]
        while common.any():
            # What is left uncovered is covered first.
            news = left[clique].sum(axis=0) + left[:, clique].sum(axis=1)
            node = int(np.where(common, news, -1).argmax())
            clique.append(node)
            common = common & adjacency[node]
        left[np.ix_(clique, clique)] = False
        cliques.append(sorted(clique))
    return cliques


def _score(problem: str, adjacency: np.ndarray, parts: np.ndarray) -> int:
    # A dominating set is what has not been chosen to leave.
    chosen = ~parts if problem == "dominating-set" else parts
    return int(RULES[problem].score(adjacency, np.ones(len(adjacency), bool), chosen))


def _program(problem: str, adjacency: np.ndarray) -> Program:
    size = len(adjacency)
    if problem == "dominating-set":
        around = [np.flatnonzero(row).tolist() for row in adjacency | np.eye(size, dtype=bool)]
        return Program(-np.ones(size), [(each, [-1.0] * len(each), -1.0) for each in around])
    if problem == "max-cut":
        edges = np.argwhere(np.triu(adjacency)).tolist()
        rows: Rows = []
        for number, (u, v) in enumerate(edges, size):
            rows.append(([number, u, v], [1.0, -1.0, -1.0], 0.0))
            rows.append(([number, u, v], [1.0, 1.0, 1.0], 2.0))
        # Both sides are alike: node 0 is on the other one.
        rows.append(([0], [1.0], 0.0))
        return Program(np.append(np.zeros(size), np.ones(len(edges))), rows)
    if problem == "clique":
        adjacency = ~adjacency & ~np.eye(size, dtype=bool)
    cliques = edge_cliques(adjacency)
    return Program(np.ones(size), [(each, [1.0] * len(each), 1.0) for each in cliques])
