"""Forward-looking flows: what an unfinished object is worth already counts."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.objectives.base import Cycles, LogZ, Objective, require_flows
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


def forward_looking_flow(scores: Scores, anchor_terminal: bool = True) -> Array:
    """log F(s_t) = log F~(s_t) + log partial reward(s_t); log R at the terminal state: `[T + 1]`.

    The network learns F~ alone (Pan et al., 2302.01687). At the terminal state F~ = 1 must be
    imposed: with a free F~ there the last residual no longer sees R, and policies that are not
    proportional to it reach zero loss.
    """
    check_one(scores)
    assert scores.log_partial_reward is not None  # promised by `needs`
    if not anchor_terminal:
        assert scores.raw_flow is not None
        return scores.raw_flow + scores.log_partial_reward
    # At the terminal state the partial reward is log R, which log_flow has already.
    ahead = jnp.where(terminal_step(scores), 0.0, scores.log_partial_reward)
    return scores.log_flow + ahead


@dataclass(frozen=True)
class ForwardLooking(Objective):
    """Another objective on forward-looking flows: FL-DB, FL-SubTB, FL-TB.

    `ForwardLooking(DetailedBalance())`; the environment must have partial rewards. With partial
    rewards of one it is the other objective. For trajectory balance, log Z = log F(s_0).

    Attributes:
        base: the objective to look forward with, one that reads flows.
        anchor_terminal: F~ = 1 at terminal states. False does not identify the target, and is
            for reproducing published results only.

    Raises:
        ValueError: if `base` reads something that does not follow from the flows of states.
    """

    log_z: ClassVar[LogZ] = "flow"
    base: Objective
    anchor_terminal: bool = True

    def __post_init__(self) -> None:
        require_flows(self.base)
        if not self.anchor_terminal:
            warnings.warn(
                "anchor_terminal=False does not identify the target: policies far from it reach "
                "zero loss",
                stacklevel=3,
            )

    @property
    def needs(self) -> frozenset[str]:  # pyrefly: ignore[bad-override]
        free = frozenset() if self.anchor_terminal else frozenset({"raw_flow"})
        return self.base.needs | {"log_partial_reward"} | free

    @property
    def incomplete(self) -> bool:  # pyrefly: ignore[bad-override]
        return self.base.incomplete

    @property
    def cycles(self) -> Cycles:  # pyrefly: ignore[bad-override]
        return self.base.cycles

    @property
    def bootstraps(self) -> bool:
        return self.base.bootstraps

    @property
    def looks_forward(self) -> bool:
        return True

    def adapt(self, scores: Scores) -> Scores:
        flow = forward_looking_flow(scores, self.anchor_terminal)
        return self.base.adapt(scores._replace(log_flow=flow))

    def residuals(self, scores: Scores) -> Residuals:
        return self.base.residuals(scores)

    def log_scale(self, scores: Scores) -> Array:
        return self.base.log_scale(scores)


@dataclass(frozen=True)
class _Anchored:
    """What a forward-looking objective says on the command line."""

    anchor_terminal: bool = True
    """flows are 1 at terminal states; without, the target is not identified"""


@registry.objective("fl-tb")
@dataclass(frozen=True)
class ForwardLookingTB(_Anchored):
    """forward-looking trajectory balance"""

    def make(self) -> ForwardLooking:
        return ForwardLooking(TrajectoryBalance(), self.anchor_terminal)


@registry.objective("fl-db")
@dataclass(frozen=True)
class ForwardLookingDB(_Anchored):
    """forward-looking detailed balance"""

    def make(self) -> ForwardLooking:
        return ForwardLooking(DetailedBalance(), self.anchor_terminal)


@registry.objective("fl-subtb")
@dataclass(frozen=True)
class ForwardLookingSubTB(_Anchored):
    """forward-looking sub-trajectory balance"""

    lambda_: float = 0.9
    """what a pair of states weighs, relative to one that is a step closer"""

    def make(self) -> ForwardLooking:
        return ForwardLooking(SubTrajectoryBalance(self.lambda_), self.anchor_terminal)
