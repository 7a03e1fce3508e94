"""What a sampler is, and the plain one."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from gfnjax import spread
from gfnjax.model import Model
from gfnjax.objectives.base import Objective
from gfnjax.policies.base import Behaviour
from gfnjax.scoring import VisitScores
from gfnjax.state import Params
from gfnjax.types import Array, PyTree, Trajectory


class Batch(NamedTuple):
    """Trajectories `[B, ...]` to learn from, from whatever behaviour.

    Attributes:
        trajectories: complete ones, or windows of unfinished ones.
        rows: `[B, T + 1, ...]` the word of the current parameters on each of their visits, where
            sampling has recorded that; else None.
        note: whatever the sampler wants to see again in `learn`.
    """

    trajectories: Trajectory
    rows: VisitScores | None = None
    note: PyTree = None


@runtime_checkable
class Sampler(Protocol):
    """A hashable value; what it remembers between steps is part of the training state.

    It sees a model, and what acts in its policy's place; nothing of the training. `init`, `draw`
    and `learn` are pure and run inside the compiled training step.

    A class that has an attribute `divides = True` may have its batches spread over several devices
    (`gfnjax.spread`). `batch_size` is that of the whole batch then, and so is what `Model.explore`
    takes and `gfnjax.rollout.draw_sources`; what they return, a `Batch` and a memory is each
    device's own part. Draws of its own should go through `spread.rows` or `spread.own_key`. One
    that has `draws_groups = True` draws several trajectories of each condition or prompt, for what
    compares them.
    """

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        """Raise an error that names what does not go together, at construction."""
        ...

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> PyTree:
        """The memory before the first step, or None."""
        ...

    def draw(
        self,
        model: Model,
        params: Params,
        memory: PyTree,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, PyTree]:
        """A batch for one training step, and the memory after drawing it.

        Args:
            model: environment and policies.
            params: current ones.
            memory: from the step before.
            key: a typed PRNG key.
            behaviour: how to explore, for `Model.explore`.
            batch_size: number of trajectories B.
        """
        ...

    def learn(self, model: Model, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        """The memory once the batch has been scored: `errors` `[B]`, the loss of each one.

        All of them are NaN in a step that does not count, for its loss, its gradient or a reward
        is not finite; a large memory then stays as it was (see `gfnjax.state.Settling`).
        """
        ...


def check_divides(sampler: Sampler, batch_size: int) -> None:
    """Raise a `ValueError` where a batch is to be spread over several devices and cannot be."""
    spread.part_of("batch_size", batch_size)
    if not _divides(type(sampler)):
        remedy = "give its class `divides = True` if it can, or that axis one device"
        spread.refuse(type(sampler).__name__, "sampler", remedy)


def _divides(sampler: type) -> bool:
    """What a class says; where it does something else than its base, the base has no say in it."""
    for cls in sampler.__mro__:
        if "divides" in vars(cls):
            return vars(cls)["divides"]
        if vars(cls).keys() & {"init", "draw", "learn"}:
            return False
    return False


@dataclass(frozen=True)
class OnPolicy:
    """`batch_size` fresh trajectories of the behaviour policy, nothing remembered."""

    divides: ClassVar[bool] = True

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        return None

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> PyTree:
        return None

    def draw(
        self,
        model: Model,
        params: Params,
        memory: PyTree,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, PyTree]:
        return Batch(*model.explore(params, key, batch_size, behaviour)), memory

    def learn(self, model: Model, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        return memory
