"""Soft Q-learning: a flow network that is nothing but the logits of its policy."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.numbers import check_number
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Number, Residuals, Scores


def soft_q_residual(scores: Scores, alpha: Number, log_policy_floor: Number) -> Residuals:
    """Q(s_t, a_t) - [log P_B + alpha max(tau log P_F'(a_t | s_t), floor) + V'(s_{t+1})].

    Q(s, a) = V(s) + tau log P_F(a | s) and V = tau logsumexp of the logits, `scores.log_flow`;
    the primed ones are the target network's, V(terminal) = log R.
    """
    check_one(scores)
    assert scores.target is not None  # promised by `needs`
    tau = 1 / (1 - alpha)
    q = scores.log_flow[:-1] + tau * scores.log_pf
    bonus = alpha * jnp.maximum(tau * scores.target.log_pf, log_policy_floor)
    residual = q - (scores.log_pb + bonus + scores.target.log_flow[1:])
    return Residuals(jnp.where(scores.mask, residual, 0.0), scores.mask.astype(residual.dtype))


@registry.objective(
    "soft-dqn",
    summary="soft Q-learning against a target network",
    target_rate=0.25,
    fixed={"alpha": 0.0},
)
@registry.objective(
    "munchausen",
    summary="soft Q-learning that sees its own log-policy",
    target_rate=0.25,
    values={"alpha": 0.15},
)
@dataclass(frozen=True)
class SoftDQN(Objective):
    """`soft_q_residual`: soft DQN, and with `alpha` > 0 Munchausen DQN (2310.12934).

    With rewards log P_B on the way and log R at the end, entropy-regularised reinforcement
    learning at temperature one is a GFlowNet. The Munchausen bonus alpha tau log P_F adds as much
    to the regularisation as it takes from the entropy, (1 - alpha) tau: hence tau = 1/(1 - alpha).
    At a zero of the residual, with the target network the network itself and no log P_F below the
    floor,

        V(s) + tau log P_F = log P_B + alpha tau log P_F + V(s'),  V(s) + log P_F = log P_B + V(s'),

    which is detailed balance: V = log F, and P_F samples R / Z. The floor bounds the bonus of
    actions that the target network all but excludes; where it acts on a transition the optimum
    does use, the fixed point is no longer exact.

    Q and V are read off the forward logits, log F(s) = tau logsumexp; the policy's own `log_flow`
    is not used. P_B is trained along where it is learned, as in detailed balance.

    Attributes:
        alpha: share of log P_F paid back as a reward, in [0, 1); 0.15 is usual for Munchausen.
        log_policy_floor: lower bound of tau log P_F in the bonus, negative, in nats.

    Raises:
        ValueError: if `alpha` or `log_policy_floor` is out of range.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    needs: ClassVar[frozenset[str]] = frozenset({"log_value", "target"})
    alpha: float = 0.0
    log_policy_floor: float = -100.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, (lambda x: 0 <= x < 1), "be in [0, 1)")
        check_number("log_policy_floor", self.log_policy_floor, (lambda x: x < 0), "be negative")

    @property
    def value_scale(self) -> Number:
        return 1 / (1 - self.alpha)

    def adapt(self, scores: Scores) -> Scores:
        check_one(scores)
        assert scores.log_value is not None  # promised by `needs`
        value = jnp.where(
            terminal_step(scores), scores.log_flow, self.value_scale * scores.log_value
        )
        return scores._replace(log_flow=value)

    def residuals(self, scores: Scores) -> Residuals:
        return soft_q_residual(scores, self.alpha, self.log_policy_floor)
