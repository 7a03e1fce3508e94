"""Proximal policy optimisation of the reward: what a GFlowNet is not."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from gfnjax import registry
from gfnjax.algorithms.returns import Return, check_return, entropy, with_return
from gfnjax.numbers import INSIDE_UNIT, NON_NEGATIVE, POSITIVE, UNIT, check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.objectives.entropy_ppo import clipped_surrogate
from gfnjax.objectives.policy_gradient import generalised_advantages, value_regression
from gfnjax.shapes import check_one
from gfnjax.types import Array, Number, Residuals, Scores


def advantages(scores: Scores, lambda_: Number) -> Array:
    """A_t = sum_{k >= t} lambda^{k-t} (V(s_{k+1}) - V(s_k)) `[T]`, zero after the end.

    Generalised advantages (1506.02438) without discounting, where all reward comes at the end and
    the value of the end is the return; lambda = 1 gives the return minus V(s_t).
    """
    check_one(scores)
    nothing = jnp.zeros_like(scores.log_pf)
    unpaid = scores._replace(log_pf=nothing, log_pb=nothing)  # no entropy, no P_B
    return generalised_advantages(unpaid, lambda_)


@registry.objective("ppo", summary="baseline: PPO on log R alone; --num-updates 4")
@registry.objective(
    "ppo-plain",
    summary="baseline: the same without its entropy, for very many actions",
    fixed={"entropy_weight": None},
)
@dataclass(frozen=True)
class RewardPPO(Objective):
    """Clipped PPO (Schulman et al., 1707.06347) on the reward alone; the flow head is the value.

    With rho_t = P_F / P_F before the updates on this batch, and A_t as in `advantages`,

        loss = policy_weight * E[-sum_t min(rho_t A_t, clip(rho_t, 1 - clip, 1 + clip) A_t)
                                 - entropy_weight sum_t H(P_F(. | s_t))]
               + mean over transitions of g(V(s_t) - A_t - V_old(s_t)).

    It looks for the best object, not for R / Z: neither P_B nor log Z takes part. Give the
    `GFlowNet` `num_updates` of about 4; with one update rho = 1 and this is actor-critic.

    Attributes:
        clip: how far rho may gain from leaving 1, in (0, 1).
        lambda_: of the advantages, in [0, 1].
        entropy_weight: of the entropy of the policy, at least 0. With None the policy need not
            tell log P_F of all actions, `[B, T + 1, num_actions]` numbers: for vocabularies.
        policy_weight: of the policy's loss beside that of the value, positive.
        returns: what is maximised in expectation, "log_reward" or "reward".

    Raises:
        ValueError: for an argument out of range.
    """

    # The mean of log R + sum log P_B - sum log P_F bounds log Z from below, for any policy.
    log_z: ClassVar[LogZ] = "group"
    on_policy: ClassVar[bool] = True
    trains_backward: ClassVar[bool] = False
    clip: float = 0.2
    lambda_: float = 0.95
    entropy_weight: float | None = 0.0
    policy_weight: float = 1.0
    returns: Return = "log_reward"

    def __post_init__(self) -> None:
        check_number("clip", self.clip, *INSIDE_UNIT)
        check_number("lambda_", self.lambda_, *UNIT)
        if self.entropy_weight is not None:
            check_number("entropy_weight", self.entropy_weight, *NON_NEGATIVE)
        check_number("policy_weight", self.policy_weight, *POSITIVE)
        check_return(self.returns)

    @property
    def needs(self) -> frozenset[str]:  # pyrefly: ignore[bad-override]
        return frozenset(
            {"previous"} if self.entropy_weight is None else {"previous", "log_policy"}
        )

    def adapt(self, scores: Scores) -> Scores:
        return with_return(scores, self.returns)

    def first_log_z(self, scores: Scores) -> Array:
        check_one(scores)
        return jnp.zeros_like(scores.log_reward)  # the flow head is a value, and no log flow

    def residuals(self, scores: Scores) -> Residuals:
        """V(s_t) - (A_t + V_old(s_t)), one a transition: `[T]`."""
        assert scores.previous is not None  # promised by `needs`
        return value_regression(scores, self._advantages(scores), scores.previous.log_flow)

    def extra_loss(self, scores: Scores) -> Array:
        loss = clipped_surrogate(scores, self._advantages(scores), self.clip)
        if self.entropy_weight is None:
            return self.policy_weight * loss
        assert scores.log_policy is not None  # promised by `needs`
        surprise = jnp.where(scores.mask, entropy(scores.log_policy[:-1]), 0.0).sum()
        return self.policy_weight * (loss - self.entropy_weight * surprise)

    def _advantages(self, scores: Scores) -> Array:
        assert scores.previous is not None  # promised by `needs`
        return lax.stop_gradient(advantages(scores.previous, self.lambda_))
