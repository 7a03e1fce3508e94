"""Metrics: exact by dynamic programming, or estimated from samples."""

from gfnjax.metrics import distances, exact, modes, sampled, state_graph

__all__ = ["distances", "exact", "modes", "sampled", "state_graph"]
