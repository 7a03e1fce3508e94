"""f-TB: trajectory balance with the batch's log Z and a g for each f-divergence, one a trajectory.

With D = sum log P_F - sum log P_B - log R, all of D + log Z vanish at the optimum, whatever the
batch. Take for log Z a mean c(D) of -D over the batch: the loss

    mean of g(D + c(D))     does not change as log R does by a constant, and needs no learned log Z.

g' = f'(e^D) makes the expected gradient over the policy's own trajectories that of D_f(P_F || Q)
with Q = R P_B / Z (Hu et al., 2410.02596), if c is log Z. Fawkes and Hartford (2605.15417) centre
by batches; what is here has been derived anew and is tested by enumeration:

    alpha            c = (1/k') log mean exp(-k' D), k' = 1 - alpha, minimises the loss over c, so
                     that the weights g' of a batch add up to zero. For the loss that is left,
                     (log mean exp(-k' D) / k' + mean D) / k', see `regression.Alpha`. alpha = 1 is
                     VarGrad, half of it; alpha = 0 is log mean e^{-D} + mean D.
    jensen-shannon   no c that minimises is log Z; c = log mean e^{-D}, the estimate by importance.

In the limit of large batches of the policy's own trajectories the gradient in P_F *equals* that of
both KLs and of four times the JSD. For other alpha it is that of D_alpha divided by sum P (P/Q)^k,
a positive number: the same direction, the gradient of a Renyi divergence. Gradients in P_B are no
gradients of D_f, as those of trajectory balance are not. In batches that are small the estimates
c are too low (alpha < 1) and have the variance of importance weights.

Off-policy, if all trajectories are drawn, with any frequencies b: c lies between the extremes of
-D, so D + c has one sign everywhere only where it is 0. At a stationary point of tables
b g'(D + c) = lambda P_F, of one sign: then all D are alike, and P_F / P_B is proportional to R.
That is the only one. Nothing is said of networks that cannot hold it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.errors import require
from gfnjax.numbers import check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.objectives.regression import FINITE, Alpha, jensen_shannon
from gfnjax.objectives.trajectory_balance import trajectory_balance
from gfnjax.types import Array, Number, Residuals, Scores

Divergence = Literal["alpha", "jensen-shannon"]


@registry.objective("f-tb", summary="trajectory balance of an f-divergence, with the batch's log Z")
@dataclass(frozen=True)
class FTrajectoryBalance(Objective):
    """f-TB: g(D + c), where g and c are those of a divergence; `regression` is not applied.

    A batch of one has nothing to compare with: its loss is 0.

    Attributes:
        divergence: "alpha", or "jensen-shannon".
        alpha: of the former: 0 KL(Q || P), 1/2 Hellinger, 1 KL(P || Q), 2 chi^2(P || Q).

    Raises:
        ValueError: for another divergence, or an alpha that is not finite.
    """

    log_z: ClassVar[LogZ] = "batch"
    least_batch: ClassVar[int] = 2
    divergence: Divergence = "alpha"
    """alpha, or jensen-shannon"""
    alpha: float = 0.5
    """0 covers all modes (KL(target || policy)), .5 Hellinger, 1 is VarGrad, 2 chi-square"""

    def __post_init__(self) -> None:
        known = self.divergence in ("alpha", "jensen-shannon")
        require(known, "divergence", "must be alpha or jensen-shannon", self.divergence)
        check_number("alpha", self.alpha, *FINITE)

    @property
    def log_z_power(self) -> Number:
        return 1.0 if self.divergence == "jensen-shannon" else 1.0 - self.alpha

    def residuals(self, scores: Scores) -> Residuals:
        """Zeros, for g; with the weights by which penalties are averaged."""
        values, weights = trajectory_balance(scores)
        return Residuals(jnp.zeros_like(values), weights)

    def penalties(self, scores: Scores) -> Array:
        g = jensen_shannon if self.divergence == "jensen-shannon" else Alpha(self.alpha)
        return g(trajectory_balance(scores).values)
