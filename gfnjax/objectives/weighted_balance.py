"""Weighted detailed balance: transitions count by the depth of the state that they lead to.

An imbalance of the same size does unequal damage in different places (Silva et al., "When do
GFlowNets learn the right distribution?", ICLR 2025). With d(s_t) = t, T = `env.max_steps`,

    loss = sum gamma(s_{t+1}) DB_t^2 / sum gamma,        gamma(s) = beta d(s) / T + 1 - beta,

over all transitions of the batch: flows are learned from terminal states, where log R is known,
towards s_0. beta = 1 weighs in proportion to depth; from there it is annealed to 0, where gamma is
1 everywhere and this is detailed balance. The optimum is the same for every beta. The published
weights are known here from a summary alone, "proportional to the depth of s and annealed linearly
to 1": that deep means far from s_0, so that the ends of trajectories count more, is our reading.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import optax

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.numbers import UNIT, check_number
from gfnjax.objectives.base import Cycles, LogZ, Objective
from gfnjax.objectives.detailed_balance import detailed_balance
from gfnjax.types import Residuals, Scores


@dataclass(frozen=True)
class WeightedDetailedBalance(Objective):
    """WDB: `detailed_balance` with weights gamma = beta d(s_{t+1}) / T + 1 - beta.

        WeightedDetailedBalance(optax.linear_schedule(1.0, 0.0, 1_000))

    Windows of trajectories do not tell depths: it takes complete ones.

    Attributes:
        depth_weight: beta in [0, 1], or a schedule of the step.

    Raises:
        ValueError: for a beta out of range.
    """

    log_z: ClassVar[LogZ] = "flow"
    cycles: ClassVar[Cycles] = "complete"
    depth_weight: float = 1.0

    def __post_init__(self) -> None:
        check_number("depth_weight", self.depth_weight, *UNIT)

    @property
    def bootstraps(self) -> bool:
        return True

    def residuals(self, scores: Scores) -> Residuals:
        values, mask = detailed_balance(scores)
        depth = jnp.arange(1, mask.size + 1, dtype=mask.dtype) / mask.size
        beta = jnp.asarray(self.depth_weight, mask.dtype)
        return Residuals(values, mask * (beta * depth + (1 - beta)))


@registry.objective("wdb", summary="detailed balance, first where it is deep")
@dataclass(frozen=True)
class AnnealedWeightedDetailedBalance:
    """weighted detailed balance on the command line

    Raises:
        ValueError: for a number out of range.
    """

    depth_weight: float = 1.0
    """of transitions by their depth in the beginning, in [0, 1]"""
    anneal_steps: int = 1_000
    """steps in which all come to weigh alike; 0 keeps them as they are"""

    def __post_init__(self) -> None:
        check_number("depth_weight", self.depth_weight, *UNIT)
        whole("anneal_steps", self.anneal_steps, least=0)

    def make(self) -> WeightedDetailedBalance:
        if not self.anneal_steps:
            return WeightedDetailedBalance(self.depth_weight)
        schedule = optax.linear_schedule(self.depth_weight, 0.0, self.anneal_steps)
        return WeightedDetailedBalance(schedule)  # pyrefly: ignore[bad-argument-type]
