"""Objects instead of trajectories: less memory still, and paths that are never stale."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gfnjax.envs.base import Environment
from gfnjax.errors import ArgumentError
from gfnjax.replay.base import Buffer, Replay, one_of
from gfnjax.replay.experience import Rebuilds, Recalled
from gfnjax.replay.records import keep_last, restore_state
from gfnjax.types import Array, PyTree, Trajectory


@dataclass(frozen=True)
class TerminalReplay:
    """Terminal states alone, in a buffer of any kind; trajectories are drawn anew each time.

    What is learned from are paths of the current P_B into objects found before:
    `TerminalReplay(RewardPrioritised(10_000, unique=True))`. Large states, as in phylogeny, are
    kept as the actions that led to them, and built again by stepping.

    Attributes:
        buffer: what to store the states in.

    Raises:
        TypeError: if `buffer` is not one of the other buffers.
    """

    buffer: Replay

    def __post_init__(self) -> None:
        if not isinstance(self.buffer, Replay):
            raise ArgumentError(
                "buffer",
                "must be a buffer such as Fifo(10_000), "
                f"got {type(self.buffer).__name__} {self.buffer!r}",
            )

    @property
    def capacity(self) -> int:
        return self.buffer.capacity

    @property
    def room(self) -> int:
        return self.buffer.room

    @property
    def whole_only(self) -> bool:
        return True

    def part(self, num_parts: int) -> "TerminalReplay":
        """As `Replay.part` says."""
        return TerminalReplay(self.buffer.part(num_parts))

    def start(self, env: Environment, example: Trajectory, whole: bool) -> Buffer:
        """An empty buffer for the last states of trajectories like `example`, one trajectory."""
        return self.buffer.init(one_of(partial(keep_last, env), example))

    def recall(
        self, model: Rebuilds, params: Any, memory: Buffer, key: Array, num_samples: int
    ) -> Recalled:
        draw_key, path_key = jax.random.split(key)
        kept, slots = self.buffer.sample(memory, draw_key, num_samples)
        found = jnp.broadcast_to(memory.size > 0, num_samples)
        return Recalled(self.rebuild(model, params, path_key, kept), slots, found)

    def refresh(
        self, memory: Buffer, slots: Array, trajectories: Trajectory, errors: Array, keep: Array
    ) -> Buffer:
        return self.buffer.refresh(memory, slots, trajectories, errors, keep)

    def store(
        self, env: Environment, memory: Buffer, trajectories: Trajectory, errors: Array, keep: Array
    ) -> Buffer:
        kept = keep_last(env, trajectories)
        return self.buffer.add_ended(env, memory, kept, trajectories, errors, keep, restore_state)

    def rebuild(self, model: Rebuilds, params: Any, key: Array, kept: PyTree) -> Trajectory:
        """Trajectories `[n, ...]` of P_B into terminal states `[n, ...]`, kept in whatever way."""
        return model.sample_backward(params, key, restore_state(model.env, kept))
