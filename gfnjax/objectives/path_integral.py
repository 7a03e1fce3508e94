"""The path integral sampler: the reverse KL divergence, differentiated through the sampling."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


@registry.objective("pis", summary="reverse KL, differentiated through the sampling")
@dataclass(frozen=True)
class PathIntegral(Objective):
    """sum_t log P_F - sum_t log P_B - log R, the mean over the policy's own trajectories.

    Its expectation is KL(P_F || R P_B / Z) - log Z, so that minus the loss is a lower bound of
    log Z. The gradient goes through the states: they are functions of the parameters and of noise,
    so actions must be reparametrised, and log R must have a gradient (PIS: Zhang & Chen,
    2111.15141; of the divergence `gfnjax.learning.pathwise` leaves out what is 0 in the mean).
    Trajectory balance has the same optimum without either, off-policy too.
    """

    log_z: ClassVar[LogZ] = "batch"
    on_policy: ClassVar[bool] = True
    pathwise: ClassVar[bool] = True

    def residuals(self, scores: Scores) -> Residuals:
        check_one(scores)
        nothing = jnp.zeros(1, scores.log_pf.dtype)
        return Residuals(nothing, nothing)

    def extra_loss(self, scores: Scores) -> Array:
        check_one(scores)
        return scores.log_pf.sum() - scores.log_pb.sum() - scores.log_reward
