"""Local search for graph problems: walks by small moves that keep the best that they have met.

Strong where a sampler is slow, and of one graph at a time: what a learned policy is told beside.
Everything is NumPy on the host, on one graph `[n, n]` without padding; walks go on side by side.
"""

from collections.abc import Callable

import numpy as np

from gfnjax.arguments import whole
from gfnjax.data.graphs import as_adjacency
from gfnjax.metrics.graph_baselines import Solutions, finish, random_solutions, solutions

# Of a walk, in moves: how long a node stays on its side of a cut.
SHORTEST_STAY, LONGEST_STAY = 5, 15

# (where walks stand, which node each has moved last, -1 at first) -> the same after a move
Move = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def local_search_solutions(
    problem: str, graph: object, num: int, rng: np.random.Generator, moves_per_node: int = 10
) -> Solutions:
    """The best of each of `num` walks from random objects.

    - independent-set: a node comes in that has no neighbour inside, else one that has a single
      one, which leaves (the plateau moves of Andrade et al., 2012); clique: the same on the
      complement;
    - dominating-set: a random node leaves; one comes in that dominates what would be left over;
    - max-cut: the node whose side change cuts most changes it, and stays there for 5 to 15 moves,
      unless more is cut than ever (tabu search); then changes that cut more, until none is left.

    No move takes back the last one. Objects at the end are maximal, or minimal dominating sets.

    Args:
        problem: as in `gfnjax.envs.graph_problem`.
        graph: as `gfnjax.data.graphs.as_adjacency` takes it.
        num: of walks.
        rng: of NumPy.
        moves_per_node: of a walk, for each node of the graph; 0 for the random objects alone.

    Raises:
        ValueError: for an unknown problem, something that is no graph, or a number out of range.
    """
    adjacency = as_adjacency(graph)
    count = whole("moves_per_node", moves_per_node, 0) * len(adjacency)
    start = random_solutions(problem, adjacency, num, rng).parts
    if problem == "max-cut":
        return _search_cuts(adjacency, start, count, rng)
    if problem == "dominating-set":
        best = _walk(_dominating_move(adjacency, rng), start, count, -1)
        return finish(problem, adjacency, ~best, rng)
    apart = ~adjacency & ~np.eye(len(adjacency), dtype=bool)
    move = _independent_move(apart if problem == "clique" else adjacency, rng)
    return finish(problem, adjacency, _walk(move, start, count, 1), rng)


def _walk(move: Move, start: np.ndarray, count: int, sign: int) -> np.ndarray:
    """`[K, n]` the largest sets met, or with sign -1 the smallest."""
    inside, last, best = start.copy(), np.full(len(start), -1), start.copy()
    for _ in range(count):
        inside, last = move(inside, last)
        better = sign * (inside.sum(axis=1) - best.sum(axis=1)) > 0
        best[better] = inside[better]
    return best


def _independent_move(adjacency: np.ndarray, rng: np.random.Generator) -> Move:
    weights = adjacency.astype(np.float32)

    def move(inside: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = inside @ weights
        # The one that has left is the only neighbour inside of nobody who may come in.
        may = ~inside & (known <= 1)
        rows = np.flatnonzero(last >= 0)
        may[rows, last[rows]] &= known[rows, last[rows]] == 0
        value = np.where(may, rng.random(may.shape) - known, -np.inf)
        node, rows = value.argmax(axis=1), np.flatnonzero(may.any(axis=1))
        leaves = inside[rows] & adjacency[node[rows]]
        inside[rows] &= ~leaves
        inside[rows, node[rows]] = True
        last = np.full(len(inside), -1)
        last[rows] = np.where(leaves.any(axis=1), leaves.argmax(axis=1), -1)
        return inside, last

    return move


def _dominating_move(adjacency: np.ndarray, rng: np.random.Generator) -> Move:
    closed = adjacency | np.eye(len(adjacency), dtype=bool)
    weights, every = closed.astype(np.float32), np.arange(len(adjacency))[None]

    def move(inside: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(inside))
        sole = (inside @ weights == 1).astype(np.float32)
        needed = sole @ weights
        # First those that nobody needs.
        may_leave = inside & (every != last[:, None])
        value = np.where(may_leave, rng.random(inside.shape) - (needed > 0), -np.inf)
        out = value.argmax(axis=1)
        left = sole * weights[out]
        covers = (left @ weights == left.sum(axis=1)[:, None]) & ~inside
        node = np.where(covers, rng.random(covers.shape), -1.0).argmax(axis=1)
        spare = left.sum(axis=1) == 0
        swapped = ~spare & covers.any(axis=1)
        moved = may_leave.any(axis=1) & (spare | swapped)
        inside[rows[moved], out[moved]] = False
        inside[rows[moved & swapped], node[moved & swapped]] = True
        return inside, np.where(moved & swapped, node, -1)

    return move


def _search_cuts(
    adjacency: np.ndarray, start: np.ndarray, count: int, rng: np.random.Generator
) -> Solutions:
    weights, rows = adjacency.astype(np.float32), np.arange(len(start))
    side, best = start.copy(), start.copy()
    cut = solutions("max-cut", adjacency, side).scores.astype(np.float32)
    most, stays = cut.copy(), np.zeros(side.shape, int)
    longest = max(1, min(LONGEST_STAY, len(adjacency) // 2))
    for t in range(count):
        gain = _gain(weights, side)
        may = (stays <= t) | (cut[:, None] + gain > most[:, None])
        node = np.where(may, gain + 0.5 * rng.random(gain.shape), -np.inf).argmax(axis=1)
        cut = cut + gain[rows, node]
        side[rows, node] ^= True
        stays[rows, node] = (
            t + 1 + rng.integers(min(SHORTEST_STAY, longest), longest + 1, len(side))
        )
        better = cut > most
        best[better], most[better] = side[better], cut[better]
    while True:
        gain = _gain(weights, best)
        node = gain.argmax(axis=1)
        better = np.flatnonzero(gain[rows, node] > 0)
        if not len(better):
            return solutions("max-cut", adjacency, best)
        best[better, node[better]] ^= True


def _gain(weights: np.ndarray, side: np.ndarray) -> np.ndarray:
    """`[K, n]` edges that are cut if a node changes sides, less those that are not any more."""
    spin = np.where(side, 1.0, -1.0).astype(np.float32)
    return spin * (spin @ weights)
