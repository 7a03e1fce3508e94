"""Checks for authors of environments and objectives, and small graphs with known answers."""

from gfnjax.testing.claims import ConformanceError
from gfnjax.testing.environments import check_environment
from gfnjax.testing.objectives import check_objective, exact_optimum
from gfnjax.testing.small_graphs import binary_tree, diamond

__all__ = [
    "ConformanceError",
    "binary_tree",
    "check_environment",
    "check_objective",
    "diamond",
    "exact_optimum",
]
