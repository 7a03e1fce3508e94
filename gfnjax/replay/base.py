"""What a replay buffer is: a ring of slots that is written in order, some slots spared."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.arguments import whole
from gfnjax.replay import unique
from gfnjax.rollout import terminal_states
from gfnjax.types import Array, PyTree, Trajectory


class Buffer(NamedTuple):
    """C slots, of which the first `size` hold something.

    Attributes:
        items: `[C, ...]` pytree.
        priority: `[C]` what `Replay.priority` made of each item.
        complete: `[C]` bool, whether the item ends in a terminal state.
        fingerprint: `[C]` uint32 of the item's object, None unless objects are kept unique.
        size: `[]` int32.
        cursor: `[]` int32, the slot to be written next, unless it is spared.
    """

    items: PyTree
    priority: Array
    complete: Array
    fingerprint: Array | None
    size: Array
    cursor: Array


class Sample(NamedTuple):
    """Items `[n, ...]`, and the slots `[n]` they are in, for `Replay.update`."""

    items: PyTree
    slots: Array


@dataclass(frozen=True)
class Replay:
    """The common part of all buffers: a hashable value, whose state is a `Buffer`.

    Items are whole trajectories, windows of unfinished ones, or any pytree; `add` and `sample`
    cost the same however much was seen. Subclasses say what is drawn and what is spared.

    Attributes:
        capacity: number of slots C.
        unique: one slot per object: a complete item takes the place of the one that ends in an
            equal state. Incomplete items are never taken for each other.

    Raises:
        ValueError: if `capacity` is not positive.
    """

    capacity: int = 10_000
    unique: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "capacity", whole("capacity", self.capacity, least=1))

    @property
    def room(self) -> int:
        """The most items that one `add` can take."""
        return self.capacity

    def init(self, example: PyTree) -> Buffer:
        """An empty buffer for items like `example`: arrays, or shapes and dtypes, of one item."""
        size = self.capacity
        return Buffer(
            jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), example),
            jnp.zeros(size, jnp.result_type(float)),
            jnp.zeros(size, bool),
            jnp.zeros(size, jnp.uint32) if self.unique else None,
            jnp.zeros((), jnp.int32),
            jnp.zeros((), jnp.int32),
        )

    def add(
        self, buffer: Buffer, items: PyTree, priorities: Array, complete: Array | None = None
    ) -> Buffer:
        """Store items `[n, ...]`, in place of the oldest that are not spared.

        Args:
            buffer: to be added to.
            items: `[n, ...]`, n at most `room`.
            priorities: `[n]`, see `priority`.
            complete: `[n]` bool, whether each one ends in a terminal state; all do by default.
        """
        if priorities.size > self.room:
            raise ValueError(
                f"capacity {self.capacity} takes at most {self.room} items at a time, got "
                f"{priorities.size}: raise the capacity"
            )
        if complete is None:
            complete = jnp.ones(priorities.size, bool)
        if self.unique:
            return self._add_unique(buffer, items, priorities, complete)
        slots = next_slots(self.spared(buffer), buffer.cursor, self.capacity, priorities.size)
        num_new = jnp.asarray(priorities.size, jnp.int32)
        return self._write(buffer, slots, slots[-1], num_new, items, priorities, complete, None)

    def sample(self, buffer: Buffer, key: Array, num_samples: int) -> Sample:
        """`num_samples` items, with replacement; arbitrary while `buffer.size` is 0."""
        slots = self.draw(buffer, key, num_samples)
        return Sample(jax.tree.map(lambda x: x[slots], buffer.items), slots)

    def update(self, buffer: Buffer, slots: Array, priorities: Array) -> Buffer:
        """The buffer with other priorities `[n]` in `slots` `[n]`; the largest, where repeated."""
        lowest = buffer.priority.at[slots].set(-jnp.inf)
        return buffer._replace(priority=lowest.at[slots].max(priorities))

    def priority(self, log_reward: Array, errors: Array) -> Array:
        """`[n]` priorities from log R `[n]` and the loss `[n]` of each item."""
        return log_reward

    def draw(self, buffer: Buffer, key: Array, num_samples: int) -> Array:
        """`[num_samples]` slots."""
        raise NotImplementedError

    def spared(self, buffer: Buffer) -> Array | None:
        """`[C]` slots that new items must not take, `capacity - room` at most; None for none."""
        return None

    def _add_unique(
        self, buffer: Buffer, items: PyTree, priorities: Array, complete: Array
    ) -> Buffer:
        """A repeat of a stored object takes its slot; of those within a batch the first counts."""
        objects = object_of(items)
        marks = unique.fingerprint(objects)
        assert buffer.fingerprint is not None
        alike = marks[:, None] == buffer.fingerprint[None]
        alike &= complete[:, None] & buffer.complete[None]
        home = jnp.argmax(alike, axis=1).astype(jnp.int32)
        stored = jax.tree.map(lambda x: x[home], object_of(buffer.items))
        found = alike.any(axis=1) & unique.same(objects, stored)
        first = ~unique.repeats(objects, complete)
        new = first & ~found

        nowhere = self.capacity  # scatters drop what is out of range
        spared = self.spared(buffer)
        spared = jnp.zeros(self.capacity, bool) if spared is None else spared
        spared = spared.at[jnp.where(found, home, nowhere)].set(True, mode="drop")
        slots = next_slots(spared, buffer.cursor, self.capacity, priorities.size)
        num_new = new.sum(dtype=jnp.int32)
        last = slots[jnp.maximum(num_new - 1, 0)]
        slots = slots[jnp.maximum(jnp.cumsum(new, dtype=jnp.int32) - 1, 0)]
        slots = jnp.where(new, slots, jnp.where(first, home, nowhere))
        return self._write(buffer, slots, last, num_new, items, priorities, complete, marks)

    def _write(
        self,
        buffer: Buffer,
        slots: Array,
        last: Array,
        num_new: Array,
        items: PyTree,
        priorities: Array,
        complete: Array,
        marks: Array | None,
    ) -> Buffer:
        """Items into `slots` `[n]`; the ring goes on after `last`, the last of `num_new` slots."""

        def put(old: Array, new: Array) -> Array:
            return old.at[slots].set(new.astype(old.dtype), mode="drop")

        return Buffer(
            items=jax.tree.map(put, buffer.items, items),
            priority=put(buffer.priority, priorities),
            complete=put(buffer.complete, complete),
            fingerprint=jax.tree.map(put, buffer.fingerprint, marks),
            size=jnp.minimum(buffer.size + num_new, self.capacity),
            cursor=jnp.where(num_new > 0, (last + 1) % self.capacity, buffer.cursor),
        )


def object_of(items: PyTree) -> PyTree:
    """What an item is an item of: of a trajectory its last state, else the item itself."""
    return terminal_states(items) if isinstance(items, Trajectory) else items


def write_after(buffer: Buffer, items: PyTree) -> Buffer:
    """The same buffer, but not to be written before `items`, drawn from it, are there.

    XLA orders by data alone. Where nothing says that the old items are read before new ones come
    in, it copies the whole buffer at every step: .3 against 30 ms for 100,000 items of 500 bytes.
    """
    total = sum(x.astype(jnp.float32).sum() for x in jax.tree.leaves(items))
    # A zero that no compiler can foresee, because of what infinity times zero is.
    zero = jnp.where(jnp.isfinite(total), total, 1.0) * 0.0
    return buffer._replace(cursor=buffer.cursor + zero.astype(jnp.int32))


def next_slots(spared: Array | None, cursor: Array, capacity: int, count: int) -> Array:
    """`[count]` slots from `cursor` on, around the ring, that are not `spared` `[C]`."""
    if spared is None:
        return (cursor + jnp.arange(count, dtype=jnp.int32)) % capacity
    ring = (cursor + jnp.arange(capacity, dtype=jnp.int32)) % capacity
    rank = jnp.cumsum(~spared[ring], dtype=jnp.int32)
    place = jnp.searchsorted(rank, jnp.arange(1, count + 1, dtype=jnp.int32))
    return ring[place]


def draw_slots(weights: Array, key: Array, num_samples: int) -> Array:
    """`[num_samples]` int32 slots with probability `weights` `[C]` / sum, never one of weight 0."""
    total = jnp.cumsum(weights)
    uniform = jax.random.uniform(key, (num_samples,), total.dtype)
    slots = jnp.searchsorted(total, uniform * total[-1], side="right")
    # A product that rounds up to the total would point past the end.
    return jnp.minimum(slots, jnp.searchsorted(total, total[-1])).astype(jnp.int32)
