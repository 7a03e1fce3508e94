"""What a sampler asks of a replay buffer, whatever it remembers."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from gfnjax.envs.base import Environment
from gfnjax.types import Array, PyTree, Trajectory


class Recalled(NamedTuple):
    """What a buffer gives to learn from.

    Attributes:
        trajectories: `[n, ...]`.
        slots: `[n]` where each one is kept, for `refresh`.
        found: `[n]` bool, False where there was nothing to recall and the trajectory is void.
    """

    trajectories: Trajectory
    slots: Array
    found: Array


class Rebuilds(Protocol):
    """A `gfnjax.model.Model`; buffers lie below it."""

    @property
    def env(self) -> Environment: ...

    def sample_backward(self, params: Any, key: Array, terminal_states: PyTree) -> Trajectory: ...


@runtime_checkable
class Experience(Protocol):
    """What `Mixed` asks of a buffer: `Replay` and `TerminalReplay`, or a class of your own.

    A hashable value; all methods are pure and run inside the compiled step. What is remembered is
    any pytree. `keep` `[]` bool is False in a step that is taken back because its loss is not
    finite: `refresh` and `store` then return the memory bit for bit as it was. One that several
    devices may share is `Divisible` as well.

    Attributes:
        room: the most trajectories that one `store` can take.
        whole_only: True where parts of trajectories, from `Windows`, cannot be kept.
    """

    @property
    def room(self) -> int: ...
    @property
    def whole_only(self) -> bool: ...

    def start(self, env: Environment, example: Trajectory, whole: bool) -> PyTree:
        """Nothing remembered; for trajectories shaped like one `example`, from s_0 if `whole`."""
        ...

    def recall(
        self, model: Rebuilds, params: Any, memory: PyTree, key: Array, num_samples: int
    ) -> Recalled:
        """`num_samples` trajectories to learn from."""
        ...

    def refresh(
        self, memory: PyTree, slots: Array, trajectories: Trajectory, errors: Array, keep: Array
    ) -> PyTree:
        """The memory once the loss `[n]` of each of the recalled `trajectories` is known."""
        ...

    def store(
        self, env: Environment, memory: PyTree, trajectories: Trajectory, errors: Array, keep: Array
    ) -> PyTree:
        """The memory with new trajectories `[n, ...]`, whose losses are `errors` `[n]`."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A buffer that several devices may share, each with a part of it to itself.

    Each then stores what it has sampled, and recalls from that.
    """

    def part(self, num_parts: int) -> Experience:
        """The buffer of one of `num_parts` devices.

        Raises:
            ValueError: if it cannot be divided by that number.
        """
        ...
