"""Detailed balance: one residual a transition."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.shapes import check_one, check_shape
from gfnjax.types import Array, Residuals, Scores


def detailed_balance(scores: Scores, log_flow_next: Array | None = None) -> Residuals:
    """log F(s_t) + log P_F - log F(s_{t+1}) - log P_B (Bengio et al., 2111.09266).

    Args:
        scores: of one trajectory.
        log_flow_next: `[T]` replaces log F(s_{t+1}), by a target network's for instance.

    Raises:
        ValueError: for scores of a batch, or shapes that do not agree.
    """
    check_one(scores)
    log_flow_next = scores.log_flow[1:] if log_flow_next is None else log_flow_next
    check_shape("log_flow_next", log_flow_next, scores.log_pf.shape, "[T]")
    residual = scores.log_flow[:-1] + scores.log_pf - log_flow_next - scores.log_pb
    return Residuals(jnp.where(scores.mask, residual, 0.0), scores.mask.astype(residual.dtype))


@registry.objective("db", summary="detailed balance")
@dataclass(frozen=True)
class DetailedBalance(Objective):
    """DB: `detailed_balance` with the network's flows."""

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"

    def residuals(self, scores: Scores) -> Residuals:
        return detailed_balance(scores)


@registry.objective(
    "target-db", summary="detailed balance against a target network", target_rate=0.005
)
@dataclass(frozen=True)
class TargetDetailedBalance(Objective):
    """DB whose flow of the next state comes from the target network."""

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    def residuals(self, scores: Scores) -> Residuals:
        assert scores.target is not None  # promised by `needs`
        return detailed_balance(scores, scores.target.log_flow[1:])
