"""Flow matching: one residual a visited state, through all its parents."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import masking, registry
from gfnjax.numbers import NON_NEGATIVE, POSITIVE, check_number
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Number, Residuals, Scores


def flow_matching(scores: Scores, epsilon: Number, terminal_weight: Number) -> Residuals:
    """log(eps + in-flow(s)) - log(eps + out-flow(s)) at every visited s but s_0.

    The flow of an edge is F(s) P_F(s' | s); the out-flow of a terminal state is R
    (Bengio et al., 2106.04399).
    """
    check_one(scores)
    assert scores.log_inflow is not None  # promised by `needs`
    inflow, outflow = scores.log_inflow[1:], scores.log_flow[1:]
    forgiven = jnp.asarray(epsilon, inflow.dtype)
    # Of nothing the logarithm is so low that nothing changes.
    log_epsilon = jnp.where(
        forgiven > 0, jnp.log(jnp.where(forgiven > 0, forgiven, 1)), masking.FILL
    )
    inflow, outflow = jnp.logaddexp(inflow, log_epsilon), jnp.logaddexp(outflow, log_epsilon)
    terminal = terminal_step(scores)[1:]
    weight = jnp.where(scores.mask, jnp.where(terminal, terminal_weight, 1.0), 0.0)
    return Residuals(jnp.where(scores.mask, inflow - outflow, 0.0), weight)


@registry.objective("fm", summary="flow matching through all parents")
@dataclass(frozen=True)
class FlowMatching(Objective):
    """FM: `flow_matching`. Trains P_F and F; needs no backward policy.

    Attributes:
        epsilon: flow below which errors are forgiven.
        terminal_weight: weight of terminal states against interior ones.

    Raises:
        ValueError: if `epsilon` is negative or `terminal_weight` not positive.
    """

    log_z: ClassVar[LogZ] = "flow"
    incomplete: ClassVar[bool] = True
    cycles: ClassVar[Cycles] = "all"
    trains_backward: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"log_inflow"})
    epsilon: float = 0.0
    terminal_weight: float = 1.0

    def __post_init__(self) -> None:
        check_number("epsilon", self.epsilon, *NON_NEGATIVE)
        check_number("terminal_weight", self.terminal_weight, *POSITIVE)

    def residuals(self, scores: Scores) -> Residuals:
        return flow_matching(scores, self.epsilon, self.terminal_weight)
