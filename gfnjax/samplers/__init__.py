"""Samplers: where the trajectories of a training step come from."""

from gfnjax.samplers.base import Batch, OnPolicy, Sampler
from gfnjax.samplers.teacher import Teacher
from gfnjax.samplers.windows import Windows

__all__ = ["Batch", "OnPolicy", "Sampler", "Teacher", "Windows"]
