"""Flows on a state graph: how much goes along every edge, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.plot.curves import BLUE, INK, ORANGE
from gfnjax.plot.networks import BEND, arrows, frame, shade
from gfnjax.shapes import check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "layers"]

MAX_DRAWN = 400
# In points: the diameter of a state that nothing flows through and what s_0 has more; the width of
# an arrow that carries all of Z; letters.
SMALLEST, MORE, WIDEST, FONT = 6.0, 24.0, 13.0, 7.5


def draw(
    ax: Axes,
    graph: StateGraph,
    log_flow: Any,
    log_pf: Any,
    *,
    positions: Any = None,
    labels: Sequence[str] | None = None,
    log_scale: float | None = None,
) -> None:
    """The flow F(s) P_F(s' | s) along every edge s -> s', as the width and shade of an arrow.

    What arrives in a state leaves it: widths add up. States are circles of an area that grows with
    F(s), terminal ones orange squares, where F(x) = R(x) at the optimum. Of any policy with an
    estimate of log Z the flows are `log_z + jnp.log(exact.expected_visits(graph, log_pf))`. Edges
    from a state to itself are left out.

        graph = state_graph.build_graph(env)
        log_flow, log_pf = exact.optimal_flow(graph, log_pb)
        flows.draw(ax, graph, log_flow, log_pf)

    Args:
        ax: matplotlib axes.
        graph: of the environment.
        log_flow: `[N]` nats.
        log_pf: `[N, num_actions]`.
        positions: `[N, 2]` where states are; in columns by their distance from s_0 without.
        labels: `[N]` what is written on states; F(s) without, and nothing for `()`.
        log_scale: nats, the flow that is drawn widest: log F(s_0) without. To compare two pictures,
            give both the same.

    Raises:
        ValueError: for other shapes, for more than 400 states, where s_1 is drawn, or without
            `positions` where there are cycles.
    """
    _check(graph, log_flow, log_pf)
    positions = layers(graph) if positions is None else np.asarray(positions, float)
    check_shape("positions", positions, (graph.num_states, 2), "[N, 2]")
    log_flow, log_pf = np.asarray(log_flow, float), np.asarray(log_pf, float)
    top = log_flow[int(graph.source)] if log_scale is None else log_scale
    share = np.exp(np.minimum(log_flow - top, 0.0))
    sizes = SMALLEST + MORE * np.sqrt(share)
    tails, heads, carried = edges(graph, share, log_pf)
    gaps = np.stack([sizes[tails], sizes[heads]], axis=1) / 2 + 1
    there = set(zip(tails.tolist(), heads.tolist(), strict=True))
    both = [(head, tail) in there for tail, head in zip(tails, heads, strict=True)]
    bends = np.where(both, BEND, 0.0)
    arrows(ax, positions[tails], positions[heads], carried, shade(carried), gaps, bends, WIDEST)
    terminal = np.asarray(graph.terminal)
    for which, marker, colour in ((~terminal, "o", BLUE), (terminal, "s", ORANGE)):
        area = sizes[which] ** 2
        look: Any = {"marker": marker, "color": colour, "edgecolor": "white", "zorder": 3}
        ax.scatter(*positions[which].T, s=area, **look)
    if labels is None:
        labels = [f"{x:.3g}" for x in np.exp(log_flow)]
    if len(labels):
        _write(ax, positions, sizes, labels)
    frame(ax, positions, margin=0.11)


def edges(
    graph: StateGraph, flow: np.ndarray, log_pf: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States that edges leave and enter `[E]`, and what they carry; parallel ones are added up."""
    children = np.asarray(graph.children)
    mask = np.asarray(graph.forward_mask) & (children != np.arange(len(children))[:, None])
    tails = np.nonzero(mask)[0]
    carried = flow[tails] * np.exp(log_pf[mask])
    pairs, which = np.unique(np.stack([tails, children[mask]]), axis=1, return_inverse=True)
    return pairs[0], pairs[1], np.bincount(which.reshape(-1), carried, pairs.shape[1])


def layers(graph: StateGraph) -> np.ndarray:
    """`[N, 2]` a column for each distance from s_0, states beside their parents where they can be.

    Raises:
        ValueError: where there are cycles, and no distance.
    """
    if graph.levels is None:
        problem = "must be given: with cycles, or where s_1 is drawn, states have no distance"
        raise ArgumentError("positions", problem)
    positions = np.zeros((graph.num_states, 2))
    parents, mask = np.asarray(graph.parents), np.asarray(graph.backward_mask)
    for column, level in enumerate(np.asarray(graph.levels)):
        states = level[level < graph.num_states]
        above = np.where(mask[states], positions[parents[states], 1], 0.0).sum(axis=1)
        above = above / np.maximum(mask[states].sum(axis=1), 1)
        order = states[np.argsort(-above, kind="stable")]
        positions[order, 0] = column
        positions[order, 1] = (len(states) - 1) / 2 - np.arange(len(states))
    return positions


def _check(graph: StateGraph, log_flow: Any, log_pf: Any) -> None:
    if graph.num_states > MAX_DRAWN:
        problem = f"must have at most {MAX_DRAWN} states to be drawn, got {graph.num_states:,}"
        raise ArgumentError("graph", problem, "use a smaller environment")
    if graph.log_source is not None:
        raise ArgumentError("graph", "must have one first state to be drawn; here s_1 is random")
    check_shape("log_flow", np.asarray(log_flow), (graph.num_states,), "[N]")
    check_shape("log_pf", np.asarray(log_pf), graph.forward_mask.shape, "[N, num_actions]")


def _write(ax: Axes, positions: np.ndarray, sizes: np.ndarray, labels: Sequence[str]) -> None:
    """Labels inside of large states, beside small ones."""
    if len(labels) != len(positions):
        raise ArgumentError("labels", f"must be {len(positions)}, one a state, got {len(labels)}")
    from matplotlib.patheffects import withStroke

    for (x, y), size, label in zip(positions, sizes, labels, strict=True):
        letters = 0.64 * (len(label) - label.count(".")) + 0.32 * label.count(".")
        inside = size > 1.05 * FONT * letters
        ax.annotate(
            label,
            (x, y),
            (0, 0) if inside else (0.45 * size + 1, -0.3 * size),
            textcoords="offset points",
            ha="center" if inside else "left",
            va="center" if inside else "top",
            fontsize=FONT,
            color="white" if inside else INK,
            path_effects=[] if inside else [withStroke(linewidth=2, foreground="white")],
            zorder=4,
            parse_math=False,
        )
