"""Rules of graph problems: which nodes may be chosen next, and what a choice is worth.

A state is the set of nodes chosen so far; everything else follows from it. All functions take
`adjacency` `[..., N, N]`, `there` `[..., N]`, which nodes are no padding, and `chosen` `[..., N]`,
all bool, of JAX or of NumPy.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gfnjax.data.graphs import clique_cover_size

# Of JAX or of NumPy.
Array = Any


class Rules(Protocol):
    """A problem on graphs. A frozen, hashable value."""

    def undecided(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        """`[..., N]` bool: the nodes that may be chosen next."""
        ...

    def undoable(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        """`[..., N]` bool: the chosen nodes that may have been the last."""
        ...

    def parts(self, there: Array, chosen: Array) -> Array:
        """`[..., N]` bool: the nodes of the object itself."""
        ...

    def marked(self, adjacency: Array, parts: Array) -> Array:
        """`[..., N, N]` bool: the edges that show why `parts` are an object, or what it scores."""
        ...

    def score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        """`[...]` int32: what is to be large, of an object."""
        ...

    def partial_score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        """`[...]` int32: what is certain of it already, of an unfinished one; else the same."""
        ...

    def most_steps(self, adjacency: np.ndarray) -> int:
        """How many nodes are chosen at most, of one graph `[n, n]` without padding. On the host."""
        ...


@dataclass(frozen=True)
class IndependentSet:
    """No two chosen nodes are adjacent; score |S|."""

    def undecided(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return there & ~chosen & ~(adjacency & chosen[..., None, :]).any(axis=-1)

    def undoable(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return chosen

    def parts(self, there: Array, chosen: Array) -> Array:
        return chosen

    def marked(self, adjacency: Array, parts: Array) -> Array:
        return _within(adjacency, parts)  # none, as it should be

    def score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return _count(chosen)

    def partial_score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return _count(chosen)

    def most_steps(self, adjacency: np.ndarray) -> int:
        # Of each clique one node at most.
        return clique_cover_size(adjacency)


@dataclass(frozen=True)
class Clique:
    """All chosen nodes are adjacent, an independent set of the complement; score |S|."""

    def undecided(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        num_known = _count(adjacency & chosen[..., None, :])
        return there & ~chosen & (num_known == _count(chosen)[..., None])

    def undoable(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return chosen

    def parts(self, there: Array, chosen: Array) -> Array:
        return chosen

    def marked(self, adjacency: Array, parts: Array) -> Array:
        return _within(adjacency, parts)

    def score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return _count(chosen)

    def partial_score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return _count(chosen)

    def most_steps(self, adjacency: np.ndarray) -> int:
        return clique_cover_size(~adjacency & ~np.eye(len(adjacency), dtype=bool))


@dataclass(frozen=True)
class DominatingSet:
    """Each node is in D or adjacent to one of D. Chosen nodes leave it; score -|D|.

    A node must stay if somebody, perhaps itself, has no other of D around. The partial score
    counts these nodes alone.
    """

    def undecided(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        left = there & ~chosen
        around = adjacency & left[..., None, :]
        count = _count(around) + left.astype(np.int32)
        sole = there & (count == 1)
        needed = (adjacency & sole[..., None, :]).any(axis=-1) | sole
        return left & ~needed

    def undoable(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return chosen

    def parts(self, there: Array, chosen: Array) -> Array:
        return there & ~chosen

    def marked(self, adjacency: Array, parts: Array) -> Array:
        return _across(adjacency, parts)

    def score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return -_count(there & ~chosen)

    def partial_score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return -_count(there & ~chosen & ~self.undecided(adjacency, there, chosen))

    def most_steps(self, adjacency: np.ndarray) -> int:
        # A node dominates itself and its neighbours: at least n / (1 + largest degree) stay.
        return len(adjacency) - -(-len(adjacency) // (1 + int(adjacency.sum(axis=1).max())))


@dataclass(frozen=True)
class MaxCut:
    """S and all other nodes are the two sides; a node may join S unless that lowers the cut.

    Score: edges between the sides, those that are undecided on the other one. The last to join
    has at most half of its neighbours in S, so not all of S may be undone.
    """

    def undecided(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return there & ~chosen & self._may_join(adjacency, chosen)

    def undoable(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return chosen & self._may_join(adjacency, chosen)

    def parts(self, there: Array, chosen: Array) -> Array:
        return chosen

    def marked(self, adjacency: Array, parts: Array) -> Array:
        return _across(adjacency, parts)

    def score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        across = adjacency & chosen[..., :, None] & ~chosen[..., None, :]
        return _count(across).sum(axis=-1, dtype=np.int32)

    def partial_score(self, adjacency: Array, there: Array, chosen: Array) -> Array:
        return self.score(adjacency, there, chosen)

    def most_steps(self, adjacency: np.ndarray) -> int:
        # Of nodes with neighbours the last would have all of them in S.
        return len(adjacency) - bool(adjacency.any())

    def _may_join(self, adjacency: Array, chosen: Array) -> Array:
        return 2 * _count(adjacency & chosen[..., None, :]) <= _count(adjacency)


RULES: dict[str, Any] = {
    "independent-set": IndependentSet(),
    "clique": Clique(),
    "dominating-set": DominatingSet(),
    "max-cut": MaxCut(),
}


def _count(nodes: Array) -> Array:
    return nodes.sum(axis=-1, dtype=np.int32)


def _within(adjacency: Array, parts: Array) -> Array:
    return adjacency & parts[..., :, None] & parts[..., None, :]


def _across(adjacency: Array, parts: Array) -> Array:
    return adjacency & (parts[..., :, None] != parts[..., None, :])
