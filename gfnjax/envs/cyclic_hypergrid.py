"""The hypergrid with moves in both directions: a state graph with cycles.

A trajectory may come back to a cell, so it has no longest length; `max_steps` cuts it. With a
learned P_B there are infinitely many solutions, of any length: a regulariser of the flows
(`gfnjax.objectives.cyclic_balance`) chooses a short one. With a fixed P_B the solution is unique.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.drawing import Panel
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.stages import INSIDE, SOURCE, Stages
from gfnjax.errors import require
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.hypergrid import Corners, corners
from gfnjax.types import Array


class CyclicHypergridState(NamedTuple):
    """`position` `[num_dims]` int32, of s_0 the cell it enters; `stage` `[]` int32."""

    position: Array
    stage: Array


@pytree
class CyclicHypergrid(Comparable, Stages):
    """Cells {0..side-1}^num_dims, entered at the origin, +-1 moves, a stop in every one of them.

    Actions 2 d and 2 d + 1 take one from coordinate d and add one, action 2 num_dims stops, and
    2 num_dims + 1 enters the grid from s_0; backward actions undo the forward action of the same
    number. The reward is defined on every cell, so it is the partial reward too. The observation
    is one one-hot vector per dimension, concatenated: `[num_dims * side]`, all zero in s_0.

    With P_B uniform E[n] = 342.9 on the 7 x 7 grid, with `policies.SourceBackward`,
    which goes home from the origin, 174.9; the least is 7 (2312.15246, 2502.07735).

    Args:
        num_dims: number of dimensions D, at least 1.
        side: number of cells H along each dimension, at least 2.
        reward: callable pytree `(position, side) -> log R`, or any callable of the same form.
        max_steps: transitions after which a trajectory is cut, at least 2.

    Raises:
        ValueError: if a size is out of range.
    """

    acyclic: ClassVar[bool] = False
    num_dims: int = static(default=2)
    side: int = static(default=7)
    reward: Callable[[Array, int], Array] = Corners()
    max_steps: int = static(default=256)

    def __post_init__(self) -> None:
        settle(self, num_dims=1, side=2, max_steps=2)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_moves(self) -> int:
        return 2 * self.num_dims

    @property
    def num_cells(self) -> int:
        return self.side**self.num_dims

    def initial_state(self) -> CyclicHypergridState:
        return CyclicHypergridState(jnp.zeros(self.num_dims, jnp.int32), self.stage_of(SOURCE))

    def _moved(self, state: CyclicHypergridState, action: Array, sign: int) -> Array:
        dimension = jnp.arange(self.num_dims, dtype=jnp.int32) == action // 2
        step = sign * jnp.where(dimension, 2 * (action % 2) - 1, 0)
        there = state.position + step
        inside = ((there >= 0) & (there < self.side)).all()
        moves = (state.stage == INSIDE) & (action < self.num_moves) & inside
        return jnp.where(moves, there, state.position)

    def step(self, state: CyclicHypergridState, action: Array) -> CyclicHypergridState:
        return CyclicHypergridState(self._moved(state, action, 1), self.stage_after(state, action))

    def backward_step(
        self, state: CyclicHypergridState, backward_action: Array
    ) -> CyclicHypergridState:
        stage = self.stage_before(state, backward_action)
        return CyclicHypergridState(self._moved(state, backward_action, -1), stage)

    def forward_mask(self, state: CyclicHypergridState) -> Array:
        down, up = state.position > 0, state.position < self.side - 1
        return self.forward_of(state, jnp.stack([down, up], axis=1).reshape(-1))

    def backward_mask(self, state: CyclicHypergridState) -> Array:
        # What went down came from above.
        down, up = state.position < self.side - 1, state.position > 0
        moves = jnp.stack([down, up], axis=1).reshape(-1)
        return self.backward_of(state, moves, self._may_be_first(state))

    def _may_be_first(self, state: CyclicHypergridState) -> Array:
        return (state.position == 0).all()

    def observe(self, state: CyclicHypergridState) -> Array:
        seen = jax.nn.one_hot(state.position, self.side).reshape(-1)
        return jnp.where(state.stage == SOURCE, 0.0, seen)

    def log_reward(self, state: CyclicHypergridState) -> Array:
        return self.reward(state.position, self.side)

    def log_partial_reward(self, state: CyclicHypergridState) -> Array:
        # An s_0 must not tell which cell it enters.
        return jnp.where(state.stage == SOURCE, 0.0, self.log_reward(state))

    @property
    def num_states(self) -> int:
        return 2 * self.num_cells + 1

    def state_index(self, state: CyclicHypergridState) -> Array:
        check_indexable(self)
        cell = (state.position * self._places()).sum(dtype=jnp.int32)
        return self.index_of(state, cell, self.num_cells)

    def state_at(self, index: Array) -> CyclicHypergridState:
        check_indexable(self)
        cell, stage = self.place_of(index, self.num_cells)
        return CyclicHypergridState(cell // self._places() % self.side, stage)

    def _places(self) -> Array:
        return jnp.array([self.side**d for d in reversed(range(self.num_dims))], jnp.int32)

    def render(self, states: CyclicHypergridState, weights: np.ndarray) -> tuple[Panel, ...]:
        """As `Hypergrid.render`."""
        return Hypergrid(self.num_dims, self.side, self.reward).render(states, weights)  # pyrefly: ignore


@pytree
class UniformSourceHypergrid(CyclicHypergrid):
    """A `CyclicHypergrid` entered at any of its cells, all alike: mu = side^-num_dims.

    E[n] = 4.33 on the 7 x 7 grid with a P_B uniform over neighbours and s_0, and 2.30 at least.
    """

    def draw_source(self, key: Array) -> CyclicHypergridState:
        """An s_0 that enters a cell drawn uniformly."""
        position = jax.random.randint(key, (self.num_dims,), 0, self.side, jnp.int32)
        return CyclicHypergridState(position, self.stage_of(SOURCE))

    def log_source(self, state: CyclicHypergridState) -> Array:
        """`[]` -log of the number of cells."""
        return jnp.asarray(-self.num_dims * np.log(self.side), jnp.result_type(float))

    def _may_be_first(self, state: CyclicHypergridState) -> Array:
        return jnp.ones((), bool)


SETTINGS = {
    "steps": 5_000,
    "objective": "reg-db",
    "learning_rate": 1e-3,
    "log_z_learning_rate": 1e-2,
    "mlp": {"hidden_sizes": (256, 256), "activation": "relu"},
}


@registry.environment(
    "cyclic-grid",
    summary="walk through a grid in all directions and stop anywhere; trajectories may go round",
    defaults=SETTINGS,
)
@dataclass(frozen=True)
class CyclicHypergridConfig:
    """The hypergrid with moves in both directions."""

    num_dims: int = 2
    """dimensions D"""
    side: int = 7
    """cells H along each dimension"""
    source: Literal["uniform", "origin"] = "uniform"
    """where the grid is entered: anywhere, all cells alike, or at the origin"""
    r0: float = 1e-3
    """reward of the plain cells"""
    max_steps: int = 256
    """steps after which a trajectory is cut"""

    def make(self) -> CyclicHypergrid:
        require(self.r0 > 0, "r0", "must be positive", self.r0)
        kind = UniformSourceHypergrid if self.source == "uniform" else CyclicHypergrid
        return kind(self.num_dims, self.side, replace(corners(), r0=self.r0), self.max_steps)
