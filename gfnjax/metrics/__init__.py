"""Metrics: exact by dynamic programming, or estimated from samples."""

from gfnjax.metrics import directed_graphs, distances, exact, modes, sampled, state_graph, texts

__all__ = ["directed_graphs", "distances", "exact", "modes", "sampled", "state_graph", "texts"]
