"""Metrics: exact by dynamic programming, or estimated from samples."""

from gfnjax.metrics import (
    densities,
    directed_graphs,
    distances,
    exact,
    flow_consistency,
    modes,
    sampled,
    state_graph,
    texts,
)

__all__ = [
    "densities",
    "directed_graphs",
    "distances",
    "exact",
    "flow_consistency",
    "modes",
    "sampled",
    "state_graph",
    "texts",
]
