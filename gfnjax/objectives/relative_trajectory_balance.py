"""Relative trajectory balance: a posterior under a prior policy instead of a backward one."""

from dataclasses import dataclass
from typing import ClassVar

from gfnjax import registry
from gfnjax.errors import ArgumentError
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


def relative_trajectory_balance(scores: Scores) -> Residuals:
    """log Z + sum_t log P_F - log R - sum_t log prior (Venkatraman et al., 2405.20971)."""
    check_one(scores)
    assert scores.log_prior is not None  # promised by `needs`
    residual = scores.log_z + scores.log_pf.sum() - scores.log_reward - scores.log_prior.sum()
    return Residuals(residual[None], (scores.length > 0).astype(residual.dtype)[None])


@registry.objective(
    "rtb", summary="relative trajectory balance, uniform prior", fixed={"log_z": "learned"}
)
@registry.objective(
    "rtb-group",
    summary="relative trajectory balance with the log Z of all that share a condition",
    fixed={"log_z": "group"},
)
@dataclass(frozen=True)
class RelativeTrajectoryBalance(Objective):
    """RTB: `relative_trajectory_balance` to the run's `prior`, with a learned log Z.

    At zero on all trajectories P_F(tau) = prior(tau) R(x) / Z: objects are sampled in proportion
    to prior(x) R(x), their probability under the prior times R, and Z is the prior's mean of R.
    No backward policy is involved. `gfnjax.metrics.exact` takes `log_prior` for this target.

    Attributes:
        log_z: "learned"; "flow" for log Z = log F(s_0); or "group" for the mean of log R + sum
            (log prior - log P_F) over the trajectories of a batch with the same prompt, which is
            trajectory balance as language models are tuned by it (TBA: Bartoldson et al.,
            2503.18929).

    Raises:
        ValueError: for any other `log_z`.
    """

    trains_backward: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"log_prior"})
    log_z: LogZ = "learned"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        if self.log_z not in ("learned", "flow", "group"):
            problem = f'must be "learned", "flow" or "group", got {self.log_z!r}'
            raise ArgumentError("log_z", problem)

    def first_log_z(self, scores: Scores) -> Array:
        check_one(scores)
        assert scores.log_prior is not None  # promised by `needs`
        return scores.log_reward + scores.log_prior.sum() - scores.log_pf.sum()

    def residuals(self, scores: Scores) -> Residuals:
        return relative_trajectory_balance(scores)
