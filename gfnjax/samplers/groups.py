"""Batches in groups: several trajectories from each of a few sources, conditions or prompts."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax import log_rewards, rollout
from gfnjax.actions import require_categorical
from gfnjax.arguments import whole
from gfnjax.envs.base import source_state
from gfnjax.errors import ArgumentError, Use
from gfnjax.model import Model
from gfnjax.objectives.base import Objective, name_of
from gfnjax.policies.base import Behaviour
from gfnjax.replay.prompts import PromptMemory, PromptReplay
from gfnjax.samplers.base import Batch
from gfnjax.samplers.demonstrations import Held, check_reached
from gfnjax.shapes import check_states
from gfnjax.state import Params
from gfnjax.types import Array, PyTree, Trajectory


class Counts(NamedTuple):
    """How many trajectories of a group are of each kind, in the order they stand in it."""

    tempered: int
    plain: int
    replayed: int

    @property
    def fresh(self) -> int:
        return self.tempered + self.plain


@dataclass(frozen=True)
class Groups:
    """`size` trajectories from each source that is drawn; trajectory g * size + k is of source g.

    What compares trajectories of one condition, log Z of a group for instance, needs several of
    them, and a policy that reads a prompt does it once for all. Of each group a share acts at a
    temperature of its own, drawn uniformly, on top of what explores anyway; a share is replayed
    from the best texts of the same prompt; the rest explores as always (Hu et al., 2310.04363,
    where a quarter is replayed, and half tempered). While there is nothing to replay, fresh ones
    of the group stand in. All of them are scored at temperature 1, and fresh ones are put into the
    memory once they have been learned from.

        Groups(8, replay=PromptReplay(num_prompts), demonstrations=env.states(texts, prompts))

    Attributes:
        size: trajectories a group; `batch_size` is a multiple of it.
        tempered_share: of a group, in [0, 1].
        temperatures: lowest and highest, positive.
        replay: the best texts of each prompt; None for no replay.
        replay_share: of a group, in (0, 1), where there is a replay.
        demonstrations: terminal states `[n, ...]` that the replay begins with, kept as
            `gfnjax.samplers.demonstrations.Held`; None for none.

    Raises:
        ValueError: for numbers out of range.
        TypeError: if `replay` is something else.
    """

    draws_groups: ClassVar[bool] = True
    divides: ClassVar[bool] = False  # rows are dealt in turn, which would tear groups apart
    size: int = 8
    tempered_share: float = 0.5
    temperatures: tuple[float, float] = (0.5, 2.0)
    replay: PromptReplay | None = None
    replay_share: float = 0.25
    demonstrations: Any = None

    def __post_init__(self) -> None:
        if self.demonstrations is not None and not isinstance(self.demonstrations, Held):
            object.__setattr__(self, "demonstrations", Held(self.demonstrations))
        object.__setattr__(self, "size", whole("size", self.size, least=1))
        if not isinstance(self.replay, PromptReplay | None):
            raise ArgumentError("replay", f"must be a PromptReplay, got {self.replay!r}")
        if self.replay is None and self.demonstrations is not None:
            raise ArgumentError("demonstrations", "do nothing without {replay}")
        if not 0 <= self.tempered_share <= 1:
            problem = f"must be in [0, 1], got {self.tempered_share}"
            raise ArgumentError("tempered_share", problem)
        if self.replay is not None and not 0 < self.replay_share < 1:
            raise ArgumentError("replay_share", f"must be in (0, 1), got {self.replay_share}")
        if self._shares > 1:
            problem = f"must be 1 at most, got {self.tempered_share} + {self.replay_share}"
            raise ArgumentError(
                "replay_share", problem, subject="{tempered_share} + {replay_share}"
            )
        low, high = self.temperatures
        if not 0 < low <= high:
            problem = f"must be positive, the lowest first, got {self.temperatures}"
            raise ArgumentError("temperatures", problem)
        object.__setattr__(self, "temperatures", (float(low), float(high)))

    @property
    def _shares(self) -> float:
        return self.tempered_share + (0.0 if self.replay is None else self.replay_share)

    @property
    def counts(self) -> Counts:
        """Numbers of trajectories in a group."""
        replayed = 0 if self.replay is None else round(self.replay_share * self.size)
        tempered = min(round(self.tempered_share * self.size), self.size - replayed)
        return Counts(tempered, self.size - replayed - tempered, replayed)

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        counts = self.counts
        if batch_size % self.size:
            problem = f"must be a multiple of the {self.size} trajectories of a group"
            raise ArgumentError("batch_size", f"{problem}, got {batch_size}")
        wanted = {"tempered_share": counts.tempered, "replay_share": counts.replayed}
        given = {"tempered_share": self.tempered_share}
        if self.replay is not None:
            given["replay_share"] = self.replay_share
        for name, share in given.items():
            if share > 0 and wanted[name] < 1:
                problem = f"is too small for {{{name}}} = {share}"
                raise ArgumentError("size", problem, "raise one of them", f"{{size}} {self.size}")
        if objective.log_z == "group" and self.size < 2:
            problem = "must be 2 or more to compare trajectories with each other, got 1"
            raise ArgumentError("size", problem, subject=f"{name_of(objective)}: {{size}}")
        if counts.fresh < 1:
            problem = "must leave fresh trajectories in a group"
            raise ArgumentError("replay_share", f"{problem}, got {self.replay_share}")
        if objective.on_policy and counts.tempered + counts.replayed:
            raise ArgumentError(
                "sampler",
                "learns from the policy's own trajectories: it cannot be trained on tempered or "
                "replayed ones",
                Use("use Groups(tempered_share=0.0) without replay", without=("sampler",)),
                name_of(objective),
            )
        if counts.tempered:
            require_categorical(model.env, "Groups with a tempered_share")
        if self.replay is not None:
            self.replay.check(model.env)
        if self.demonstrations is not None:
            states = self.demonstrations.tree
            check_states("demonstrations", states, source_state(model.env))
            check_reached("demonstrations", model.env, states)

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> PyTree:
        if self.replay is None:
            return None
        memory = self.replay.start(model.env)
        if self.demonstrations is None:
            return memory
        states = jax.tree.map(jnp.asarray, self.demonstrations.tree)
        return self.replay.seed(model.env, memory, model.sample_backward(params, key, states))

    def draw(
        self,
        model: Model,
        params: Params,
        memory: PromptMemory | None,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, PyTree]:
        counts, num_groups = self.counts, batch_size // self.size
        keys = jax.random.split(key, 4)
        groups = rollout.draw_sources(model.env, keys[0], num_groups)
        needs = behaviour.needs or frozenset()
        if counts.replayed:
            behaviour = behaviour._replace(needs=None)  # of replayed ones nothing is known
        fresh, rows = model.explore(
            params,
            keys[1],
            num_groups * counts.fresh,
            behaviour,
            sources=_each(groups, counts.fresh),
            temperature=self._temperatures(keys[2], num_groups),
        )
        if self.replay is None or memory is None:
            return Batch(fresh, rows), memory
        wanted = _each(groups, counts.replayed)
        replayed, _, found = self.replay.recall(model, params, memory, keys[3], wanted)
        # What the states of fresh ones are worth is known: of these, only if it will be asked for.
        if fresh.log_path_reward is not None and "log_partial_reward" in needs:
            env: Any = model.env  # which has valued the others
            values = log_rewards.path_rewards(env, replayed)
            replayed = replayed._replace(log_path_reward=values)
        else:
            fresh = fresh._replace(log_path_reward=None)
        stand_in = _take(fresh, num_groups, jnp.arange(counts.replayed) % counts.fresh)
        replayed = rollout.choose(found, replayed, stand_in)
        return Batch(_beside(fresh, replayed, num_groups)), memory

    def learn(
        self, model: Model, memory: PromptMemory | None, batch: Batch, errors: Array
    ) -> PyTree:
        if self.replay is None or memory is None:
            return memory
        fresh = jnp.arange(self.counts.fresh, dtype=jnp.int32)
        trajectories = _take(batch.trajectories, errors.size // self.size, fresh)
        return self.replay.store(model.env, memory, trajectories, ~jnp.isnan(errors).all())

    def settle(self, before: PyTree, after: PyTree, finite: Array) -> PyTree:
        """As `gfnjax.state.Settling` says; a step that does not count has not been remembered."""
        return after

    def _temperatures(self, key: Array, num_groups: int) -> Array | None:
        """`[num_groups * fresh]` of the fresh ones; None where all are 1."""
        counts = self.counts
        if not counts.tempered:
            return None
        low, high = self.temperatures
        shape, dtype = (num_groups, counts.tempered), jnp.result_type(float)
        drawn = jax.random.uniform(key, shape, dtype, low, high)
        plain = jnp.ones((num_groups, counts.plain), dtype)
        return jnp.concatenate([drawn, plain], axis=1).reshape(-1)


def _each(groups: PyTree, count: int) -> PyTree:
    """`[G * count, ...]`: each of `[G, ...]` rows `count` times in a row."""
    return jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), groups)


def _take(trajectories: Trajectory, num_groups: int, places: Array) -> Trajectory:
    """`[G * n, ...]`: those in `places` `[n]` of each group."""

    def take(x: Any) -> Array:
        rows = x.reshape(num_groups, -1, *x.shape[1:])[:, places]
        return rows.reshape(-1, *x.shape[1:])

    return jax.tree.map(take, trajectories)


def _beside(fresh: Trajectory, replayed: Trajectory, num_groups: int) -> Trajectory:
    """Groups with the replayed ones of each at its end."""

    def join(x: Array, y: Array) -> Array:
        rows = [z.reshape(num_groups, -1, *z.shape[1:]) for z in (x, y)]
        return jnp.concatenate(rows, axis=1).reshape(-1, *x.shape[1:])

    return jax.tree.map(join, fresh, replayed)
