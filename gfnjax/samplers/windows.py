"""Incomplete trajectories: learn from every few steps of rollouts that are still under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from gfnjax import rollout
from gfnjax.arguments import whole
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.base import name_of
from gfnjax.policies.causal import CausalPolicy
from gfnjax.samplers.base import Batch
from gfnjax.types import Array, PyTree

if TYPE_CHECKING:
    from gfnjax.gflownet import GFlowNet
    from gfnjax.state import Params


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

    length: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", whole("length", self.length, least=1))

    def check(self, gfn: GFlowNet) -> None:
        if not gfn.objective.incomplete:
            raise ValueError(
                f"{name_of(gfn.objective)} needs complete trajectories; learn from windows with "
                "one whose `incomplete` is True, such as DetailedBalance, SubTrajectoryBalance, "
                "their forward-looking forms or FlowMatching"
            )
        if isinstance(gfn.policy, CausalPolicy):
            raise ValueError("a CausalPolicy reads trajectories from their start: no Windows")

    def init(self, gfn: GFlowNet, params: Params, key: Array) -> PyTree:
        return rollout.draw_sources(gfn.env, key, gfn.batch_size)

    def draw(
        self, gfn: GFlowNet, params: Params, memory: PyTree, key: Array, values: Hyperparameters
    ) -> tuple[Batch, PyTree]:
        key, source_key = jax.random.split(key)
        ended = jax.vmap(gfn.env.is_terminal)(memory)
        sources = rollout.draw_sources(gfn.env, source_key, gfn.batch_size)

        def restart(source: Array, state: Array) -> Array:
            return jnp.where(ended.reshape((-1,) + (1,) * (state.ndim - 1)), source, state)

        states = jax.tree.map(restart, sources, memory)
        window = rollout.Window(states, min(self.length, gfn.env.max_steps))
        batch = Batch(*gfn.explore(params, key, gfn.batch_size, values, window))
        return batch, rollout.terminal_states(batch.trajectories)

    def learn(self, gfn: GFlowNet, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        return memory
