"""Sub-trajectory balance: one residual a pair of visited states."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax.objectives.base import LogZ, Objective
from gfnjax.types import Residuals, Scores

EXPONENT_LIMIT = 60.0


def subtrajectory_balance(scores: Scores, lambda_: float) -> Residuals:
    """log F(s_i) + sum_{i<=t<j} (log P_F - log P_B) - log F(s_j), weight lambda^{j-i}, i < j.

    With u_t = log F(s_t) - sum_{k<t} (log P_F - log P_B) the residual is u_i - u_j: all pairs in
    O(T^2) memory and one subtraction (Madan et al., 2209.12782).
    """
    ratio = scores.log_pf - scores.log_pb
    potential = scores.log_flow - jnp.pad(jnp.cumsum(ratio), (1, 0))
    step = jnp.arange(potential.size, dtype=jnp.int32)
    gap = step[None, :] - step[:, None]
    pair = (gap > 0) & (step[None, :] <= scores.length)
    residual = jnp.where(pair, potential[:, None] - potential[None, :], 0.0)
    # A common factor cancels in the weighted mean: centre the exponents so that neither end
    # leaves the range of float32.
    offset = 1.0 if lambda_ <= 1 else (potential.size - 1) / 2
    exponent = jnp.clip(
        (gap.astype(residual.dtype) - offset) * math.log(lambda_), -EXPONENT_LIMIT, EXPONENT_LIMIT
    )
    weight = jnp.where(pair, jnp.exp(exponent), 0.0).astype(residual.dtype)
    return Residuals(residual.reshape(-1), weight.reshape(-1))


@dataclass(frozen=True)
class SubTrajectoryBalance(Objective):
    """SubTB(lambda): between detailed balance (lambda -> 0) and trajectory balance (-> inf).

    Raises:
        ValueError: if `lambda_` is not positive.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    lambda_: float = 0.9

    def __post_init__(self) -> None:
        if not self.lambda_ > 0:
            raise ValueError(f"lambda_ must be positive, got {self.lambda_}")

    def residuals(self, scores: Scores) -> Residuals:
        return subtrajectory_balance(scores, self.lambda_)
