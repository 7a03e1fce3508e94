"""Incomplete trajectories: learn from every few steps of rollouts that are still under way."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax

from gfnjax import rollout
from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError, Use
from gfnjax.model import Model
from gfnjax.objectives.base import Objective, name_of, suits
from gfnjax.policies.base import Behaviour
from gfnjax.samplers.base import Batch
from gfnjax.state import Params
from gfnjax.types import Array, PyTree


@dataclass(frozen=True)
class Windows:
    """`batch_size` rollouts go on, `length` transitions a training step, and start anew at the end.

    Each update learns from what was just stepped, as in "Better Training of GFlowNets with Local
    Credit and Incomplete Trajectories" (Pan et al., 2302.01687). A window ends where its
    trajectory does. For objectives that balance flows state by state: detailed balance,
    sub-trajectory balance, their forward-looking forms, flow matching.

    Attributes:
        length: transitions a step and rollout, at least 1.

    Raises:
        ValueError: if `length` is not positive.
    """

    divides: ClassVar[bool] = True
    length: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", whole("length", self.length, least=1))

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        if not objective.incomplete:
            raise ArgumentError(
                "sampler",
                "needs complete trajectories",
                Use(
                    "learn from windows with one whose `incomplete` is True, such as "
                    "DetailedBalance, SubTrajectoryBalance, their forward-looking forms or "
                    "FlowMatching",
                    joint="; ",
                    objective=partial(suits, env=model.env, incomplete=True),
                    without=("Windows.length",),
                ),
                name_of(objective),
            )
        if not model.policy.from_any_state:
            raise ArgumentError(
                "sampler",
                "reads trajectories from their start",
                Use("no Windows", without=("Windows.length",)),
                f"a {type(model.policy).__name__}",
            )

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> PyTree:
        return rollout.draw_sources(model.env, key, batch_size)

    def draw(
        self,
        model: Model,
        params: Params,
        memory: PyTree,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, PyTree]:
        key, source_key = jax.random.split(key)
        ended = jax.vmap(model.env.is_terminal)(memory)
        sources = rollout.draw_sources(model.env, source_key, batch_size)
        states = rollout.choose(ended, sources, memory)
        window = rollout.Window(states, min(self.length, model.env.max_steps))
        batch = Batch(*model.explore(params, key, batch_size, behaviour, window))
        return batch, rollout.terminal_states(batch.trajectories)

    def learn(self, model: Model, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        return memory
