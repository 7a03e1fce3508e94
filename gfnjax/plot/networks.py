"""Nodes and arrows: a directed graph whose edges are as wide as what they carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.plot.curves import BLUE, FAINT, INK
from gfnjax.plot.style import shades
from gfnjax.shapes import check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["circle", "draw"]

# In points: an arrow of weight one, one that carries nothing, and its head beyond its shaft.
WIDEST, THINNEST, HEAD = 7.0, 0.5, 4.5
# Arrows there and back leave each other room.
BEND = 0.16
PALEST = 0.3


def draw(
    ax: Axes,
    weights: Any,
    names: Sequence[str] = (),
    *,
    positions: Any = None,
    highlight: Any = None,
    least: float = 0.05,
) -> None:
    """A directed graph: the arrow u -> v as wide, and as dark, as `weights[u, v]`.

    Args:
        ax: matplotlib axes.
        weights: `[d, d]` between 0 and 1: the adjacency of one graph, or the probability of each
            edge, such as `gfnjax.metrics.directed_graphs.edge_marginals`.
        names: of the nodes; their numbers without.
        positions: `[d, 2]`; on a circle, clockwise from the top, without.
        highlight: `[d, d]` bool, edges in blue, all others pale: the true ones, say.
        least: weights below are not drawn.

    Raises:
        ValueError: for other shapes, or weights out of range.
    """
    weights = np.asarray(weights, float)
    check_shape("weights", weights, (len(weights), len(weights)), "[d, d]")
    if not ((weights >= -1e-6) & (weights <= 1 + 1e-6)).all():
        raise ArgumentError("weights", "must be between 0 and 1")
    positions = circle(len(weights)) if positions is None else np.asarray(positions, float)
    check_shape("positions", positions, (len(weights), 2), "[d, 2]")
    names = list(names) or [str(i) for i in range(len(weights))]
    if len(names) != len(weights):
        raise ArgumentError("names", f"must be {len(weights)}, one a node, got {len(names)}")
    tails, heads = np.nonzero(np.maximum(weights, 0) >= max(least, 1e-9))
    found = weights[tails, heads]
    if highlight is None:
        colours: Any = shade(found)
    else:
        check_shape("highlight", np.asarray(highlight), weights.shape, "[d, d]")
        colours = [BLUE if x else FAINT for x in np.asarray(highlight)[tails, heads]]
    both = weights[heads, tails] >= least
    size = 24 + 4.4 * max(map(len, names))
    arrows(
        ax,
        positions[tails],
        positions[heads],
        found,
        colours,
        gaps=np.full((found.size, 2), size / 2 + 2),
        bends=np.where(both, BEND, 0.0),
    )
    ax.scatter(*positions.T, s=size**2, color="white", edgecolor=INK, linewidth=1.2, zorder=3)
    for name, (x, y) in zip(names, positions, strict=True):
        ax.text(x, y, name, ha="center", va="center", color=INK, zorder=4, parse_math=False)
    frame(ax, positions, margin=0.22)


def circle(num_nodes: int) -> np.ndarray:
    """`[num_nodes, 2]` points of the unit circle, clockwise from the top."""
    angles = 2 * np.pi * np.arange(num_nodes) / max(num_nodes, 1)
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def shade(weights: np.ndarray) -> np.ndarray:
    """`[n, 4]` colours from pale to dark, of weights between 0 and 1."""
    return shades()(PALEST + (1 - PALEST) * np.clip(weights, 0.0, 1.0))


def arrows(
    ax: Axes,
    tails: np.ndarray,
    heads: np.ndarray,
    weights: np.ndarray,
    colours: Any,
    gaps: np.ndarray,
    bends: np.ndarray,
    widest: float = WIDEST,
) -> None:
    """Arrows between points `[n, 2]`, the widest on top.

    They are `widest` points wide times `weights` `[n]`, in [0, 1]. `gaps` `[n, 2]` keep them clear
    of their ends, in points; `bends` `[n]` are relative to their lengths.
    """
    from matplotlib.patches import FancyArrowPatch

    for i in np.argsort(weights, kind="stable"):
        width = max(widest * weights[i], THINNEST)
        shape = f"head_width={width + HEAD},head_length={0.6 * (width + HEAD)},tail_width={width}"
        ax.add_patch(
            FancyArrowPatch(
                tuple(tails[i]),
                tuple(heads[i]),
                arrowstyle=f"simple,{shape}",
                connectionstyle=f"arc3,rad={bends[i]}",
                shrinkA=gaps[i, 0],
                shrinkB=gaps[i, 1],
                mutation_scale=1.0,
                facecolor=colours[i],
                linewidth=0,
                zorder=2,
            )
        )


def frame(ax: Axes, positions: np.ndarray, margin: float) -> None:
    """Show all nodes, with room around them as a share of each axis, and nothing else."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    room = margin * np.maximum(high - low, 1.0)
    low, high = low - room, high + room
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.axis("off")
