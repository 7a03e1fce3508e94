"""Which modes training has come near to, counted on all that it learns from."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.envs.base import HasModes, source_state
from gfnjax.errors import ArgumentError, Use
from gfnjax.model import Model
from gfnjax.objectives.base import Objective
from gfnjax.policies.base import Behaviour
from gfnjax.rollout import terminal_states
from gfnjax.samplers.base import Batch, OnPolicy, Sampler
from gfnjax.state import Params, settle
from gfnjax.types import Array, PyTree


class Memory(NamedTuple):
    """What `ModeCount.sampler` remembers, and `[num_modes]` bool, the modes seen so far."""

    inner: PyTree
    seen: Array


@dataclass(frozen=True)
class ModeCount:
    """Batches of another sampler, and a record of the modes that any object in them was near.

    What the papers plot against steps (2201.13259, section 4): a mode once seen stays seen, and
    exploration counts. An evaluation says instead which modes the policy has *now*, which may be
    fewer. Randomness and batches are those of `sampler`; a step that is not finite counts nothing.

        gfn = GFlowNet(env, policy, sampler=ModeCount(Mixed(Fifo(10_000))))
        int(state.memory.seen.sum())

    Attributes:
        sampler: where the batches come from.

    Raises:
        TypeError, ValueError: with a `GFlowNet` whose environment knows no modes (`HasModes`).
    """

    sampler: Sampler = OnPolicy()

    @property
    def draws_groups(self) -> bool:
        return getattr(self.sampler, "draws_groups", False)

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        if isinstance(self.sampler, type) or not isinstance(self.sampler, Sampler):
            problem = f"must be a Sampler such as OnPolicy(), got {self.sampler!r}"
            raise ArgumentError("sampler", problem, subject="ModeCount: {sampler}")
        if _num_modes(model) == 0:
            problem = f"counts modes, and {type(model.env).__name__} knows none for this reward"
            remedy = Use("leave out ModeCount", without=("ModeCount.sampler",))
            subject = "{ModeCount.sampler|ModeCount}"
            raise ArgumentError("sampler", problem, remedy, subject)
        self.sampler.check(model, objective, batch_size)

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> Memory:
        inner = self.sampler.init(model, params, key, batch_size)
        return Memory(inner, jnp.zeros(_num_modes(model), bool))

    def draw(
        self,
        model: Model,
        params: Params,
        memory: Memory,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, Memory]:
        given = model, params, memory.inner, key, behaviour, batch_size
        batch, inner = self.sampler.draw(*given)
        return batch, memory._replace(inner=inner)

    def learn(self, model: Model, memory: Memory, batch: Batch, errors: Array) -> Memory:
        inner = self.sampler.learn(model, memory.inner, batch, errors)
        env, last = model.env, terminal_states(batch.trajectories)
        assert isinstance(env, HasModes)  # as `check` has made sure of
        whole = jax.vmap(env.is_terminal)(last)[:, None]  # windows and what was cut end anywhere
        near = (jax.vmap(env.modes_near)(last) & whole).any(axis=0)
        return Memory(inner, memory.seen | (near & ~jnp.isnan(errors).all()))

    def settle(self, before: Memory, after: Memory, finite: Array) -> Memory:
        """As `gfnjax.state.Settling` says; nothing was counted in such a step."""
        return Memory(settle(self.sampler, before.inner, after.inner, finite), after.seen)


def _num_modes(model: Model) -> int:
    env = model.env
    if not isinstance(env, HasModes):
        return 0
    return jax.eval_shape(lambda: env.modes_near(source_state(env))).size
