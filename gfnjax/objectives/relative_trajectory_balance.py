"""Relative trajectory balance: a posterior under a prior policy instead of a backward one."""

from dataclasses import dataclass
from typing import ClassVar

from gfnjax import registry
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


def relative_trajectory_balance(scores: Scores) -> Residuals:
    """log Z + sum_t log P_F - log R - sum_t log prior (Venkatraman et al., 2405.20971)."""
    check_one(scores)
    assert scores.log_prior is not None  # promised by `needs`
    residual = scores.log_z + scores.log_pf.sum() - scores.log_reward - scores.log_prior.sum()
    return Residuals(residual[None], (scores.length > 0).astype(residual.dtype)[None])


@registry.objective("rtb", summary="relative trajectory balance, uniform prior")
@dataclass(frozen=True)
class RelativeTrajectoryBalance(Objective):
    """RTB: `relative_trajectory_balance` to the run's `prior`, with a learned log Z.

    At zero on all trajectories P_F(tau) = prior(tau) R(x) / Z: objects are sampled in proportion
    to prior(x) R(x), their probability under the prior times R, and Z is the prior's mean of R.
    No backward policy is involved. `gfnjax.metrics.exact` takes `log_prior` for this target.
    """

    log_z: ClassVar[LogZ] = "learned"
    trains_backward: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"log_prior"})

    def first_log_z(self, scores: Scores) -> Array:
        check_one(scores)
        assert scores.log_prior is not None  # promised by `needs`
        return scores.log_reward + scores.log_prior.sum() - scores.log_pf.sum()

    def residuals(self, scores: Scores) -> Residuals:
        return relative_trajectory_balance(scores)
