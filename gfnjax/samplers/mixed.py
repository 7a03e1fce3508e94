"""Batches of fresh, searched and replayed trajectories in fixed shares."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax import spread
from gfnjax.envs.tempered import exponent_of
from gfnjax.errors import ArgumentError, Use
from gfnjax.model import Model
from gfnjax.objectives.base import Objective, name_of
from gfnjax.policies.base import Behaviour
from gfnjax.replay import Experience
from gfnjax.replay.experience import Divisible
from gfnjax.rollout import choose
from gfnjax.samplers.base import Batch, OnPolicy, Sampler, check_divides
from gfnjax.samplers.langevin_search import LangevinSearch
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.samplers.windows import Windows
from gfnjax.state import Params, settle
from gfnjax.types import Array, PyTree, Trajectory


class Memory(NamedTuple):
    """What the source of fresh trajectories remembers, and what the replay buffer does, or None."""

    fresh: PyTree
    buffer: PyTree


class Counts(NamedTuple):
    """How many trajectories of a batch are of each kind, in the order they stand in it."""

    fresh: int
    searched: int
    replayed: int


@dataclass(frozen=True)
class Mixed:
    """Part of each batch is fresh, part improved by local search, part replayed.

    Fresh and searched trajectories go into the buffer once they have been learned from; while it
    is empty, fresh ones stand in for replayed ones. Searching starts from the fresh ones. What
    is replayed is scored by the current policy like everything else. Where a batch is spread over
    several devices (`gfnjax.spread`) each of them has a part of the buffer to itself.

        Mixed(RewardPrioritised(10_000), local_search=LocalSearch(), search_share=.25)
        Mixed(ResidualPrioritised(10_000), fresh=Windows(8))
        Mixed(TerminalReplay(RankPrioritised(100_000)), local_search=LangevinSearch())

    Attributes:
        replay: a buffer, of `gfnjax.replay` or a class of your own; None for no replay.
        replay_share: of the batch, in (0, 1), where there is a buffer.
        local_search: None for none.
        search_share: of the batch, in (0, 1), where there is local search.
        fresh: where fresh trajectories come from; with `Windows`, transitions are replayed.

    Raises:
        ValueError: for shares out of range, or nothing to mix.
        TypeError: if `replay` or `local_search` is something else.
    """

    divides: ClassVar[bool] = True
    replay: Experience | None = None
    replay_share: float = 0.5
    local_search: LocalSearch | LangevinSearch | None = None
    search_share: float = 0.25
    fresh: Sampler = OnPolicy()

    def __post_init__(self) -> None:
        if self.replay is None and self.local_search is None:
            raise ArgumentError(
                "replay",
                "must be given: there is nothing to mix",
                subject="{replay} or {local_search}",
            )
        if not isinstance(self.replay, Experience | None):
            raise ArgumentError(
                "replay", f"must be a buffer such as Fifo(10_000), got {self.replay!r}"
            )
        if not isinstance(self.local_search, LocalSearch | LangevinSearch | None):
            problem = f"must be a LocalSearch or LangevinSearch, got {self.local_search!r}"
            raise ArgumentError("local_search", problem)
        for name, share in self._shares.items():
            if not 0 < share < 1:
                raise ArgumentError(name, f"must be in (0, 1), got {share}")
        if sum(self._shares.values()) >= 1:
            raise ArgumentError(
                "replay_share",
                "must be below 1, to leave fresh trajectories, got "
                f"{self.replay_share} + {self.search_share}",
                subject="{replay_share} + {search_share}",
            )

    @property
    def _shares(self) -> dict[str, float]:
        """The shares that are in use."""
        search = {} if self.local_search is None else {"search_share": self.search_share}
        return search | ({} if self.replay is None else {"replay_share": self.replay_share})

    def counts(self, batch_size: int) -> Counts:
        """Numbers of trajectories in a batch."""
        searched, replayed = (
            round(self._shares.get(name, 0.0) * batch_size)
            for name in ("search_share", "replay_share")
        )
        return Counts(batch_size - searched - replayed, searched, replayed)

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        counts = self.counts(batch_size)
        given = {"search_share": counts.searched, "replay_share": counts.replayed}
        for name, count in given.items():
            if name in self._shares and count < 1:
                raise ArgumentError(
                    "batch_size",
                    f"is too small for {{{name}}} = {self._shares[name]}",
                    "raise one of them",
                    f"{{batch_size}} {batch_size}",
                )
        if counts.fresh < objective.least_batch:
            problem = f"leaves {counts.fresh} fresh trajectories"
            raise ArgumentError("batch_size", problem, "raise it", f"{{batch_size}} {batch_size}")
        if objective.on_policy:
            raise ArgumentError(
                "sampler",
                "learns from the policy's own trajectories: it cannot be trained on replayed or "
                "searched ones",
                Use("use sampler=OnPolicy()", without=("sampler",)),
                name_of(objective),
            )
        if self.replay is not None and callable(exponent_of(model.env)):
            raise ArgumentError(
                "sampler",
                "replays rewards whose exponent has changed since",
                "use sampler=OnPolicy(), or an exponent that is no schedule",
                "a buffer",
            )
        if self.replay is not None and counts.fresh + counts.searched > self.replay.room:
            raise ArgumentError(
                "capacity",
                f"the buffer takes {self.replay.room} items at a time, a step adds "
                f"{counts.fresh + counts.searched}",
                "raise the capacity",
                "{capacity}:",
            )
        whole_only = self.replay is not None and self.replay.whole_only
        if isinstance(self.fresh, Windows) and (whole_only or self.local_search is not None):
            raise ArgumentError(
                "fresh",
                "gives parts of trajectories: {replay|TerminalReplay} and {local_search} need "
                "whole ones",
                Use("from fresh=OnPolicy()", joint=", ", without=("Windows.length",)),
                "{Windows.length|fresh=Windows(...)}",
            )
        if self.local_search is not None:
            self.local_search.check(model.env)
        self.fresh.check(model, objective, counts.fresh)

    def own_counts(self, batch_size: int) -> Counts:
        """Numbers of trajectories in this device's part of a batch; in all of it, if it is alone.

        Raises:
            ValueError: where batches are spread over several devices and cannot be.
        """
        counts = self.counts(batch_size)
        for name, count in (("search_share", counts.searched), ("replay_share", counts.replayed)):
            share = f"{{{name}}} = {getattr(self, name)} of a batch of {batch_size}"
            spread.part_of(name, count, share)
        check_divides(self.fresh, counts.fresh)
        return Counts(*(spread.part_of("batch_size", count) for count in counts))

    @property
    def _buffer(self) -> Any:
        """What is replayed from: this device's part of it."""
        if self.replay is None or spread.num_parts() == 1:
            return self.replay
        if isinstance(self.replay, Divisible):
            return self.replay.part(spread.num_parts())
        remedy = "give it a method `part`, or that axis one device"
        return spread.refuse(type(self.replay).__name__, "replay", remedy)

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> Memory:
        num_fresh = spread.whole(self.own_counts(batch_size).fresh)
        memory = self.fresh.init(model, params, key, num_fresh)
        if self.replay is None:
            return Memory(memory, None)
        known = model, params, memory, key, Behaviour(), num_fresh
        batch, _ = jax.eval_shape(lambda: self.fresh.draw(*known))
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batch.trajectories)
        # Other samplers may start anywhere, and then the buffer keeps where.
        whole = type(self.fresh) is OnPolicy
        return Memory(memory, self._buffer.start(model.env, one, whole))

    def draw(
        self,
        model: Model,
        params: Params,
        memory: Memory,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, Memory]:
        counts = self.own_counts(batch_size)
        keys = jax.random.split(key, 3)
        # Of replayed trajectories nothing is known: none of the batch is told apart.
        behaviour = behaviour._replace(needs=None)
        known = model, params, memory.fresh, keys[0], behaviour, spread.whole(counts.fresh)
        batch, kept = self.fresh.draw(*known)
        # Nor are the states of others valued yet: the whole batch will be at once.
        parts, slots = [batch.trajectories._replace(log_path_reward=None)], None
        if self.local_search is not None:
            start = _repeat(batch.trajectories, counts.searched)
            parts.append(self.local_search(model, params, keys[1], start))
        if self.replay is not None:
            given = model, params, memory.buffer, spread.own_key(keys[2]), counts.replayed
            replayed, slots, found = self._buffer.recall(*given)
            stand_in = _repeat(batch.trajectories, counts.replayed)
            parts.append(choose(found, replayed, stand_in._replace(log_path_reward=None)))
        trajectories = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
        return Batch(trajectories, note=(batch.note, slots)), memory._replace(fresh=kept)

    def learn(self, model: Model, memory: Memory, batch: Batch, errors: Array) -> Memory:
        counts = self.own_counts(spread.whole(errors.size))
        note, slots = batch.note
        new = counts.fresh + counts.searched

        def rows(start: int, stop: int) -> tuple[Trajectory, Array]:
            return jax.tree.map(lambda x: x[start:stop], (batch.trajectories, errors))

        fresh, fresh_errors = rows(0, counts.fresh)
        kept = self.fresh.learn(model, memory.fresh, Batch(fresh, note=note), fresh_errors)
        if self.replay is None:
            return Memory(kept, None)
        keep = ~jnp.isnan(errors).all()
        replayed = rows(new, errors.size)
        buffer = self._buffer.refresh(memory.buffer, slots, *replayed, keep)
        return Memory(kept, self._buffer.store(model.env, buffer, *rows(0, new), keep))

    def settle(self, before: Memory, after: Memory, finite: Array) -> Memory:
        """As `gfnjax.state.Settling` says; the buffer has not been written by such a step."""
        return Memory(settle(self.fresh, before.fresh, after.fresh, finite), after.buffer)


def _repeat(trajectories: Trajectory, count: int) -> Trajectory:
    """The first `count` of a batch, from the beginning again where there are fewer."""
    index = jnp.arange(count, dtype=jnp.int32) % trajectories.length.size
    return jax.tree.map(lambda x: x[index], trajectories)
