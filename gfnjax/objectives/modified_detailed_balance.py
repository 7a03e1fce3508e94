"""Detailed balance where every state may stop: the flow is read off the stop action."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.objectives.detailed_balance import detailed_balance
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


def flow_from_stop(scores: Scores) -> Array:
    """log F(s_t) = log R(s_t) - log P_F(stop | s_t), log R at the terminal state: `[T + 1]`.

    A state that may stop has a terminal copy with the reward R(s), which only it leads to.
    """
    check_one(scores)
    assert scores.log_partial_reward is not None  # promised by `needs`
    assert scores.log_stop is not None
    return scores.log_partial_reward - scores.log_stop


@registry.objective("mdb", summary="modified detailed balance, where every state may stop")
@dataclass(frozen=True)
class ModifiedDetailedBalance(Objective):
    """log R(s) + log P_F(s' | s) + log P_F(stop | s') - log R(s') - log P_B - log P_F(stop | s).

    Detailed balance without a learned flow, for `Stoppable` environments, on the transitions that
    do not stop (Deleu et al., 2202.13903, with the sign of detailed balance); where a trajectory
    stops there is nothing left to balance. The policy's own `log_flow` is not used: the flow, and
    log Z = log F(s_0) with it, is `flow_from_stop`.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    stops_everywhere: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"log_stop", "log_partial_reward"})

    def adapt(self, scores: Scores) -> Scores:
        return scores._replace(log_flow=flow_from_stop(scores))

    def residuals(self, scores: Scores) -> Residuals:
        values, weights = detailed_balance(scores)
        return Residuals(values, jnp.where(terminal_step(scores)[1:], 0.0, weights))
