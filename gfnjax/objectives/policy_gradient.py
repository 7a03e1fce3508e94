"""Policy gradients on the entropy-regularised return, whose best policy samples R / Z.

A transition earns log P_B - log P_F, the end log R. The expected return of a policy is then
log Z - KL(P_F || R P_B / Z) over trajectories: at most log Z, and the value of a state under the
best policy is its log F. P_B is a part of the reward and is not trained here; use a fixed one, or
a `TrainedBackward`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
from jax import lax

from gfnjax import registry
from gfnjax.errors import ArgumentError
from gfnjax.numbers import POSITIVE, UNIT, check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one, check_shape
from gfnjax.types import Array, Number, Residuals, Scores

Advantage = Literal["reinforce", "reward-to-go", "baseline", "gae"]


def generalised_advantages(scores: Scores, lambda_: Number) -> Array:
    """A_t = sum_{k >= t} lambda^(k-t) d_k, d_k = log P_B - log P_F + V(s_{k+1}) - V(s_k): `[T]`.

    V is `scores.log_flow`, log R at the end, so that d_k is minus the residual of detailed
    balance (GAE: Schulman et al., 1506.02438). lambda = 1 gives the return from t on minus V(s_t);
    a window of an unfinished trajectory is continued by the value of its last state.
    """
    check_one(scores)
    value = scores.log_flow
    reward = scores.log_pb - scores.log_pf
    error = jnp.where(scores.mask, reward + value[1:] - value[:-1], 0.0)

    def accumulate(later: Array, error: Array) -> tuple[Array, Array]:
        advantage = error + lambda_ * later
        return advantage, advantage

    return lax.scan(accumulate, jnp.zeros_like(error[0]), error, reverse=True)[1]


def returns(scores: Scores) -> Array:
    """G_t = sum_{k >= t} (log P_B - log P_F) + log R: `[T]`, zero after the end."""
    check_one(scores)
    at_the_end = jnp.where(terminal_step(scores), scores.log_flow, 0.0)
    total = generalised_advantages(scores._replace(log_flow=at_the_end), 1.0)
    return jnp.where(scores.mask, total, 0.0)


def value_regression(scores: Scores, advantage: Array, value: Array | None = None) -> Residuals:
    """V(s_t) - (A_t + V_old(s_t)), the lambda-return, with a gradient through V(s_t) alone.

    Args:
        scores: of one trajectory.
        advantage: `[T]`.
        value: `[T + 1]` the values that the advantage was computed with; V by default.

    Raises:
        ValueError: for scores of a batch, or shapes that do not agree.
    """
    check_one(scores)
    value = scores.log_flow if value is None else value
    check_shape("advantage", advantage, scores.log_pf.shape, "[T]")
    check_shape("value", value, scores.log_flow.shape, "[T + 1]")
    target = lax.stop_gradient(advantage + value[:-1])
    residual = jnp.where(scores.mask, scores.log_flow[:-1] - target, 0.0)
    return Residuals(residual, scores.mask.astype(residual.dtype))


@registry.objective(
    "reinforce",
    summary="policy gradient on the entropy-regularised return",
    fixed={"advantage": "reinforce", "lambda_": 0.95, "policy_weight": 1.0},
)
@registry.objective(
    "reward-to-go",
    summary="policy gradient on what is still to come",
    fixed={"advantage": "reward-to-go", "lambda_": 0.95, "policy_weight": 1.0},
)
@registry.objective(
    "baseline",
    summary="policy gradient beside a learned value",
    fixed={"advantage": "baseline", "lambda_": 0.95},
)
@registry.objective(
    "gae",
    summary="policy gradient with generalised advantages",
    fixed={"advantage": "gae"},
)
@dataclass(frozen=True)
class PolicyGradient(Objective):
    """- sum_t log P_F(s_{t+1} | s_t) A_t, with the advantage A_t held fixed (2606.15793).

    Its expected gradient on the policy's own trajectories is minus that of the expected return:

        "reinforce"     A_t = G_0, the return of the whole trajectory
        "reward-to-go"  A_t = G_t, what is earned from t on
        "baseline"      A_t = G_t - V(s_t)
        "gae"           A_t = `generalised_advantages`; biased as far as V is wrong and lambda < 1

    V is the policy's `log_flow`, fitted to the lambda-return of each visited state by the
    regression g; the first two forms have no V, and estimate log Z by the batch's mean return, a
    lower bound. With V = log F and P_F at their optimum, A_t of the last two forms is zero on
    every trajectory. One update a batch: for more see `EntropyPPO`.

    Attributes:
        advantage: one of the four above.
        lambda_: of "gae", in [0, 1].
        policy_weight: of the policy gradient beside the regression of the value, positive.

    Raises:
        ValueError: for any other advantage, or a number out of range.
    """

    on_policy: ClassVar[bool] = True
    trains_backward: ClassVar[bool] = False
    advantage: Advantage = "gae"
    lambda_: float = 0.95
    policy_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.advantage not in get_args(Advantage):
            raise ArgumentError(
                "advantage",
                f"must be one of {', '.join(get_args(Advantage))}, got {self.advantage!r}",
            )
        check_number("lambda_", self.lambda_, *UNIT)
        check_number("policy_weight", self.policy_weight, *POSITIVE)

    @property
    def has_value(self) -> bool:
        """Whether there is a V to be learned."""
        return self.advantage in ("baseline", "gae")

    @property
    def log_z(self) -> LogZ:  # pyrefly: ignore[bad-override]
        return "flow" if self.has_value else "batch"

    @property
    def incomplete(self) -> bool:  # pyrefly: ignore[bad-override]
        return self.has_value

    def advantages(self, scores: Scores) -> Array:
        """A_t of one trajectory: `[T]`, zero after the end."""
        if self.advantage == "gae":
            return generalised_advantages(scores, self.lambda_)
        if self.advantage == "baseline":
            return generalised_advantages(scores, 1.0)
        to_go = returns(scores)
        return to_go if self.advantage == "reward-to-go" else jnp.where(scores.mask, to_go[0], 0.0)

    def residuals(self, scores: Scores) -> Residuals:
        if self.has_value:
            return value_regression(scores, self.advantages(scores))
        check_one(scores)
        return Residuals(jnp.zeros_like(scores.log_pf), jnp.zeros_like(scores.log_pf))

    def extra_loss(self, scores: Scores) -> Array:
        advantage = lax.stop_gradient(self.advantages(scores))
        return -self.policy_weight * (scores.log_pf * advantage).sum()
