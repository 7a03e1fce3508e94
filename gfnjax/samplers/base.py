"""What a sampler is, and the plain one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.types import Array, PolicyOutput, PyTree, Trajectory

if TYPE_CHECKING:
    from gfnjax.gflownet import GFlowNet
    from gfnjax.state import Params


class Batch(NamedTuple):
    """Trajectories `[B, ...]` to learn from, from whatever behaviour.

    Attributes:
        trajectories: complete ones, or windows of unfinished ones.
        outputs: `[B, T + 1, ...]` what the current parameters say in all of their states, where
            sampling has computed that already; else None.
        note: whatever the sampler wants to see again in `learn`.
    """

    trajectories: Trajectory
    outputs: PolicyOutput | None = None
    note: PyTree = None


@runtime_checkable
class Sampler(Protocol):
    """A hashable value; what it remembers between steps is part of the training state.

    All methods are pure and run inside the compiled training step.
    """

    def check(self, gfn: GFlowNet) -> None:
        """Raise an error that names what does not go together, at construction."""
        ...

    def init(self, gfn: GFlowNet, params: Params, key: Array) -> PyTree:
        """The memory before the first step, or None."""
        ...

    def draw(
        self, gfn: GFlowNet, params: Params, memory: PyTree, key: Array, values: Hyperparameters
    ) -> tuple[Batch, PyTree]:
        """A batch for one training step, and the memory after drawing it."""
        ...

    def learn(self, gfn: GFlowNet, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        """The memory once the batch has been scored: `errors` `[B]`, the loss of each one.

        All of them are NaN in a step that does not count, for its loss, its gradient or a reward
        is not finite; a large memory then stays as it was (see `gfnjax.state.Settling`).
        """
        ...


@dataclass(frozen=True)
class OnPolicy:
    """`batch_size` fresh trajectories of the behaviour policy, nothing remembered."""

    def check(self, gfn: GFlowNet) -> None:
        return None

    def init(self, gfn: GFlowNet, params: Params, key: Array) -> PyTree:
        return None

    def draw(
        self, gfn: GFlowNet, params: Params, memory: PyTree, key: Array, values: Hyperparameters
    ) -> tuple[Batch, PyTree]:
        return Batch(*gfn.explore(params, key, gfn.batch_size, values)), memory

    def learn(self, gfn: GFlowNet, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        return memory
