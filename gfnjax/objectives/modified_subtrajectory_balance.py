"""Sub-trajectory balance where prefixes may stop: flows are read off the stop action."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import masking, registry
from gfnjax.numbers import check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.objectives.modified_detailed_balance import flow_from_stop
from gfnjax.objectives.subtrajectory_balance import balance_pairs, log_weight_scale
from gfnjax.shapes import check_one
from gfnjax.types import Array, Number, Residuals, Scores


def modified_subtrajectory_balance(scores: Scores, lambda_: Number) -> Residuals:
    """sum_{i<=t<j} log P_F - log P_B + log F(s_i) - log F(s_j), weight lambda^{j-i-1}, i < j.

    Of all pairs of states that may stop, where log F(s) = log R(s) - log P_F(stop | s): with it
    the step that stops leaves no residual (Hu et al., 2310.04363, eq. 3). A state that may not
    stop has no flow to compare; s_0, if it is one, has log Z.
    """
    check_one(scores)
    log_flow, known = stopping_flow(scores)
    return balance_pairs(scores, log_flow, known, lambda_)


def stopping_flow(scores: Scores) -> tuple[Array, Array]:
    """`[T + 1]` log F of what may stop, log Z at an s_0 that may not; `[T + 1]` where those are."""
    check_one(scores)
    assert scores.log_stop is not None  # promised by `needs`
    step = jnp.arange(scores.log_stop.size, dtype=jnp.int32)
    stops = (step < scores.length) & (scores.log_stop > masking.FILL / 2)
    at_root = (step == 0) & (scores.length > 0)
    log_flow = jnp.where(stops, flow_from_stop(scores), scores.log_z)
    return log_flow, stops | at_root


@registry.objective("msubtb", summary="modified sub-trajectory balance, where prefixes may stop")
@dataclass(frozen=True)
class ModifiedSubTrajectoryBalance(Objective):
    """`modified_subtrajectory_balance`: credit for each prefix of a text, no flow to be learned.

    For `Stoppable` environments, which a minimum length or forced steps may keep from stopping
    here and there. With lambda -> 0 and a stop everywhere it is `ModifiedDetailedBalance`; lambda
    = 1, all pairs alike, is what language models have been trained with (2310.04363). Where s_0
    may not stop log Z is the mean of log R + sum log P_B - sum log P_F over the trajectories of
    the batch with the same condition, of which it then takes two or more. Differs from the
    published code, which has texts below the minimum length end with a reward of exp(-99) and
    the last step of the longest unforced: here neither can happen, and log P_F is that of the
    actions that are allowed.

    Attributes:
        lambda_: what a pair of states weighs, relative to one that is a step closer.

    Raises:
        ValueError: if `lambda_` is not positive and finite.
    """

    log_z: ClassVar[LogZ] = "group"
    least_batch: ClassVar[int] = 2
    needs: ClassVar[frozenset[str]] = frozenset({"log_stop", "log_partial_reward"})
    lambda_: float = 1.0

    def __post_init__(self) -> None:
        valid = (lambda x: 0 < x < math.inf), "be positive and finite"
        check_number("lambda_", self.lambda_, *valid)

    def residuals(self, scores: Scores) -> Residuals:
        return modified_subtrajectory_balance(scores, self.lambda_)

    def log_scale(self, scores: Scores) -> Array:
        return log_weight_scale(scores, self.lambda_)
