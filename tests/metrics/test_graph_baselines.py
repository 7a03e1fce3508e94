"""Baselines and optima of graph problems, against brute force over all sets."""

import itertools

import numpy as np
import pytest

from gfnjax.data import graphs
from gfnjax.metrics.graph_baselines import (
    finish,
    greedy_solutions,
    random_solutions,
    solutions,
)
from gfnjax.metrics.graph_optimum import edge_cliques, optimum
from gfnjax.metrics.graph_search import local_search_solutions

PROBLEMS = "independent-set", "clique", "dominating-set", "max-cut"
GRAPH = graphs.erdos_renyi(9, 0.4, np.random.default_rng(5))


def worth(problem, adjacency, nodes):
    """The score of a set of nodes, None if it is no object, from the definitions."""
    inside = np.isin(np.arange(len(adjacency)), list(nodes))
    edges = int(adjacency[np.ix_(inside, inside)].sum()) // 2
    size = int(inside.sum())
    if problem == "independent-set":
        return size if edges == 0 else None
    if problem == "clique":
        return size if edges == size * (size - 1) // 2 else None
    if problem == "dominating-set":
        return -size if (inside | adjacency[inside].any(axis=0)).all() else None
    return int(adjacency[inside][:, ~inside].sum())


def best_of_all(problem, adjacency):
    size = len(adjacency)
    sets = (c for k in range(size + 1) for c in itertools.combinations(range(size), k))
    return max(x for s in sets if (x := worth(problem, adjacency, s)) is not None)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("make", [random_solutions, greedy_solutions, local_search_solutions])
def test_baselines_are_objects_worth_what_they_say(problem, make):
    found = make(problem, GRAPH, 30, np.random.default_rng(0))
    assert found.parts.shape == (30, 9)
    for parts, score in zip(found.parts, found.scores, strict=True):
        assert worth(problem, GRAPH, np.flatnonzero(parts)) == score
    assert found.scores.max() <= best_of_all(problem, GRAPH)
    again = make(problem, GRAPH, 30, np.random.default_rng(0))
    np.testing.assert_array_equal(again.parts, found.parts)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_greed_and_local_search_are_better_than_chance(problem):
    graph = graphs.barabasi_albert(60, 3, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    chance, greed, search = (
        f(problem, graph, 20, rng).scores
        for f in (random_solutions, greedy_solutions, local_search_solutions)
    )
    assert greed.mean() > chance.mean() + 0.5
    assert search.mean() > chance.mean() + 0.5
    assert search.max() >= greed.max()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_local_search_finds_the_optimum(problem):
    sparse = graphs.barabasi_albert(11, 2, np.random.default_rng(3))
    for graph in (GRAPH, sparse, graphs.petersen()):
        found = local_search_solutions(problem, graph, 20, np.random.default_rng(0))
        assert found.scores.max() == best_of_all(problem, graph)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_walks_of_local_search_need_their_moves(problem):
    graph = graphs.erdos_renyi(60, 0.2, np.random.default_rng(0))
    still, moved = (
        local_search_solutions(problem, graph, 20, np.random.default_rng(0), moves)
        for moves in (0, 10)
    )
    assert (moved.scores >= still.scores - (problem != "max-cut")).all()
    assert moved.scores.mean() > still.scores.mean() + 0.5


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("size", [1, 2])
def test_local_search_of_tiny_graphs(problem, size):
    graph = graphs.complete(size)
    found = local_search_solutions(problem, graph, 3, np.random.default_rng(0))
    assert found.scores.tolist() == [best_of_all(problem, graph)] * 3


def test_no_single_node_improves_what_local_search_has_found():
    graph = graphs.erdos_renyi(30, 0.3, np.random.default_rng(0))
    for moves in (0, 1, 10):
        found = local_search_solutions("max-cut", graph, 5, np.random.default_rng(0), moves)
        for side, score in zip(found.parts, found.scores, strict=True):
            assert worth("max-cut", graph, np.flatnonzero(side)) == score
            for node in range(30):
                other = side ^ (np.arange(30) == node)
                assert worth("max-cut", graph, np.flatnonzero(other)) <= score


def test_sets_that_local_search_has_found_are_maximal():
    graph = graphs.erdos_renyi(30, 0.3, np.random.default_rng(0))
    for moves in (0, 1, 2, 10):
        found = local_search_solutions("clique", graph, 5, np.random.default_rng(0), moves)
        for parts in found.parts:
            assert not ((graph[parts].sum(axis=0) == parts.sum()) & ~parts).any()
        found = local_search_solutions("dominating-set", graph, 5, np.random.default_rng(0), moves)
        for parts in found.parts:
            for node in np.flatnonzero(parts):
                fewer = set(np.flatnonzero(parts)) - {node}
                assert worth("dominating-set", graph, sorted(fewer)) is None


def test_unfinished_sets_are_completed_not_changed():
    chosen = np.zeros((2, 10), bool)
    chosen[:, 0] = True
    found = finish("independent-set", graphs.petersen(), chosen, np.random.default_rng(0))
    assert found.parts[:, 0].all()
    assert (found.scores >= 3).all()
    assert chosen.sum() == 2


@pytest.mark.parametrize("problem", PROBLEMS)
def test_optima_by_brute_force(problem):
    found = optimum(problem, GRAPH)
    assert found.proven
    assert found.score == found.bound == best_of_all(problem, GRAPH)
    assert worth(problem, GRAPH, np.flatnonzero(found.parts)) == found.score
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("problem", "graph", "best"),
    [
        ("independent-set", graphs.dodecahedron(), 8),
        ("dominating-set", graphs.petersen(), -3),
        ("max-cut", graphs.grid(3, 3), 12),
        ("clique", graphs.complete_bipartite(3, 3), 2),
        ("independent-set", np.zeros((4, 4)), 4),
        ("max-cut", np.zeros((4, 4)), 0),
    ],
)
def test_optima_of_named_graphs(problem, graph, best):
    assert optimum(problem, graph)[:3] == (best, best, True)


def test_out_of_time_there_is_a_bound():
    graph = graphs.erdos_renyi(60, 0.5, np.random.default_rng(0))
    found = optimum("max-cut", graph, time_limit=1.0)
    assert not found.proven
    # The solver has edges across that its own variables for edges do not count.
    assert worth("max-cut", graph, np.flatnonzero(found.parts)) == found.score
    greedy = greedy_solutions("max-cut", graph, 1, np.random.default_rng(0))
    assert greedy.scores[0] <= found.bound <= graph.sum() // 2


def test_cliques_cover_all_edges():
    covered = np.zeros_like(GRAPH)
    for clique in edge_cliques(GRAPH):
        block = np.ix_(clique, clique)
        assert (GRAPH[block] | np.eye(len(clique), dtype=bool)).all()
        covered[block] = True
    assert (covered | ~GRAPH).all()
    assert len(edge_cliques(graphs.complete(5))) == 1


def test_chosen_sets_are_told_as_objects():
    chosen = np.array([[True, False, False], [False, True, False]])
    found = solutions("dominating-set", graphs.path(3), chosen)
    assert found.scores.tolist() == [-2, -2]
    np.testing.assert_array_equal(found.parts, ~chosen)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimum("knapsack", GRAPH), "problem must be one of independent-set, clique"),
        (lambda: optimum("clique", GRAPH, 0), "time_limit must be positive, got 0"),
        (
            lambda: random_solutions("clique", GRAPH, 0, np.random.default_rng()),
            "num must be at least 1, got 0",
        ),
        (
            lambda: local_search_solutions("clique", GRAPH, 1, np.random.default_rng(), -1),
            "moves_per_node must be at least 0, got -1",
        ),
        (
            lambda: greedy_solutions("clique", np.eye(2), 1, np.random.default_rng()),
            "graphs must have no loops",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
