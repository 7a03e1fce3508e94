"""Kinds of actions that are not numbered: densities over real numbers, behind `gfnjax.actions`."""

from gfnjax.distributions.box import BoxAction, CartesianStep, Interval, PolarStep, Quadrant
from gfnjax.distributions.deterministic import Deterministic, Only
from gfnjax.distributions.gaussian import Gaussian, Proposal, Step
from gfnjax.distributions.torus import Turn, Turns

__all__ = [
    "BoxAction",
    "CartesianStep",
    "Deterministic",
    "Gaussian",
    "Interval",
    "Only",
    "PolarStep",
    "Proposal",
    "Quadrant",
    "Step",
    "Turn",
    "Turns",
]
