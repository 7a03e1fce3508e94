"""Diffusion samplers on the command line: the usual targets by name."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gfnjax import registry
from gfnjax.envs.diffusion import Diffusion
from gfnjax.errors import ArgumentError, require
from gfnjax.numbers import POSITIVE, check_number
from gfnjax.rewards import densities

TargetName = Literal["gmm25", "gmm40", "funnel", "funnel-easy", "many-well", "gaussian"]
# sigma^2 of the Brownian motion, which should reach about as far as the target.
VARIANCES = {"gmm25": 5.0, "gmm40": 500.0}
DIMS = {"gmm25": 2, "gmm40": 2, "funnel": 10, "funnel-easy": 10, "many-well": 32, "gaussian": 2}
FIXED_DIMS = "gmm25", "gmm40"
# Which target a setting is of.
OWNERS = {"mean": "gaussian", "target_variance": "gaussian", "target_seed": "gmm40"}

# 2402.05098, with a learned variance of the steps, at a budget that two cores take minutes for.
SETTINGS: dict[str, Any] = {
    "objective": "tb",
    "network": "drift",
    "backward": "uniform",
    "steps": 3_000,
    "batch_size": 300,
    "learning_rate": 1e-3,
    "log_z_learning_rate": 1e-1,
    "exploration_std": 0.2,
    "exploration_share": 0.5,
    "drift": {"variance_range": 4.0},
}
LANGEVIN = {"drift": {"variance_range": 4.0, "langevin": True}}
SEARCH = {
    "replay": "ranked",
    "langevin_search": 100,
    "exploration_std": 0.1,
    "ranked": {"capacity": 30_000},
}


@registry.environment(
    "diffusion",
    summary="diffusion sampler of a density over R^d, such as 25 Gaussians",
    defaults=SETTINGS,
    variants={
        "plain": {},
        "langevin": LANGEVIN,
        "search": SEARCH,
        "both": LANGEVIN | SEARCH,
        "pis": {"objective": "pis", "exploration_std": 0.0, "exploration_share": None},
    },
)
@dataclass(frozen=True)
class DiffusionConfig:
    """A point that moves from the origin in noisy steps."""

    target: TargetName = "gmm25"
    """what to sample from"""
    dim: int | None = None
    """coordinates; those of the published task without"""
    num_steps: int = 100
    """of the motion"""
    variance: float | None = None
    """of the proposed motion at its end; what suits the target without"""
    mean: float = 0.0
    """of a gaussian target, in each coordinate"""
    target_variance: float = 1.0
    """of a gaussian target, in each coordinate"""
    target_seed: int = 0
    """of the places of gmm40"""

    def __post_init__(self) -> None:
        if self.variance is not None:
            check_number("variance", self.variance, *POSITIVE)
        check_number("target_variance", self.target_variance, *POSITIVE)
        require(np.isfinite(self.mean), "mean", "must be finite", self.mean)
        for name, owner in OWNERS.items():
            if self.target != owner and getattr(self, name) != getattr(DiffusionConfig, name):
                raise ArgumentError(name, f"does nothing without target {owner}", "set {target}")
        if self.target in FIXED_DIMS and self.dim not in (None, DIMS[self.target]):
            problem = f"must be {DIMS[self.target]} for {self.target}, got {self.dim}"
            raise ArgumentError("dim", problem)

    def make(self) -> Diffusion:
        variance = VARIANCES.get(self.target, 1.0) if self.variance is None else self.variance
        return Diffusion(self._reward(), num_steps=self.num_steps, variance=variance)

    def _reward(self) -> Any:
        dim = DIMS[self.target] if self.dim is None else self.dim
        if self.target == "gmm25":
            return densities.grid_mixture()
        if self.target == "gmm40":
            return densities.wide_mixture(seed=self.target_seed)
        if self.target == "many-well":
            return densities.ManyWell(dim)
        if self.target == "gaussian":
            return densities.gaussian(dim, self.mean, self.target_variance)
        return densities.Funnel(dim, 3.0 if self.target == "funnel" else 1.0)
