"""FlowRL: relative trajectory balance per token, of rewards normalised within a group."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from gfnjax import registry
from gfnjax.numbers import INSIDE_UNIT, POSITIVE, check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


@registry.objective(
    "flowrl",
    summary="per-token balance of normalised rewards: learns a target of its own, not R / Z",
)
@dataclass(frozen=True)
class FlowRL(Objective):
    """w [log Z(x) + (1/n) log pi(z) - beta r^ - (1/n) log pi_ref(z)]^2 (Zhu et al., 2509.15207).

    n is the number of transitions, pi_ref the run's `prior`, r^ = (r - mean) / deviation of
    r = log R over the trajectories of the batch with the same condition x, 0 where all are alike,
    and w = clip(pi / pi before the updates on the batch, 1 - clip, 1 + clip) without gradient; with
    one update a batch w = 1.

    It has no posterior: where it vanishes pi(z) = pi_ref(z) exp(n (beta r^ - log Z)), which
    prefers long texts with a reward above log Z / beta and short ones below, and r^ changes with
    the batch. For R / Z under a prior use `RelativeTrajectoryBalance`. Z(x) is the policy's
    `log_flow` in s_0; in the paper it is a network of three layers on the mean hidden state of the
    prompt, which a policy's flow head may be.

    Attributes:
        beta: of the reward, positive.
        clip: how far w may leave 1, in (0, 1).

    Raises:
        ValueError: if a number is out of range.
    """

    log_z: ClassVar[LogZ] = "flow"
    trains_backward: ClassVar[bool] = False
    least_batch: ClassVar[int] = 2
    needs: ClassVar[frozenset[str]] = frozenset({"log_prior", "previous", "group_reward"})
    beta: float = 15.0
    clip: float = 0.2

    def __post_init__(self) -> None:
        check_number("beta", self.beta, *POSITIVE)
        check_number("clip", self.clip, *INSIDE_UNIT)

    @property
    def relative_to_prior(self) -> bool:
        return False  # it pulls towards the prior, and has no posterior

    def first_log_z(self, scores: Scores) -> Array:
        check_one(scores)
        assert scores.log_prior is not None  # promised by `needs`
        return (scores.log_prior - scores.log_pf).sum() / _length(scores)  # r^ has a mean of 0

    def residuals(self, scores: Scores) -> Residuals:
        check_one(scores)
        assert scores.log_prior is not None  # promised by `needs`
        assert scores.group_reward is not None
        assert scores.previous is not None
        change = (scores.log_pf - scores.previous.log_pf).sum()
        weight = lax.stop_gradient(jnp.clip(jnp.exp(change), 1 - self.clip, 1 + self.clip))
        per_token = (scores.log_pf - scores.log_prior).sum() / _length(scores)
        residual = scores.log_z + per_token - self.beta * scores.group_reward
        # In the residual, not in its weight: weights only share out what a batch has.
        values = jnp.sqrt(weight) * residual
        return Residuals(values[None], (scores.length > 0).astype(values.dtype)[None])


def _length(scores: Scores) -> Array:
    return jnp.maximum(scores.length, 1).astype(scores.log_pf.dtype)
