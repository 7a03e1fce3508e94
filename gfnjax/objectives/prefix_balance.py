"""Trajectory balance of every prefix of a trajectory, as if it had stopped there."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import masking, registry
from gfnjax.numbers import NON_NEGATIVE, check_number
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.objectives.cyclic_balance import bounded_exp
from gfnjax.objectives.modified_detailed_balance import flow_from_stop
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


def prefix_balance(scores: Scores) -> Residuals:
    """log Z + sum_{i<t} (log P_F - log P_B) + log P_F(stop | s_t) - log R(s_t), of every state s_t.

    `[T + 1]`, weight 1 for each visited state that may stop; 0 of a trajectory that does not start
    in s_0. A state has a terminal copy with the reward R(s), which only it leads to.
    """
    check_one(scores)
    assert scores.log_stop is not None  # promised by `needs`
    assert scores.log_partial_reward is not None
    balance = scores.log_z + jnp.pad(jnp.cumsum(scores.log_pf - scores.log_pb), (1, 0))
    stops = _stops(scores)
    values = jnp.where(stops, balance + scores.log_stop - scores.log_partial_reward, 0.0)
    from_source = True if scores.from_source is None else scores.from_source
    return Residuals(values, (stops & from_source).astype(values.dtype))


def _stops(scores: Scores) -> Array:
    """`[T + 1]` the visited states that may stop."""
    assert scores.log_stop is not None  # promised by `needs`
    step = jnp.arange(scores.log_stop.size, dtype=jnp.int32)
    last = scores.length - scores.complete.astype(jnp.int32)
    return (step <= last) & (scores.log_stop > masking.FILL / 2)


@registry.objective("prefix-tb", summary="trajectory balance of all prefixes, where each may stop")
@dataclass(frozen=True)
class PrefixTrajectoryBalance(Objective):
    """Prefix TB: `prefix_balance`, plus lambda F(s_t) for each prefix (2603.01786).

    For `Stoppable` environments with long trajectories, which `max_steps` may cut: a prefix is
    worth as much as what has ended. The flow of a state is R(s) / P_F(stop | s), bounded as
    `bounded_exp` does; the policy's own `log_flow` is not used. Where stopping is seldom explored,
    sample it less: `StopFlattening`.

    Attributes:
        flow_regularisation: lambda, not negative.

    Raises:
        ValueError: for a negative lambda.
    """

    log_z: ClassVar[LogZ] = "learned"
    cycles: ClassVar[Cycles] = "all"
    needs: ClassVar[frozenset[str]] = frozenset({"log_stop", "log_partial_reward"})
    flow_regularisation: float = 0.0

    def __post_init__(self) -> None:
        check_number("flow_regularisation", self.flow_regularisation, *NON_NEGATIVE)

    def residuals(self, scores: Scores) -> Residuals:
        return prefix_balance(scores)

    def penalties(self, scores: Scores) -> Array:
        check_one(scores)
        stops = _stops(scores)
        flow = bounded_exp(jnp.where(stops, flow_from_stop(scores), 0.0))
        return self.flow_regularisation * jnp.where(stops, flow, 0.0)
