"""Members of one program under way: their states on the devices, and who of them still trains."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from gfnjax.arguments import is_key
from gfnjax.sweeps import program
from gfnjax.sweeps.placement import RUN, Layout
from gfnjax.sweeps.stack import Stack, stack
from gfnjax.training import RunInfo, RunState
from gfnjax.types import Array

Status = Literal["running", "finished", "reached", "diverged", "pruned"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Member(NamedTuple):
    """One run of a sweep: a description, and the key it starts from."""

    gfn: Any
    key: Array


class Population:
    """The members of one program, in slots; those that have stopped stay as they were.

    Attributes:
        layout: where they are.
        states: `[S, ...]`, gone with the next chunk.
        steps: `[S]` taken by each.
        status: of each member, in order.
    """

    def __init__(self, members: Sequence[Member], layout: Layout, states: RunState | None = None):
        self.layout = layout
        self._num_members = len(members)
        filled = [members[min(i, len(members) - 1)] for i in range(layout.num_slots)]
        self._described = _placed(stack([member.gfn for member in filled]), layout)
        if states is None:
            keys = jnp.stack([member.key for member in filled])
            states = program.start(self._described, _on_mesh(keys, layout), layout)
        else:
            axes = program.specs(states, layout)
            states = jax.tree.map(
                lambda x, spec: _on_mesh(_filled_up(x, layout), layout, *spec), states, axes
            )
        self.states = states
        self.status: list[Status] = ["running"] * len(members)
        self.steps = _everywhere(states.step).astype(int)

    @property
    def running(self) -> bool:
        """Whether any member still trains."""
        return "running" in self.status

    def advance(self, last_step: int, capacity: int) -> list[RunInfo | None]:
        """A chunk for whoever still trains: to the next multiple of `capacity`, or `last_step`.

        Returns:
            Of each member the infos `[n]` of its steps, None for those that had stopped. A member
            whose last step was not finite has that info last, and its status says so.
        """
        wanted = np.zeros(self.layout.num_slots, np.int32)
        for i, status in enumerate(self.status):
            if status == "running":
                step = int(self.steps[i])
                wanted[i] = min(capacity - step % capacity, last_step - step)
        placed = _on_mesh(wanted, self.layout)
        given = self._described, self.states, placed, self.layout, capacity
        self.states, infos, taken, finite = jax.block_until_ready(program.advance(*given))
        infos, taken, finite = _everywhere((infos, taken, finite))
        self.steps = _everywhere(self.states.step).astype(int)
        found: list[RunInfo | None] = []
        for i in range(self._num_members):
            moved = wanted[i] > 0
            found.append(jax.tree.map(lambda x, i=i: x[i, : taken[i]], infos) if moved else None)
            if moved and not finite[i]:
                self.status[i] = "diverged"
            elif moved and self.steps[i] >= last_step:
                self.status[i] = "finished"
        return found

    def state(self, member: int) -> RunState:
        """`member`'s state, on the first device of this process: one program measures them all.

        Raises:
            ValueError: if it is on none.
        """
        row = jax.tree.map(lambda x: _row(x, member), self.states)
        return jax.device_put(row, jax.local_devices()[0])

    def kept(self) -> RunState:
        """States `[n, ...]` of the members alone."""

        def first(x: Array) -> Array:
            x = jax.random.clone(x) if is_key(x) else x  # to be kept, not to be drawn from
            return x[: self._num_members]

        if self._num_members == self.layout.num_slots:
            return self.states
        return jax.tree.map(first, self.states)

    def is_here(self, member: int) -> bool:
        """Whether this process has the member's state, and is the one to report on it."""
        device = self._device(member)
        return device.process_index == jax.process_index()

    def _device(self, member: int) -> Any:
        per_row = self.layout.num_slots // self.layout.mesh.shape[RUN]
        return self.layout.mesh.devices[member // per_row, 0]


def shapes(members: Sequence[Member], layout: Layout) -> RunState:
    """The shapes of `Population.kept`."""
    slots = layout.num_slots
    described = stack([members[min(i, len(members) - 1)].gfn for i in range(slots)])
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), slots))
    states = jax.eval_shape(lambda d, k: program.start(d, k, layout), described, keys)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((len(members), *x.shape[1:]), x.dtype), states
    )


def _placed(described: Stack, layout: Layout) -> Stack:
    """Numbers of members on their devices."""
    varied = [None if x is None else _on_mesh(x, layout) for x in described.varied]
    shared = [_everywhere_once(x, layout) for x in described.shared]
    return dataclasses.replace(described, shared=shared, varied=varied)


def _everywhere_once(leaf: Any, layout: Layout) -> Any:
    """An array on all devices, instead of with each chunk anew; numbers are small."""
    if not isinstance(leaf, jax.Array | np.ndarray) or jax.process_count() > 1:
        return leaf
    return jax.device_put(leaf, layout.sharding())


def _on_mesh(rows: Any, layout: Layout, *axes: str) -> Array:
    """`[S, ...]` rows, the same in all processes, each on its device."""
    sharding = layout.sharding(*(axes or (RUN,)))
    if jax.process_count() == 1:
        return jax.device_put(rows, sharding)
    if jnp.issubdtype(rows.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(rows))
        return jax.random.wrap_key_data(
            _on_mesh(data, layout, *axes), impl=jax.random.key_impl(rows)
        )
    host = np.asarray(rows)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _filled_up(x: Array, layout: Layout) -> Array:
    """Rows `[n, ...]` and, up to all slots, the last one again."""
    index = np.minimum(np.arange(layout.num_slots), len(x) - 1)
    return x if len(x) == layout.num_slots else x[index]


def _everywhere(tree: Any) -> Any:
    """Arrays of all processes as NumPy, in each process."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(np.asarray, tree)


def _row(x: Array, member: int) -> Array:
    parts = {}
    for shard in x.addressable_shards:
        start, stop, _ = shard.index[0].indices(x.shape[0])
        if start <= member < stop:
            row = shard.data[member - start]
            if row.shape == x.shape[1:]:
                return row
            parts[shard.index[1].start or 0] = row  # one of those that share a batch
    if not parts:
        raise ValueError(f"member {member} is on another process")
    return jnp.asarray(np.concatenate([np.asarray(parts[i]) for i in sorted(parts)]))
