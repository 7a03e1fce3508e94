"""Half of a batch from the best tenth; the best tenth is kept."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax import registry
from gfnjax.errors import ArgumentError
from gfnjax.replay.base import Buffer, Replay, draw_slots
from gfnjax.types import Array


@registry.replay("prioritised", summary="half of what is replayed has one of the highest rewards")
@dataclass(frozen=True)
class RewardPrioritised(Replay):
    """`top_fraction_of_batch` of what is drawn from the `top_share` with the highest log R.

    Where that is no whole number of items, one of them comes from the top by chance; the top holds
    at least one item. The others are drawn from all that is not in the top (Shen et al.,
    2305.07170). The top is spared when new items come in; the rest is first in, first out. Only
    complete items have a reward to be ranked by: those of interior transitions belong to the rest,
    hence stay as long as anything does, instead of losing to every terminal one. Where the reward
    depends on a condition, rewards of different conditions are compared: `Fifo` and
    `ResidualPrioritised` do not favour any.

    Attributes:
        top_share: of the complete items, in (0, 1).
        top_fraction_of_batch: in [0, 1].

    Raises:
        ValueError: for numbers out of range, or a capacity that leaves nothing besides the top.
    """

    top_share: float = 0.1
    top_fraction_of_batch: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.top_share < 1:
            raise ArgumentError("top_share", f"must be in (0, 1), got {self.top_share}")
        if not 0 <= self.top_fraction_of_batch <= 1:
            raise ArgumentError(
                "top_fraction_of_batch", f"must be in [0, 1], got {self.top_fraction_of_batch}"
            )
        if self.room < 1:
            raise ArgumentError(
                "capacity",
                f"must leave a slot besides the top {self._largest_top}, got {self.capacity}",
            )

    @property
    def _largest_top(self) -> int:
        # A share such as .1 is not exact: 30 slots have a top of 3, not 4.
        return math.ceil(self.top_share * self.capacity - 1e-4)

    @property
    def room(self) -> int:
        return self.capacity - self._largest_top

    def spared(self, buffer: Buffer) -> Array:
        return self._top(buffer, jnp.asarray(self._largest_top, jnp.int32))

    def draw(self, buffer: Buffer, key: Array, num_samples: int) -> Array:
        filled = jnp.arange(self.capacity, dtype=jnp.int32) < buffer.size
        ranked = (filled & buffer.complete).sum(dtype=jnp.int32)
        share = self.top_share * ranked.astype(buffer.priority.dtype) - 1e-4
        top = self._top(buffer, jnp.ceil(share).astype(jnp.int32))
        top_key, rest_key, chance_key = jax.random.split(key, 3)
        dtype = buffer.priority.dtype

        def draw_from(half: Array, key: Array) -> Array:
            # Where one of the two is empty, the other stands in.
            weights = jnp.where(half.any(), half, filled).astype(dtype)
            return draw_slots(weights, key, num_samples)

        # Place i is the top's with probability clip(fraction n - i, 0, 1).
        left = self.top_fraction_of_batch * num_samples - np.arange(num_samples)
        chance = jnp.asarray(left.round(6), dtype)
        from_top = jax.random.uniform(chance_key, (num_samples,), dtype) < chance
        return jnp.where(from_top, draw_from(top, top_key), draw_from(filled & ~top, rest_key))

    def _top(self, buffer: Buffer, count: Array) -> Array:
        """`[C]` the `count` complete items with the highest log R, the lower slot first."""
        ranked = buffer.complete & (jnp.arange(self.capacity, dtype=jnp.int32) < buffer.size)
        keys = jnp.where(ranked, _sortable(buffer.priority), np.uint32(0))

        def decide(threshold: Array, bit: Array) -> tuple[Array, None]:
            enough = (keys >= (threshold | bit)).sum(dtype=jnp.int32) >= count
            return jnp.where(enough, threshold | bit, threshold), None

        # The count-th largest key, bit by bit: linear in C, where sorting takes ten times as long.
        bits = jnp.asarray(np.uint32(1) << np.arange(31, -1, -1, dtype=np.uint32))
        threshold, _ = lax.scan(decide, jnp.zeros((), jnp.uint32), bits)
        above, ties = keys > threshold, keys == threshold
        left = count - above.sum(dtype=jnp.int32)
        return ranked & (above | (ties & (jnp.cumsum(ties, dtype=jnp.int32) <= left)))


def _sortable(x: Array) -> Array:
    """Unsigned words in the order of the numbers they stand for, at single precision."""
    bits = lax.bitcast_convert_type(x.astype(jnp.float32) + np.float32(0), jnp.uint32)
    sign = np.uint32(1 << 31)
    return jnp.where(bits < sign, bits | sign, ~bits)
