"""What is least understood is looked at most."""

from dataclasses import dataclass

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.errors import ArgumentError
from gfnjax.replay.base import Buffer, Replay, draw_slots
from gfnjax.types import Array, Trajectory

# Keeps every item within reach, as in prioritised experience replay (1511.05952).
EPSILON = 1e-6


@registry.replay("residual", summary="those with large residuals more often")
@dataclass(frozen=True)
class ResidualPrioritised(Replay):
    """P(i) proportional to |residual_i|^exponent, as it was when i was last learned from.

    The residual of an item is the root of its mean weighted loss: |residual| of trajectory
    balance under the square. First in, first out. There are no importance weights: a GFlowNet
    may learn from any distribution over trajectories (prioritised experience replay, 1511.05952).

    Attributes:
        exponent: 0 draws uniformly.

    Raises:
        ValueError: if `exponent` is negative or `capacity` not positive.
    """

    exponent: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exponent < 0:
            raise ArgumentError("exponent", f"must not be negative, got {self.exponent}")

    def priority(
        self, log_reward: Array, errors: Array, trajectories: Trajectory | None = None
    ) -> Array:
        return jnp.sqrt(jnp.maximum(errors, 0.0))

    def draw(self, buffer: Buffer, key: Array, num_samples: int) -> Array:
        filled = jnp.arange(self.capacity, dtype=jnp.int32) < buffer.size
        errors = jnp.where(filled, buffer.priority, 0.0) + EPSILON
        # Relative to the largest: a power of it may be more than floats hold.
        weights = (errors / errors.max()) ** self.exponent
        return draw_slots(jnp.where(filled, weights, 0.0), key, num_samples)
