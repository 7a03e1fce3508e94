"""Proximal policy optimisation of the entropy-regularised return: several updates a batch."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from gfnjax import registry
from gfnjax.numbers import NON_NEGATIVE, POSITIVE, UNIT, check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.objectives.policy_gradient import generalised_advantages, value_regression
from gfnjax.shapes import check_one, check_shape
from gfnjax.types import Array, Number, Residuals, Scores


def clipped_surrogate(scores: Scores, advantage: Array, clip: Number) -> Array:
    """- sum_t min(q_t A_t, clip(q_t, 1 - c, 1 + c) A_t), q_t = P_F / P_F before: `[]`.

    Args:
        scores: of one trajectory, `scores.previous` before the updates on its batch.
        advantage: `[T]`, zero after the end.
        clip: c.

    Raises:
        ValueError: for scores of a batch, or shapes that do not agree.
    """
    check_one(scores)
    check_shape("advantage", advantage, scores.log_pf.shape, "[T]")
    assert scores.previous is not None  # promised by `needs`
    ratio = jnp.exp(scores.log_pf - scores.previous.log_pf)
    bounded = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -jnp.minimum(ratio * advantage, bounded * advantage).sum()


def policy_change(scores: Scores) -> Array:
    """sum_t KL(P_F before(. | s_t) || P_F(. | s_t)) over all actions, exact: `[]` nats."""
    check_one(scores)
    assert scores.previous is not None  # promised by `needs`
    assert scores.log_policy is not None
    assert scores.previous.log_policy is not None
    before, now = scores.previous.log_policy[:-1], scores.log_policy[:-1]
    # What is not allowed has the same fill value in both, and weight exp(fill) = 0.
    divergence = (jnp.exp(before) * (before - now)).sum(axis=-1)
    return jnp.where(scores.mask, divergence, 0.0).sum()


@registry.objective("ent-ppo", summary="PPO on the entropy-regularised return; --num-updates 4")
@dataclass(frozen=True)
class EntropyPPO(Objective):
    """`clipped_surrogate` + kl_weight * `policy_change`, and the value of `PolicyGradient`.

    PPO (1707.06347) on the return sum_t (log P_B - log P_F before) + log R, advantages by GAE from
    the scores before the updates on the batch: for `GFlowNet(num_updates=K)` with K > 1 (Ent-PPO:
    2606.15793). The first update of a batch is that of `PolicyGradient("gae")`. As there, P_B is
    not trained, and with V = log F and P_F at their optimum all gradients are zero.

    Attributes:
        clip: c, how far the ratio of a transition may gain from leaving 1; positive.
        lambda_: of the advantages, in [0, 1].
        kl_weight: of the change of the policy in the visited states; not negative.
        policy_weight: of both terms beside the regression of the value, positive.

    Raises:
        ValueError: if a number is out of range.
    """

    log_z: ClassVar[LogZ] = "flow"
    on_policy: ClassVar[bool] = True
    trains_backward: ClassVar[bool] = False
    incomplete: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"previous", "log_policy"})
    clip: float = 0.2
    lambda_: float = 0.95
    kl_weight: float = 0.1
    policy_weight: float = 1.0

    def __post_init__(self) -> None:
        check_number("clip", self.clip, *POSITIVE)
        check_number("lambda_", self.lambda_, *UNIT)
        check_number("kl_weight", self.kl_weight, *NON_NEGATIVE)
        check_number("policy_weight", self.policy_weight, *POSITIVE)

    def residuals(self, scores: Scores) -> Residuals:
        assert scores.previous is not None  # promised by `needs`
        return value_regression(scores, self._advantages(scores), scores.previous.log_flow)

    def extra_loss(self, scores: Scores) -> Array:
        surrogate = clipped_surrogate(scores, self._advantages(scores), self.clip)
        return self.policy_weight * (surrogate + self.kl_weight * policy_change(scores))

    def _advantages(self, scores: Scores) -> Array:
        assert scores.previous is not None  # promised by `needs`
        return lax.stop_gradient(generalised_advantages(scores.previous, self.lambda_))
