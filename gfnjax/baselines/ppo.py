"""Proximal policy optimisation of the reward: what a GFlowNet is not."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from gfnjax.baselines.returns import Return, check_return, entropy, with_return
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.types import Array, Residuals, Scores

MAX_LOG_RATIO = 20.0


def advantages(values: Array, mask: Array, lambda_: float) -> Array:
    """A_t = sum_{k >= t} lambda^{k-t} (V(s_{k+1}) - V(s_k)): generalised advantages (1506.02438).

    Without discounting, all reward at the end, whose value is the return; lambda = 1 gives the
    return minus V(s_t).

    Args:
        values: `[T + 1]`.
        mask: `[T]` True on live transitions.
        lambda_: in [0, 1].

    Returns:
        `[T]`, zero after the end.
    """
    gains = jnp.where(mask, values[1:] - values[:-1], 0.0)

    def add(later: Array, gain: Array) -> tuple[Array, Array]:
        total = gain + lambda_ * later
        return total, total

    return lax.scan(add, jnp.zeros_like(gains[0]), gains, reverse=True)[1]


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
        clip: how far rho may move the objective, in (0, 1).
        lambda_: of the advantages, in [0, 1].
        entropy_weight: of the entropy of the policy, at least 0.
        policy_weight: of the policy's loss beside that of the value, positive.
        returns: what is maximised in expectation, "log_reward" or "reward".

    Raises:
        ValueError: for an argument out of range.
    """

    # The batch's mean of log R + sum log P_B - sum log P_F bounds log Z from below, for any policy.
    log_z: ClassVar[LogZ] = "batch"
    needs: ClassVar[frozenset[str]] = frozenset({"previous", "log_policy"})
    on_policy: ClassVar[bool] = True
    clip: float = 0.2
    lambda_: float = 0.95
    entropy_weight: float = 0.0
    policy_weight: float = 1.0
    returns: Return = "log_reward"

    def __post_init__(self) -> None:
        if not 0 < self.clip < 1:
            raise ValueError(f"clip must be in (0, 1), got {self.clip}")
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_ must be in [0, 1], got {self.lambda_}")
        if not self.entropy_weight >= 0:
            raise ValueError(f"entropy_weight must not be negative, got {self.entropy_weight}")
        if not self.policy_weight > 0:
            raise ValueError(f"policy_weight must be positive, got {self.policy_weight}")
        check_return(self.returns)

    def adapt(self, scores: Scores) -> Scores:
        return with_return(scores, self.returns)

    def residuals(self, scores: Scores) -> Residuals:
        """V(s_t) - (A_t + V_old(s_t)), one a transition: `[T]`."""
        error = scores.log_flow[:-1] - self._advantages(scores) - self._old(scores).log_flow[:-1]
        return Residuals(jnp.where(scores.mask, error, 0.0), scores.mask.astype(error.dtype))

    def extra_loss(self, scores: Scores) -> Array:
        advantage = self._advantages(scores)
        log_ratio = scores.log_pf - self._old(scores).log_pf
        ratio = jnp.exp(jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        gain = jnp.minimum(ratio * advantage, clipped * advantage)
        assert scores.log_policy is not None  # promised by `needs`
        gain += self.entropy_weight * entropy(scores.log_policy[:-1])
        return -self.policy_weight * jnp.where(scores.mask, gain, 0.0).sum()

    def _advantages(self, scores: Scores) -> Array:
        return advantages(self._old(scores).log_flow, scores.mask, self.lambda_)

    def _old(self, scores: Scores) -> Scores:
        assert scores.previous is not None  # promised by `needs`
        return scores.previous
