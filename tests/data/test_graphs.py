"""Graphs: what is read, what has a name, and what is drawn, by its counts."""

from types import SimpleNamespace

import numpy as np
import pytest

from gfnjax.data import graphs
from gfnjax.data.graphs import Sizes


@pytest.mark.parametrize(
    ("graph", "num_nodes", "num_edges", "degrees"),
    [
        (graphs.path(5), 5, 4, {1, 2}),
        (graphs.cycle(6), 6, 6, {2}),
        (graphs.star(4), 5, 4, {1, 4}),
        (graphs.complete(5), 5, 10, {4}),
        (graphs.complete_bipartite(2, 3), 5, 6, {2, 3}),
        (graphs.grid(2, 3), 6, 7, {2, 3}),
        (graphs.cube(), 8, 12, {3}),
        (graphs.petersen(), 10, 15, {3}),
        (graphs.dodecahedron(), 20, 30, {3}),
        (graphs.path(1), 1, 0, {0}),
    ],
)
def test_named_graphs(graph, num_nodes, num_edges, degrees):
    assert graph.dtype == bool
    assert len(graph) == num_nodes
    assert graph.sum() == 2 * num_edges
    assert set(graph.sum(axis=1).tolist()) == degrees
    np.testing.assert_array_equal(graph, graphs.as_adjacency(graph))


def girth(adjacency):
    """Length of the shortest cycle, by breadth-first search from every node."""
    shortest = np.inf
    for root in range(len(adjacency)):
        depth, parent, queue = {root: 0}, {root: -1}, [root]
        for node in queue:
            for other in np.flatnonzero(adjacency[node]).tolist():
                if other not in depth:
                    depth[other], parent[other] = depth[node] + 1, node
                    queue.append(other)
                elif parent[node] != other:
                    shortest = min(shortest, depth[node] + depth[other] + 1)
        assert len(depth) == len(adjacency)
    return shortest


def test_what_makes_petersen_and_dodecahedron_special():
    assert girth(graphs.petersen()) == 5
    assert girth(graphs.dodecahedron()) == 5
    assert girth(graphs.cube()) == 4


def test_erdos_renyi_has_about_p_of_all_pairs():
    drawn = graphs.draw_graphs(lambda rng: graphs.erdos_renyi(40, 0.3, rng), 20, seed=0)
    share = np.mean([g.sum() for g in drawn]) / (40 * 39)
    assert abs(share - 0.3) < 0.02
    again = graphs.draw_graphs(lambda rng: graphs.erdos_renyi(40, 0.3, rng), 20, seed=0)
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))
    assert (drawn[0] != drawn[1]).any()
    assert all((g == g.T).all() and not np.diag(g).any() for g in drawn)


def test_barabasi_albert_links_to_those_that_have_links():
    rng = np.random.default_rng(0)
    drawn = [graphs.barabasi_albert(250, 4, rng) for _ in range(3)]
    assert {int(g.sum()) // 2 for g in drawn} == {984}
    for graph in drawn:
        assert graph.sum(axis=1)[4:].min() >= 4
        assert girth_is_finite(graph)
        # A random graph with as many edges has no node of degree 30 in a million draws.
        assert graph.sum(axis=1).max() >= 30
    assert graphs.barabasi_albert(5, 4, rng).sum() == 8  # a star


def girth_is_finite(graph):
    return np.isfinite(girth(graph[:60, :60]))


def test_model_rb_by_its_parts():
    rng = np.random.default_rng(1)
    for _ in range(4):
        graph = graphs.model_rb("small", rng)
        assert 200 <= len(graph) <= 300
        assert 1_500 <= graph.sum() / 2 <= 7_500
        assert graph.any(axis=1).all()
        assert graphs.clique_cover_size(graph) <= 26
    # Four cliques of three, a round adds int(.5 * 9) = 4 edges between two of them.
    graph = graphs.rb_instance(4, 3, 0.5, rng)
    alpha = np.log(3) / np.log(4)
    num_rounds = int(alpha / np.log(2) * 4 * np.log(4) - 1)
    clique = np.arange(12) // 3
    inside = clique[:, None] == clique[None]
    assert graph[inside].sum() == 12 * 2
    between = graph[~inside].sum() / 2
    assert 4 <= between <= 4 * num_rounds
    assert graphs.model_rb(Sizes((4, 4), (3, 3), (12, 12)), rng).shape == (12, 12)


def test_sizes_of_the_small_graphs_of_model_rb():
    # As the published code draws them: 9 to 11 nodes a clique, 227.6 in the mean.
    rng = np.random.default_rng(0)
    sizes = [len(graphs.model_rb("small", rng)) for _ in range(60)]
    assert set(sizes) <= {200, 207, 210, 216, 220, 230, 231, 240, 242, 253, 264}
    assert abs(np.mean(sizes) - 227.6) < 8


def test_clique_covers_cover_each_node_once():
    graph = graphs.erdos_renyi(20, 0.5, np.random.default_rng(0))
    cover = graphs.clique_cover(graph)
    assert sorted(v for clique in cover for v in clique) == list(range(20))
    for clique in cover:
        assert all(graph[u, v] for u in clique for v in clique if u != v)
    assert graphs.clique_cover_size(graphs.complete(6)) == 1
    assert graphs.clique_cover_size(np.zeros((4, 4), bool)) == 4


def test_networkx_graphs_are_read_in_the_order_of_their_nodes():
    nodes, edges = ["b", "a", "c"], [("a", "c"), ("c", "b", 0)]
    graph = graphs.as_adjacency(SimpleNamespace(nodes=nodes, edges=edges))
    np.testing.assert_array_equal(graph, graphs.from_edges([(1, 2), (2, 0)]))


class Edges(dict):
    """As networkx has them: pairs to walk through, with what is known of each when called."""

    def __call__(self, data):
        return [(*pair, known) for pair, known in self.items()]


def test_directions_and_weights_of_networkx_are_not_dropped():
    def read(directed, **known):
        edges = Edges({(0, 1): {}, (1, 2): known})
        graph = SimpleNamespace(nodes=[0, 1, 2], edges=edges, is_directed=lambda: directed)
        return graphs.as_adjacency(graph)

    np.testing.assert_array_equal(read(False, weight=1.0, colour="red"), graphs.path(3))
    with pytest.raises(ValueError, match=r"graphs must be undirected: use graph\.to_undirected"):
        read(True)
    with pytest.raises(ValueError, match=r"must have no weight on an edge but 1, got 2\.5"):
        read(False, weight=2.5)


def test_several_graphs_are_padded():
    matrices = [graphs.path(3), [(0, 1)], SimpleNamespace(nodes=[0, 1], edges=[])]
    found = graphs.pad(matrices)
    assert found.num_nodes.tolist() == [3, 2, 2]
    assert found.adjacency.shape == (3, 3, 3)
    assert not found.adjacency[1:, 2].any()
    assert found.adjacency.sum(axis=(1, 2)).tolist() == [4, 2, 0]
    assert graphs.pad(np.zeros((2, 4, 4))).num_nodes.tolist() == [4, 4]
    assert graphs.pad([[0, 1], [1, 0]]).num_nodes.tolist() == [2]
    assert graphs.pad(found) is found


@pytest.mark.parametrize(
    ("edges", "num_nodes", "message"),
    [
        (np.ones((1, 2, 2)), [2], r"graphs need \[G, N, N\] bool, got float64 \(1, 2, 2\)"),
        (graphs.path(2), [2], r"graphs need \[G, N, N\] bool, got bool \(2, 2\)"),
        (graphs.path(2)[None], [3], r"graphs need 1 num_nodes in 1\.\.2, got \[3\]"),
        (graphs.path(2)[None], [2, 2], "graphs need 1 num_nodes in"),
        (graphs.path(2)[None], [2.0], "graphs need 1 num_nodes in"),
        (
            np.eye(2, k=1, dtype=bool)[None],
            [2],
            "graphs must be symmetric, got another one, number .0.",
        ),
        (np.eye(2, dtype=bool)[None], [2], "graphs must have no loops"),
        (
            np.array([graphs.path(3)] * 2),
            [3, 2],
            "no edges at padding, got another one, number .1.",
        ),
    ],
)
def test_padded_graphs_of_users_are_looked_at(edges, num_nodes, message):
    with pytest.raises(ValueError, match=message):
        graphs.pad(graphs.PaddedGraphs(edges, np.array(num_nodes)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: graphs.from_edges([(0, 3)], 3), "edges must join nodes below 3, got 3"),
        (lambda rng: graphs.from_edges([(0, -1)]), "edges must be at least 0, got -1"),
        (lambda rng: graphs.from_edges([(0, 0.5)]), "edges must be a whole number, got 0.5"),
        (lambda rng: graphs.from_edges([(0, 1, 2, 3)]), r"edges must be pairs .* got .0, 1, 2, 3."),
        (lambda rng: graphs.from_edges([0, 1]), "edges must be pairs of nodes, got 0"),
        (lambda rng: graphs.cycle(2), "num_nodes must be at least 3, got 2"),
        (lambda rng: graphs.erdos_renyi(4, 1.5, rng), "probability must be in"),
        (lambda rng: graphs.erdos_renyi(-1, 0.5, rng), "num_nodes must be at least 1, got -1"),
        (lambda rng: graphs.grid(0, 3), "num_rows must be at least 1, got 0"),
        (lambda rng: graphs.grid(3, 0), "num_columns must be at least 1, got 0"),
        (lambda rng: graphs.complete_bipartite(0, 0), "num_left must be at least 1, got 0"),
        (lambda rng: graphs.complete_bipartite(2, 0), "num_right must be at least 1, got 0"),
        (lambda rng: graphs.cube(-1), "num_dims must be at least 0, got -1"),
        (lambda rng: graphs.rb_instance(1, 3, 0.5, rng), "num_cliques must be at least 2, got 1"),
        (lambda rng: graphs.rb_instance(3, 0, 0.5, rng), "clique_size must be at least 1, got 0"),
        (lambda rng: graphs.rb_instance(3, 3, 1.0, rng), r"tightness must be in \(0, 1\), got 1"),
        (
            lambda rng: graphs.model_rb(Sizes((1, 3), (3, 3), (3, 9)), rng),
            "sizes must have at least 2 cliques, to have edges between, got 1",
        ),
        (lambda rng: graphs.barabasi_albert(4, 4, rng), "num_links must be in"),
        (lambda rng: graphs.model_rb("tiny", rng), "sizes must be one of small, large or Sizes"),
        (
            lambda rng: graphs.as_adjacency(SimpleNamespace(nodes=[], edges=[])),
            "graphs must have nodes, got none",
        ),
        (lambda rng: graphs.pad(np.full((2, 2), np.nan)), "graphs must have zeros and ones only"),
        (lambda rng: graphs.pad(np.array([["a"]])), "graphs must have zeros and ones only"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
