"""Trajectory balance and its forms without a learned log Z: one residual a trajectory."""

from dataclasses import dataclass
from typing import ClassVar

from gfnjax import registry
from gfnjax.errors import ArgumentError
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Residuals, Scores


def trajectory_balance(scores: Scores) -> Residuals:
    """log Z + sum_t log P_F - sum_t log P_B - log R (Malkin et al., 2201.13259)."""
    check_one(scores)
    residual = scores.log_z + scores.log_pf.sum() - scores.log_pb.sum() - scores.log_reward
    return Residuals(residual[None], (scores.length > 0).astype(residual.dtype)[None])


@registry.objective("tb", summary="trajectory balance", fixed={"log_z": "learned"})
@registry.objective(
    "tb-flow",
    summary="trajectory balance with log Z = log F(s_0), which may have a condition",
    fixed={"log_z": "flow"},
)
@dataclass(frozen=True)
class TrajectoryBalance(Objective):
    """TB: `trajectory_balance` with a learned log Z.

    Attributes:
        log_z: "learned", or "flow" for log Z = log F(s_0), which may depend on a condition.

    Raises:
        ValueError: for any other `log_z`.
    """

    cycles: ClassVar[Cycles] = "complete"
    log_z: LogZ = "learned"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        if self.log_z not in ("learned", "flow"):
            raise ArgumentError("log_z", f'must be "learned" or "flow", got {self.log_z!r}')

    def residuals(self, scores: Scores) -> Residuals:
        return trajectory_balance(scores)


@registry.objective(
    "vargrad", summary="trajectory balance with the batch's log Z", fixed={"log_z": "batch"}
)
@registry.objective(
    "vargrad-group",
    summary="trajectory balance with the log Z of all in the batch that share a condition",
    fixed={"log_z": "group"},
)
@dataclass(frozen=True)
class LogPartitionVariance(Objective):
    """VarGrad: the TB residual without log Z minus its batch mean (Zhang et al., 2302.05446).

    That is trajectory balance with the batch's own estimate of log Z; with g = square the loss
    is the variance of the estimate. A batch of one has nothing to compare with: its loss is 0.

    Attributes:
        log_z: "batch", or "group" for the mean over those trajectories of the batch that have the
            same condition or prompt: `samplers.Groups` draws several of each.

    Raises:
        ValueError: for any other `log_z`.
    """

    least_batch: ClassVar[int] = 2
    log_z: LogZ = "batch"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        if self.log_z not in ("batch", "group"):
            raise ArgumentError("log_z", f'must be "batch" or "group", got {self.log_z!r}')

    def residuals(self, scores: Scores) -> Residuals:
        return trajectory_balance(scores)


@registry.objective("contrastive", summary="trajectory balance of pairs, no log Z")
@dataclass(frozen=True)
class ContrastiveBalance(Objective):
    """CB: the TB residual of a trajectory minus that of the next one in the batch, no log Z.

    da Silva et al., 2406.03288. A batch of one has nothing to compare with: its loss is 0.
    """

    log_z: ClassVar[LogZ] = "pair"
    least_batch: ClassVar[int] = 2

    def residuals(self, scores: Scores) -> Residuals:
        return trajectory_balance(scores)
