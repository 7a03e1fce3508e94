"""Maximum likelihood of given trajectories: supervised fine-tuning."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


@registry.objective(
    "likelihood", summary="maximum likelihood of what is given: learns the data, not R / Z"
)
@dataclass(frozen=True)
class MaximumLikelihood(Objective):
    """- sum_t log P_F(s_{t+1} | s_t), the mean over trajectories.

    Its policy samples what it was shown, whatever the rewards: of trajectories drawn from data,
    with the sampler `Demonstrations`, the distribution of the data. On the policy's own
    trajectories its expected gradient is zero, and nothing is learned. The baseline that is called
    supervised fine-tuning, and a start for others. There is no residual, and flows are not trained;
    the estimate of log Z is the mean of log R + sum log P_B - sum log P_F over the data, for each
    condition on its own: an upper bound where the data are samples of R / Z.
    """

    log_z: ClassVar[LogZ] = "group"
    trains_backward: ClassVar[bool] = False

    def residuals(self, scores: Scores) -> Residuals:
        check_one(scores)
        nothing = jnp.zeros(1, scores.log_pf.dtype)
        return Residuals(nothing, nothing)

    def extra_loss(self, scores: Scores) -> Array:
        check_one(scores)
        return -scores.log_pf.sum()
