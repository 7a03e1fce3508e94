"""Samplers: where the trajectories of a training step come from."""

from gfnjax.samplers.base import Batch, OnPolicy, Sampler
from gfnjax.samplers.demonstrations import Demonstrations, trajectories_from_actions
from gfnjax.samplers.groups import Groups
from gfnjax.samplers.langevin_search import LangevinSearch
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.samplers.mixed import Mixed
from gfnjax.samplers.mode_count import ModeCount
from gfnjax.samplers.subsampled import Subsampled
from gfnjax.samplers.windows import Windows

__all__ = [
    "Batch",
    "Demonstrations",
    "Groups",
    "LangevinSearch",
    "LocalSearch",
    "Mixed",
    "ModeCount",
    "OnPolicy",
    "Sampler",
    "Subsampled",
    "Windows",
    "trajectories_from_actions",
]
