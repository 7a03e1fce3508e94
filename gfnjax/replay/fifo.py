"""First in, first out."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from gfnjax import registry
from gfnjax.replay.base import Buffer, Replay
from gfnjax.types import Array


@registry.replay("fifo", summary="the last ones, all alike")
@dataclass(frozen=True)
class Fifo(Replay):
    """The last `capacity` items, drawn uniformly with replacement."""

    def draw(self, buffer: Buffer, key: Array, num_samples: int) -> Array:
        return jax.random.randint(key, (num_samples,), 0, jnp.maximum(buffer.size, 1))
