"""Objects instead of trajectories: a fraction of the memory, and paths that are never stale."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax

from gfnjax.replay.base import Buffer, Replay, Sample
from gfnjax.rollout import terminal_states
from gfnjax.types import Array, PyTree, Trajectory


class SamplesBackward(Protocol):
    """A `Model`: buffers lie below it."""

    def sample_backward(self, params: Any, key: Array, terminal_states: PyTree) -> Trajectory: ...


@dataclass(frozen=True)
class TerminalReplay:
    """Terminal states alone, in a buffer of any kind; trajectories are rebuilt when drawn.

    What is learned from are paths of the current P_B into objects found before:
    `TerminalReplay(RewardPrioritised(10_000, unique=True))`.

    Attributes:
        buffer: what to store the states in.

    Raises:
        TypeError: if `buffer` is not one of the other buffers.
    """

    buffer: Replay

    def __post_init__(self) -> None:
        if not isinstance(self.buffer, Replay):
            raise TypeError(
                "buffer must be a buffer such as Fifo(10_000), "
                f"got {type(self.buffer).__name__} {self.buffer!r}"
            )

    @property
    def capacity(self) -> int:
        return self.buffer.capacity

    @property
    def room(self) -> int:
        return self.buffer.room

    def init(self, example: Trajectory) -> Buffer:
        """An empty buffer for the last states of trajectories like `example`, one trajectory."""
        return self.buffer.init(_last(example.states))

    def add(
        self,
        buffer: Buffer,
        items: Trajectory,
        priorities: Array,
        complete: Array | None = None,
    ) -> Buffer:
        """Store the objects that trajectories `[n, ...]` end in."""
        return self.buffer.add(buffer, terminal_states(items), priorities, complete)

    def sample(self, buffer: Buffer, key: Array, num_samples: int) -> Sample:
        """Terminal states `[num_samples, ...]`, for `rebuild`."""
        return self.buffer.sample(buffer, key, num_samples)

    def update(self, buffer: Buffer, slots: Array, priorities: Array) -> Buffer:
        return self.buffer.update(buffer, slots, priorities)

    def priority(self, log_reward: Array, errors: Array) -> Array:
        return self.buffer.priority(log_reward, errors)

    def rebuild(
        self, model: SamplesBackward, params: Any, key: Array, states: PyTree
    ) -> Trajectory:
        """Trajectories `[n, ...]` of P_B into terminal states `[n, ...]`."""
        return model.sample_backward(params, key, states)


def _last(states: PyTree) -> PyTree:
    """The shape of one state, from that of the states `[T + 1, ...]` of one trajectory."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states)
