"""Detailed balance where states can come again: flows are kept small, or errors on their scale.

With a learned P_B a state graph with cycles has infinitely many solutions, whose trajectories may
be of any length: E[n] = (1 / Z) sum F(s) over the states on the way. Hence

    residual       with a = log F(s) + log P_F(s' | s), b = log F(s') + log P_B(s | s'), and
                   F(x) = R(x), P_B = 1 at a stop: a - b (log scale), or e^a - e^b (flow scale);
    regulariser    lambda F(s) for each transition that leaves a state on the way, not s_0: short
                   trajectories at the price of a bias that vanishes with lambda (2502.07735);
    stable         log(1 + eps |residual|^alpha) (1 + eta F(s))^beta in the place of the square,
                   which does not pay for larger flows (Brunswic et al., 2312.15246).

All are averages over transitions. On the flow scale log Z of some tens collapses to 0; on the log
scale without a regulariser lengths grow without bound. A small lambda on the log scale is what
works, and costs nothing where states do not come again.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from gfnjax import registry
from gfnjax.errors import require
from gfnjax.numbers import NON_NEGATIVE, POSITIVE, check_number
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.objectives.detailed_balance import detailed_balance
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores

Scale = Literal["log", "flow"]
# A residual on the scale of flows has a gradient of its square, and optimisers square that again:
# exp(4 * 16) leaves single precision room for the gradients of a network.
EXPONENT_LIMIT = 16.0


def flow_scale_balance(scores: Scores) -> Residuals:
    """F(s_t) P_F - F(s_{t+1}) P_B, not its logarithm.

    Where one of them is beyond e^16 both are divided by what makes the larger one e^16.
    """
    check_one(scores)
    forward = scores.log_flow[:-1] + scores.log_pf
    backward = scores.log_flow[1:] + scores.log_pb
    largest = jnp.maximum(jnp.maximum(forward, backward), EXPONENT_LIMIT)
    beyond = jax.lax.stop_gradient(largest) - EXPONENT_LIMIT
    values = jnp.exp(forward - beyond) - jnp.exp(backward - beyond)
    return Residuals(jnp.where(scores.mask, values, 0.0), scores.mask.astype(values.dtype))


def inner_flow(scores: Scores) -> Array:
    """`[T]` F(s_t) of the states that transitions leave, 0 for s_0; see `bounded_exp`."""
    check_one(scores)
    first = jnp.asarray(True if scores.from_source is None else scores.from_source)
    inside = scores.mask & ((jnp.arange(scores.mask.size, dtype=jnp.int32) > 0) | ~first)
    return _flow(scores, inside)


def bounded_exp(log_flow: Array) -> Array:
    """F up to e^16; beyond e^16 (1 + log F - 16), which still rises."""
    beyond = jnp.maximum(log_flow - EXPONENT_LIMIT, 0.0)
    return jnp.exp(jnp.minimum(log_flow, EXPONENT_LIMIT)) * (1.0 + beyond)


def _flow(scores: Scores, wanted: Array) -> Array:
    """`[T]` F(s_t) where it is wanted; what is not has no gradient either."""
    log_flow = jnp.where(wanted, scores.log_flow[:-1], 0.0)
    return jnp.where(wanted, bounded_exp(log_flow), 0.0)


@registry.objective("reg-db", summary="detailed balance with small flows, for graphs with cycles")
@dataclass(frozen=True)
class RegularisedDetailedBalance(Objective):
    """DB on either scale, plus lambda F(s) per transition.

    A state pays as often as it is visited: on-policy that minimises (lambda / 2 Z) sum F(s)^2.

    Attributes:
        flow_regularisation: lambda, per transition as in 2502.07735: 1e-5 to 1e-1, not negative.
        scale: "log" or "flow", of the residual.

    Raises:
        ValueError: for another scale, or a negative lambda.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    needs: ClassVar[frozenset[str]] = frozenset({"from_source"})
    flow_regularisation: float = 1e-3
    scale: Scale = "log"

    def __post_init__(self) -> None:
        check_number("flow_regularisation", self.flow_regularisation, *NON_NEGATIVE)
        require(self.scale in ("log", "flow"), "scale", "must be log or flow", self.scale)

    def residuals(self, scores: Scores) -> Residuals:
        return flow_scale_balance(scores) if self.scale == "flow" else detailed_balance(scores)

    def penalties(self, scores: Scores) -> Array:
        return self.flow_regularisation * inner_flow(scores)


@registry.objective("sdb", summary="stable detailed balance, for graphs with cycles")
@dataclass(frozen=True)
class StableDetailedBalance(Objective):
    """SDB: log(1 + eps |r|^alpha) (1 + eta F(s))^beta per transition, g is not applied.

    r is the residual of detailed balance on either scale (2312.15246: flow).

    Attributes:
        scale: "log" or "flow", of the residual.
        alpha: exponent of the error, at least 1.
        beta: exponent of the flow, not negative.
        eps: scale of the error, positive.
        eta: scale of the flow, not negative.
        flow_regularisation: lambda of `RegularisedDetailedBalance`, 0 for none.

    Raises:
        ValueError: for a number out of range, or another scale.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    needs: ClassVar[frozenset[str]] = frozenset({"from_source"})
    scale: Scale = "log"
    alpha: float = 2.0
    beta: float = 1.0
    eps: float = 1.0
    eta: float = 1e-3
    flow_regularisation: float = 0.0

    def __post_init__(self) -> None:
        require(self.scale in ("log", "flow"), "scale", "must be log or flow", self.scale)
        check_number("alpha", self.alpha, (lambda x: 1 <= x < math.inf), "be at least 1")
        check_number("eps", self.eps, *POSITIVE)
        for name in ("beta", "eta", "flow_regularisation"):
            check_number(name, getattr(self, name), *NON_NEGATIVE)

    def residuals(self, scores: Scores) -> Residuals:
        """Zeros, for g; with the weights by which penalties are averaged."""
        values, weights = detailed_balance(scores)
        return Residuals(jnp.zeros_like(values), weights)

    def penalties(self, scores: Scores) -> Array:
        flow_scale = self.scale == "flow"
        error = jnp.abs((flow_scale_balance if flow_scale else detailed_balance)(scores).values)
        cost = jnp.log1p(self.eps * error**self.alpha)
        stable = cost * (1.0 + self.eta * _flow(scores, scores.mask)) ** self.beta
        return stable + self.flow_regularisation * inner_flow(scores)
