"""Sweeps: many runs as one compiled program."""

from gfnjax.sweeps.cores import use_cores
from gfnjax.sweeps.placement import Placement
from gfnjax.sweeps.points import log_uniform, uniform
from gfnjax.sweeps.sweep import Sweep, sweep

__all__ = ["Placement", "Sweep", "log_uniform", "sweep", "uniform", "use_cores"]
