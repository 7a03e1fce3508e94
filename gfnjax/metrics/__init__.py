"""Metrics: exact by dynamic programming, or estimated from samples."""

from gfnjax.metrics import distances, exact, graph, modes, sampled

__all__ = ["distances", "exact", "graph", "modes", "sampled"]
