"""Undirected graphs: read from what users have, named ones, and random ones.

All are adjacency matrices `[n, n]` bool of NumPy, symmetric and without loops.
"""

from collections.abc import Callable, Iterable, Sequence
from math import log
from typing import Any, NamedTuple

import numpy as np

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError, require

Edges = Iterable[tuple[int, int]]


class PaddedGraphs(NamedTuple):
    """G graphs of up to N nodes: `adjacency` `[G, N, N]` bool, `num_nodes` `[G]` int32.

    The nodes of a graph come first; padding has no edges.
    """

    adjacency: np.ndarray
    num_nodes: np.ndarray


def from_edges(edges: Edges, num_nodes: int | None = None) -> np.ndarray:
    """`[n, n]` the graph with these edges, pairs of nodes 0 .. n - 1; each may come twice.

    Args:
        edges: pairs of nodes.
        num_nodes: n; one more than the largest node without.

    Raises:
        ValueError: for anything else, an edge from a node to itself, or a node out of range.
    """
    pairs = list(edges)
    for pair in pairs:
        require(np.ndim(pair) == 1 and len(pair) == 2, "edges", "must be pairs of nodes", pair)
    nodes = np.array([[whole("edges", x, 0) for x in pair] for pair in pairs], int).reshape(-1, 2)
    size = int(nodes.max(initial=-1)) + 1 if num_nodes is None else whole("num_nodes", num_nodes, 1)
    largest = nodes.max(initial=-1)
    require(largest < size, "edges", f"must join nodes below {size}", largest)
    adjacency = np.zeros((size, size), bool)
    adjacency[nodes[:, 0], nodes[:, 1]] = adjacency[nodes[:, 1], nodes[:, 0]] = True
    return as_adjacency(adjacency)


def as_adjacency(graph: Any) -> np.ndarray:
    """`[n, n]` bool of one graph.

    Args:
        graph: a matrix of zeros and ones in any type of numbers; a list of edges, pairs of nodes as
            tuples; or an undirected graph of networkx, whose nodes are numbered in its order and
            whose edges have no weight but 1.

    Raises:
        ValueError: for a matrix that is not square, not symmetric, has entries besides 0 and 1 or
            a loop, for a graph without nodes, with directions or with weights.
    """
    if hasattr(graph, "nodes") and hasattr(graph, "edges"):
        return _from_networkx(graph)
    if is_edge_list(graph):
        return from_edges(graph)
    matrix = np.asarray(graph)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    require(square, "graphs", "must be square matrices [n, n] with n > 0", f"shape {matrix.shape}")
    numbers = matrix.dtype.kind in "biuf" and np.isin(matrix, (0, 1)).all()
    require(numbers, "graphs", "must have zeros and ones only", f"others, in {matrix.dtype}")
    adjacency = matrix.astype(bool)
    uneven = np.argwhere(adjacency != adjacency.T)
    if len(uneven):
        u, v = uneven[0]
        problem = f"must be symmetric, got {u} -> {v} in one direction only"
        raise ArgumentError("graphs", problem, "use A | A.T")
    loops = np.flatnonzero(np.diag(adjacency))
    require(not len(loops), "graphs", "must have no loops", f"one at node {loops[:1]}")
    return adjacency


def _from_networkx(graph: Any) -> np.ndarray:
    number = {node: i for i, node in enumerate(graph.nodes)}
    require(number, "graphs", "must have nodes", "none")
    if hasattr(graph, "is_directed") and graph.is_directed():
        raise ArgumentError("graphs", "must be undirected", "use graph.to_undirected()")
    edges: Any = graph.edges
    described = edges(data=True) if callable(edges) else ()
    weights = [data["weight"] for *_, data in described if data.get("weight", 1) != 1]
    if weights:
        problem = f"must have no weight on an edge but 1, got {weights[0]}"
        raise ArgumentError("graphs", problem, "take weights away, no problem has any")
    # Of a graph with parallel edges an edge is a triple.
    return from_edges(((number[e[0]], number[e[1]]) for e in edges), len(number))


def is_edge_list(graph: Any) -> bool:
    """Whether this is a list of edges, rather than a matrix or a list of graphs."""
    pairs = isinstance(graph, list | tuple | set | frozenset) and len(graph) > 0
    return pairs and all(
        isinstance(e, tuple) and len(e) == 2 and all(np.ndim(x) == 0 for x in e) for e in graph
    )


def pad(graphs: Any) -> PaddedGraphs:
    """Several graphs, or one, as one array.

    Args:
        graphs: one graph as `as_adjacency` takes it, a sequence of such, an array `[G, N, N]`, or
            `PaddedGraphs`.

    Raises:
        ValueError: as `as_adjacency`, without any graph, and for `PaddedGraphs` that are not as
            these are described.
    """
    if isinstance(graphs, PaddedGraphs):
        _check_padded(graphs)
        return graphs
    listed = [as_adjacency(each) for each in _several(graphs)]
    require(listed, "graphs", "must be at least one graph", "none")
    sizes = np.array([len(each) for each in listed], np.int32)
    adjacency = np.zeros((len(listed), sizes.max(), sizes.max()), bool)
    for row, each in zip(adjacency, listed, strict=True):
        row[: len(each), : len(each)] = each
    return PaddedGraphs(adjacency, sizes)


def _check_padded(graphs: PaddedGraphs) -> None:
    adjacency, sizes = map(np.asarray, graphs)
    edges = adjacency.dtype == bool and adjacency.ndim == 3 and adjacency.size > 0
    got = f"{adjacency.dtype} {adjacency.shape}"
    require(
        edges and adjacency.shape[1] == adjacency.shape[2], "graphs", "need [G, N, N] bool", got
    )
    num_graphs, most = adjacency.shape[:2]
    whole_numbers = sizes.shape == (num_graphs,) and sizes.dtype.kind in "iu"
    fits = whole_numbers and ((sizes > 0) & (sizes <= most)).all()
    require(fits, "graphs", f"need {num_graphs} num_nodes in 1..{most}", sizes)
    there = np.arange(most) < sizes[:, None]
    allowed = there[:, :, None] & there[:, None] & ~np.eye(most, dtype=bool)
    for problem, wrong in (
        ("must be symmetric", adjacency != adjacency.swapaxes(1, 2)),
        ("must have no loops and no edges at padding", adjacency & ~allowed),
    ):
        require(not wrong.any(), "graphs", problem, f"another one, number {wrong.nonzero()[0][:1]}")


def _several(graphs: Any) -> Sequence[Any]:
    if hasattr(graphs, "nodes") or is_edge_list(graphs):
        return [graphs]
    if isinstance(graphs, list | tuple):
        rows = len(graphs) > 0 and all(_is_row(each) for each in graphs)
        return [graphs] if rows else graphs
    return list(graphs) if np.ndim(graphs) == 3 else [graphs]


def _is_row(values: Any) -> bool:
    return isinstance(values, list | tuple | np.ndarray) and all(np.ndim(x) == 0 for x in values)


def clique_cover_size(adjacency: np.ndarray) -> int:
    """How many cliques a greedy cover of the nodes of `[n, n]` has: no independent set is larger.

    Nodes with few neighbours first; each joins the largest clique that it is adjacent to all of.
    """
    return len(clique_cover(adjacency))


def clique_cover(adjacency: np.ndarray) -> list[list[int]]:
    """The cliques of `clique_cover_size`: each node in one."""
    cliques: list[list[int]] = []
    for node in np.argsort(adjacency.sum(axis=1), kind="stable"):
        fit = [clique for clique in cliques if adjacency[node, clique].all()]
        if fit:
            max(fit, key=len).append(int(node))
        else:
            cliques.append([int(node)])
    return cliques


def path(num_nodes: int) -> np.ndarray:
    """P_n: 0 - 1 - .. - n - 1."""
    return from_edges(((i, i + 1) for i in range(num_nodes - 1)), num_nodes)


def cycle(num_nodes: int) -> np.ndarray:
    """C_n, of at least 3 nodes."""
    whole("num_nodes", num_nodes, 3)
    return from_edges(((i, (i + 1) % num_nodes) for i in range(num_nodes)), num_nodes)


def star(num_leaves: int) -> np.ndarray:
    """Node 0 in the middle of so many leaves."""
    return from_edges(((0, i + 1) for i in range(num_leaves)), num_leaves + 1)


def complete(num_nodes: int) -> np.ndarray:
    """K_n."""
    return ~np.eye(whole("num_nodes", num_nodes, 1), dtype=bool)


def complete_bipartite(num_left: int, num_right: int) -> np.ndarray:
    """K_{a,b}, at least a node on each side."""
    whole("num_left", num_left, 1)
    whole("num_right", num_right, 1)
    left = np.arange(num_left + num_right) < num_left
    return left[:, None] != left[None, :]


def grid(num_rows: int, num_columns: int) -> np.ndarray:
    """A lattice; node r * columns + c has up to four neighbours."""
    whole("num_rows", num_rows, 1)
    whole("num_columns", num_columns, 1)
    row, column = np.divmod(np.arange(num_rows * num_columns), num_columns)
    distance = abs(row[:, None] - row[None]) + abs(column[:, None] - column[None])
    return distance == 1


def cube(num_dims: int = 3) -> np.ndarray:
    """Q_d: corners that differ in one coordinate."""
    corners = np.arange(2 ** whole("num_dims", num_dims, 0))
    return np.bitwise_count(corners[:, None] ^ corners[None]) == 1


def petersen() -> np.ndarray:
    """A pentagon, a pentagram inside, and spokes: 10 nodes of degree 3."""
    return _generalised_petersen(5, 2)


def dodecahedron() -> np.ndarray:
    """20 nodes of degree 3."""
    return _generalised_petersen(10, 2)


def _generalised_petersen(size: int, step: int) -> np.ndarray:
    ring = range(size)
    outer = [(i, (i + 1) % size) for i in ring]
    inner = [(size + i, size + (i + step) % size) for i in ring]
    return from_edges([*outer, *inner, *((i, size + i) for i in ring)])


def erdos_renyi(num_nodes: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """G(n, p): each pair is an edge with probability p, independently.

    Raises:
        ValueError: for a probability outside of [0, 1], and without nodes.
    """
    whole("num_nodes", num_nodes, 1)
    require(0 <= probability <= 1, "probability", "must be in [0, 1]", probability)
    upper = np.triu(rng.random((num_nodes, num_nodes)) < probability, 1)
    return upper | upper.T


def barabasi_albert(num_nodes: int, num_links: int, rng: np.random.Generator) -> np.ndarray:
    """A graph that grows from m nodes without edges: each new one links to m different ones.

    The first to all of these, later ones with probability in proportion to degrees (Barabasi and
    Albert, 1999): m (n - m) edges.

    Raises:
        ValueError: unless 1 <= m < n.
    """
    possible = 1 <= num_links < num_nodes
    require(possible, "num_links", f"must be in [1, num_nodes = {num_nodes})", num_links)
    edges, ends = [], list(range(num_links))
    for node in range(num_links, num_nodes):
        chosen: set[int] = set(ends[:num_links] if node == num_links else ())
        while len(chosen) < num_links:
            chosen.add(int(ends[rng.integers(len(ends))]))
        edges += [(node, other) for other in sorted(chosen)]
        ends = ends if node > num_links else []
        ends += [x for other in sorted(chosen) for x in (node, other)]
    return from_edges(edges, num_nodes)


class Sizes(NamedTuple):
    """Of Model RB: cliques, nodes a clique, and nodes of what is kept; lowest and highest."""

    num_cliques: tuple[int, int]
    clique_size: tuple[int, int]
    num_nodes: tuple[int, int]


RB_SIZES = {
    "small": Sizes((20, 24), (5, 11), (200, 300)),
    "large": Sizes((40, 54), (20, 24), (800, 1200)),
}


def model_rb(sizes: str | Sizes, rng: np.random.Generator) -> np.ndarray:
    """A graph of Model RB (Xu and Li, 2000) as 2305.17010 draws them: hard for independent sets.

    n_c cliques of k nodes, k = n_c^alpha, with a tightness p ~ U(.3, 1): `r n_c log n_c - 1` times,
    r = -alpha / log(1 - p), two different cliques get up to p k^2 new edges in between. Nodes
    without edges are dropped, and graphs drawn anew until their number of nodes is in range. No
    independent set has more than n_c nodes.

    Args:
        sizes: "small", "large", or `Sizes`.
        rng: of NumPy.

    Raises:
        ValueError: for another name, or fewer than two cliques.
    """
    known = isinstance(sizes, Sizes) or sizes in RB_SIZES
    require(known, "sizes", f"must be one of {', '.join(RB_SIZES)} or Sizes", repr(sizes))
    wanted = sizes if isinstance(sizes, Sizes) else RB_SIZES[sizes]
    least = min(wanted.num_cliques)
    require(least > 1, "sizes", "must have at least 2 cliques, to have edges between", least)
    for _ in range(10_000):
        num_cliques = int(rng.integers(*wanted.num_cliques, endpoint=True))
        clique_size = int(rng.integers(*wanted.clique_size, endpoint=True))
        tightness = rng.uniform(0.3, 1.0)
        low, high = wanted.num_nodes
        if num_cliques * clique_size < low:
            continue
        adjacency = rb_instance(num_cliques, clique_size, tightness, rng)
        if low <= len(adjacency) <= high:
            return adjacency
    raise ArgumentError("sizes", f"must fit together: no graph of {wanted} has such a size")


def rb_instance(
    num_cliques: int, clique_size: int, tightness: float, rng: np.random.Generator
) -> np.ndarray:
    """One draw of `model_rb` with these numbers, without nodes that have no edges.

    Raises:
        ValueError: for fewer than two cliques, cliques without nodes, or a tightness outside of
            (0, 1).
    """
    whole("num_cliques", num_cliques, 2)
    whole("clique_size", clique_size, 1)
    require(0 < tightness < 1, "tightness", "must be in (0, 1)", tightness)
    alpha = log(clique_size) / log(num_cliques)
    rate = -alpha / log(1 - tightness)
    num_rounds = int(rate * num_cliques * log(num_cliques) - 1)
    num_new = int(tightness * clique_size**2)
    size = num_cliques * clique_size
    clique = np.arange(size) // clique_size
    adjacency = (clique[:, None] == clique[None]) & ~np.eye(size, dtype=bool)
    for _ in range(num_rounds):
        a, b = rng.choice(num_cliques, 2, replace=False) * clique_size
        block = adjacency[a : a + clique_size, b : b + clique_size]
        free = np.flatnonzero(~block)
        chosen = rng.choice(free, min(num_new, free.size), replace=False)
        rows, columns = np.divmod(chosen, clique_size)
        block[rows, columns] = True
        adjacency[b + columns, a + rows] = True
    kept = adjacency.any(axis=1)
    return adjacency[kept][:, kept]


def draw_graphs(
    make: Callable[[np.random.Generator], np.ndarray], num_graphs: int, seed: int
) -> list[np.ndarray]:
    """So many graphs from one generator; equal seeds give equal graphs."""
    rng = np.random.default_rng(seed)
    return [make(rng) for _ in range(whole("num_graphs", num_graphs, 1))]
