"""Trees on the host: nested pairs, the Newick format, pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gfnjax.errors import ArgumentError

Tree = Any  # a species number, or a pair of trees


def to_nested(into: Any, rank: Any) -> list[Tree]:
    """The trees of a forest as nested pairs of species numbers, by their smallest species.

    Args:
        into: `[n]` the slot that each slot was merged into, -1 for a root.
        rank: `[n]` how many merges into that slot came before.
    """
    into, rank = np.asarray(into), np.asarray(rank)
    trees: list[Tree] = list(range(into.size))
    # What is merged into a slot comes from higher ones, so they go first.
    for slot in reversed(range(into.size)):
        (merged,) = np.nonzero(into == slot)
        for j in merged[np.argsort(rank[merged])]:
            trees[slot] = (trees[slot], trees[j])
    return [tree for slot, tree in enumerate(trees) if into[slot] < 0]


def to_newick(into: Any, rank: Any, species: Sequence[str]) -> str:
    """A finished tree in the Newick format.

    Raises:
        ValueError: if there is more than one tree.
    """
    trees = to_nested(into, rank)
    if len(trees) > 1:
        raise ArgumentError("newick", f"needs a finished tree, got a forest of {len(trees)} trees")

    def write(tree: Tree) -> str:
        if isinstance(tree, tuple):
            return f"({write(tree[0])},{write(tree[1])})"
        return _label(species[tree])

    return write(trees[0]) + ";"


def draw_forest(axes: Any, into: Any, rank: Any, species: Sequence[str]) -> None:
    """Draw trees as rectangular cladograms, one above the other, on a matplotlib axes."""
    heights = []
    leaves: list[int] = []

    def draw(tree: Tree) -> tuple[float, float]:
        if not isinstance(tree, tuple):
            leaves.append(tree)
            return 0.0, float(len(leaves) - 1)
        ends = [draw(part) for part in tree]
        height = 1 + max(end[0] for end in ends)
        for x, y in ends:
            axes.plot([-x, -height], [y, y], color="black", linewidth=1)
        axes.plot([-height] * 2, [y for _, y in ends], color="black", linewidth=1)
        return height, sum(y for _, y in ends) / 2

    for tree in to_nested(into, rank):
        height, y = draw(tree)
        axes.plot([-height, -height - 0.5], [y, y], color="black", linewidth=1)
        heights.append(height)
    size = min(8.0, 240 / len(leaves))
    for y, leaf in enumerate(leaves):
        name = species[leaf].replace("_", " ")
        axes.text(0.2, y, name, va="center", fontsize=size, parse_math=False)
    axes.set_xlim(-max(heights) - 1, max(heights) + 1)
    axes.set_ylim(len(leaves), -1)
    axes.axis("off")


def _label(name: str) -> str:
    """A Newick label, quoted where it has to be."""
    plain = name and not set(name) & set(" \t\n()[]':;,")
    return name if plain else "'" + name.replace("'", "''") + "'"
