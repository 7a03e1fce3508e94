"""Sub-trajectory balance: one residual a pair of visited states."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.numbers import check_number
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.shapes import check_one
from gfnjax.types import Array, Number, Residuals, Scores

# Weights of a whole batch between exp(-EXPONENT_LIMIT) and 1 leave single precision room for g.
EXPONENT_LIMIT = 40.0


def subtrajectory_balance(scores: Scores, lambda_: Number) -> Residuals:
    """log F(s_i) + sum_{i<=t<j} (log P_F - log P_B) - log F(s_j), weight lambda^{j-i}, i < j.

    With u_t = log F(s_t) - sum_{k<t} (log P_F - log P_B) the residual is u_i - u_j: all pairs in
    O(T^2) memory and one subtraction (Madan et al., 2209.12782). Weights are divided by the
    largest; times exp(`log_weight_scale`) those of several trajectories compare.
    """
    check_one(scores)
    step = jnp.arange(scores.log_flow.size, dtype=jnp.int32)
    return balance_pairs(scores.log_flow, step <= scores.length, scores, lambda_)


def balance_pairs(log_flow: Array, known: Array, scores: Scores, lambda_: Number) -> Residuals:
    """The residuals of `subtrajectory_balance`, for the pairs of states whose flows are known.

    Args:
        log_flow: `[T + 1]` nats, anything where it is not known.
        known: `[T + 1]` bool, nowhere after the end.
        scores: of one trajectory.
        lambda_: positive.
    """
    check_one(scores)
    ratio = scores.log_pf - scores.log_pb
    potential = jnp.where(known, log_flow, 0.0) - jnp.pad(jnp.cumsum(ratio), (1, 0))
    step = jnp.arange(potential.size, dtype=jnp.int32)
    gap = step[None, :] - step[:, None]
    pair = (gap > 0) & known[None, :] & known[:, None]
    residual = jnp.where(pair, potential[:, None] - potential[None, :], 0.0)
    beyond = (gap - _heaviest_gap(scores, lambda_)).astype(jnp.result_type(float))
    # Where there is no pair the exponent may be large.
    exponent = jnp.where(pair, beyond * _log(lambda_), 0.0)
    weight = jnp.where(pair, jnp.exp(exponent), 0.0).astype(residual.dtype)
    return Residuals(residual.reshape(-1), weight.reshape(-1))


def log_weight_scale(scores: Scores, lambda_: Number) -> Array:
    """`[]` log of what the weights of one trajectory were divided by, up to a common constant."""
    check_one(scores)
    heaviest = _heaviest_gap(scores, lambda_).astype(jnp.result_type(float))
    return heaviest * _log(lambda_)


def _heaviest_gap(scores: Scores, lambda_: Number) -> Array:
    """`[]` int32 j - i of weight 1.

    The longest gap that the environment has, where floats hold all weights then; else the longest
    of this trajectory, which may be so much shorter that all its weights would vanish.
    """
    horizon = scores.log_flow.size - 1
    fits = horizon * _log(lambda_) <= EXPONENT_LIMIT
    longest = jnp.where(fits, jnp.full((), horizon, jnp.int32), scores.length)
    return jnp.where(lambda_ <= 1, jnp.ones((), jnp.int32), longest)


def _log(lambda_: Number) -> Array:
    return jnp.log(jnp.asarray(lambda_, jnp.result_type(float)))


@registry.objective("subtb", summary="sub-trajectory balance")
@dataclass(frozen=True)
class SubTrajectoryBalance(Objective):
    """SubTB(lambda): between detailed balance (lambda -> 0) and trajectory balance (-> inf).

    The weights lambda^{j-i} are those of all pairs of the batch, so that for lambda > 1 longer
    trajectories count more than shorter ones; in the limit only the longest of the batch do.

    Attributes:
        lambda_: what a pair of states weighs, relative to one that is a step closer.

    Raises:
        ValueError: if `lambda_` is not positive and finite.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    lambda_: float = 0.9

    def __post_init__(self) -> None:
        valid = (lambda x: 0 < x < math.inf), "be positive and finite"
        check_number("lambda_", self.lambda_, *valid)

    def residuals(self, scores: Scores) -> Residuals:
        return subtrajectory_balance(scores, self.lambda_)

    def log_scale(self, scores: Scores) -> Array:
        return log_weight_scale(scores, self.lambda_)
