"""The better an object is ranked, the more often it is drawn."""

from dataclasses import dataclass

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.errors import require
from gfnjax.replay.base import Buffer, Replay, draw_slots
from gfnjax.replay.terminal import TerminalReplay
from gfnjax.types import Array


@dataclass(frozen=True)
class RankPrioritised(Replay):
    """Item i of n is drawn with probability proportional to 1 / (k n + rank_i).

    Ranks go by log R, 0 for the highest (Tripp et al., 2006.09191; with k = .01 in 2402.05098).
    First in, first out. Incomplete items have no reward to be ranked by, and come last. To rank
    takes a sort of all slots in every step: 10 ms for 100,000.

    Attributes:
        rank_share: k, positive: small for the best alone, large for all alike.

    Raises:
        ValueError: for numbers out of range.
    """

    rank_share: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rank_share > 0, "rank_share", "must be positive", self.rank_share)

    def draw(self, buffer: Buffer, key: Array, num_samples: int) -> Array:
        slots = jnp.arange(self.capacity, dtype=jnp.int32)
        ranked = buffer.complete & (slots < buffer.size)
        keys = jnp.where(ranked, buffer.priority, -jnp.inf)
        # Of what has no reward the empty slots come last: the sort keeps their order.
        order = jnp.argsort(-keys, stable=True)
        count = buffer.size.astype(buffer.priority.dtype)
        rank = slots.astype(count.dtype)
        weights = jnp.where(rank < count, 1 / (self.rank_share * jnp.maximum(count, 1) + rank), 0.0)
        return order[draw_slots(weights, key, num_samples)].astype(jnp.int32)


@registry.replay("ranked", summary="objects by the rank of their reward, on ways of P_B")
@dataclass(frozen=True)
class RankedObjects(RankPrioritised):
    """The last `capacity` objects, the better ones more often."""

    def make(self) -> TerminalReplay:
        return TerminalReplay(RankPrioritised(self.capacity, self.rank_share, unique=self.unique))
