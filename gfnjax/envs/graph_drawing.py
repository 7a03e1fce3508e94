"""Graphs on matplotlib axes: where nodes go, and how nodes and edges look."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gfnjax.envs.drawing import BLUE, INK, ORANGE

__all__ = ["Lines", "circle", "draw_graph", "spread_out"]

# Of classes of nodes or edges; the first comes again after the last.
CLASSES = BLUE, ORANGE, "#6c8c3c", "#8d6a9f", "#b98d1c"
# Above this many nodes a layout takes seconds, and shows nothing.
MAX_SPREAD = 200
NUM_ITERATIONS = 200
# Diameters of nodes, in points: of few, and of so many that they have to share the room.
LARGEST, SHARED = 19.0, 56.0


class Lines(NamedTuple):
    """Edges that look alike.

    Attributes:
        pairs: `[m, 2]` from and to.
        colour: of all.
        width: in points.
    """

    pairs: np.ndarray
    colour: str = INK
    width: float = 1.6


def circle(num_nodes: int) -> np.ndarray:
    """`[n, 2]` places on the unit circle, clockwise from the top."""
    angle = 2 * np.pi * np.arange(num_nodes) / num_nodes
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def spread_out(adjacency: Any) -> np.ndarray:
    """`[n, 2]` places whose distances are about those of the graph: the same for the same graph.

    The stress sum_{u < v} (|x_u - x_v| - d_uv)^2 / d_uv^2 is lowered by majorisation (Gansner et
    al., 2004), from the two leading coordinates of classical scaling, d the number of edges
    between two nodes. A circle where all nodes are alike, or very many.

    Args:
        adjacency: `[n, n]` bool, symmetric.
    """
    num_nodes = len(adjacency)
    if num_nodes > MAX_SPREAD:
        return circle(num_nodes)
    distance = _distances(np.asarray(adjacency, bool))
    if (distance + np.eye(num_nodes) == 1).all():
        return circle(num_nodes)
    weight = (distance + np.eye(num_nodes)) ** -2.0 - np.eye(num_nodes)
    inverse = np.linalg.pinv(np.diag(weight.sum(axis=1)) - weight)
    places = _scaled(distance)
    for _ in range(NUM_ITERATIONS):
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        pull = weight * distance / np.maximum(apart, 1e-9)
        places = inverse @ (np.diag(pull.sum(axis=1)) - pull) @ places
    # The longest way across lies level.
    places = places @ np.linalg.svd(places, full_matrices=False)[2].T
    return places / np.abs(places).max()


def draw_graph(
    axes: Any,
    places: np.ndarray,
    lines: Sequence[Lines],
    colours: Sequence[str] | str = BLUE,
    names: Sequence[str] = (),
    directed: bool = False,
) -> None:
    """Draw a graph on a matplotlib axes.

    Args:
        axes: to draw on.
        places: `[n, 2]` of the nodes.
        lines: the edges.
        colours: of the nodes, of each or of all.
        names: of the nodes, written into them in white; none if empty.
        directed: whether edges are arrows; those that go both ways are bent.
    """
    diameter = min(LARGEST, SHARED / max(len(places), 1) ** 0.5)
    both = {(v, u) for some in lines for u, v in some.pairs.tolist()}
    for pairs, colour, width in lines:
        if not directed:
            axes.plot(*places[pairs].transpose(2, 1, 0), color=colour, linewidth=width, zorder=1)
            continue
        for u, v in pairs.tolist():
            arrow = {"arrowstyle": "-|>,head_length=.55,head_width=.25", "mutation_scale": 14}
            ends = {"shrinkA": diameter / 2, "shrinkB": diameter / 2 + 1}
            bent = {"connectionstyle": f"arc3,rad={0.15 * ((u, v) in both)}"}
            look = {"color": colour, "linewidth": width}
            axes.annotate("", places[v], places[u], arrowprops=arrow | ends | bent | look, zorder=1)
    rim = {"edgecolors": INK, "linewidths": 0.8}
    axes.scatter(*places.T, s=diameter**2, c=colours, zorder=2, **rim)
    for place, name in zip(places, names, strict=False):
        text = {"ha": "center", "va": "center_baseline", "color": "white", "zorder": 3}
        axes.text(*place, name, fontsize=0.55 * diameter, parse_math=False, **text)
    axes.set_aspect("equal", "datalim")
    axes.margins(0.1)
    axes.axis("off")


def counted(number: int, noun: str) -> str:
    """`counted(2, "edge")` is 2 edges."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _distances(adjacency: np.ndarray) -> np.ndarray:
    """`[n, n]` edges between two nodes; a little more than half of the most if there is no way."""
    num_nodes = len(adjacency)
    near = adjacency | np.eye(num_nodes, dtype=bool)
    reached, distance = np.eye(num_nodes, dtype=bool), np.zeros((num_nodes,) * 2)
    while ((following := reached @ near) != reached).any():
        distance += ~reached  # still to go
        reached = following
    most = distance[reached].max(initial=0)
    return np.where(reached, distance, most // 2 + 1)


def _scaled(distance: np.ndarray) -> np.ndarray:
    """`[n, 2]` classical scaling, with a little noise so that no two nodes are in one place."""
    num_nodes = len(distance)
    centre = np.eye(num_nodes) - 1 / num_nodes
    values, vectors = np.linalg.eigh(-0.5 * centre @ distance**2 @ centre)
    places = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.0))
    return places + 0.05 * np.random.default_rng(0).normal(size=places.shape)
