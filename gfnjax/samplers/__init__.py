"""Samplers: where the trajectories of a training step come from."""

from gfnjax.samplers.base import Batch, OnPolicy, Sampler
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.samplers.mixed import Mixed
from gfnjax.samplers.windows import Windows

__all__ = ["Batch", "LocalSearch", "Mixed", "OnPolicy", "Sampler", "Windows"]
