"""What an objective is, and the one reduction every loss goes through."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from gfnjax.types import Array, Residuals, Scores

Regression = Callable[[Array], Array]
LogZ = Literal["learned", "flow", "batch"]


@dataclass(frozen=True)
class Objective:
    """Maps one trajectory's scores to residuals and their weights.

    A plain function `Scores -> Residuals` is an objective as well; subclass to say more.

    Attributes:
        log_z: where `scores.log_z` comes from: "learned", a scalar trained with its own rate;
            "flow", log F(s_0); "batch", the batch mean of log R + sum log P_B - sum log P_F.
        needs: what has to be scored besides: "log_inflow", "target".
    """

    log_z: ClassVar[LogZ] = "learned"
    needs: ClassVar[frozenset[str]] = frozenset()

    def residuals(self, scores: Scores) -> Residuals:
        """Residuals `[R]` and weights `[R]` of one trajectory."""
        raise NotImplementedError


@dataclass(frozen=True)
class FunctionObjective(Objective):
    """A plain function as an objective, with the learned log Z at its disposal."""

    function: Callable[[Scores], Residuals]

    def residuals(self, scores: Scores) -> Residuals:
        return self.function(scores)


def as_objective(objective: Objective | Callable[[Scores], Residuals]) -> Objective:
    """An `Objective` as it is, a function wrapped; anything else is a `TypeError`."""
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, type) or not callable(objective):
        raise TypeError(
            "objective must be an Objective such as TrajectoryBalance() or a function from "
            f"Scores to Residuals, got {objective!r}"
        )
    return FunctionObjective(objective)


def resolve_log_z(log_z: LogZ, scores: Scores) -> Scores:
    """Put the log Z an objective asks for into a batch of scores `[B, ...]`."""
    if log_z == "flow":
        return scores._replace(log_z=scores.log_flow[:, 0])
    if log_z == "batch":
        log_weight = scores.log_reward + scores.log_pb.sum(axis=1) - scores.log_pf.sum(axis=1)
        return scores._replace(log_z=jnp.broadcast_to(log_weight.mean(), log_weight.shape))
    return scores


def weighted_loss(objective: Objective, regression: Regression, scores: Scores) -> Array:
    """sum w g(r) / sum w over all residuals of a batch of scores `[B, ...]`."""
    residuals = jax.vmap(objective.residuals)(scores)
    if not isinstance(residuals, Residuals):
        raise TypeError(f"an objective must return Residuals, got {type(residuals).__name__}")
    values, weights = residuals
    if values.shape != weights.shape:
        raise ValueError(
            "an objective's residuals and weights must have the same shape, got "
            f"{values.shape[1:]} and {weights.shape[1:]}"
        )
    # Padding must not reach g: an overflow there would turn 0 * inf into NaN.
    losses = regression(jnp.where(weights > 0, values, 0.0))
    return (weights * losses).sum() / jnp.maximum(weights.sum(), jnp.finfo(values.dtype).tiny)
