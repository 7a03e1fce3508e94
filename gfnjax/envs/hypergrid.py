"""The hypergrid: walk away from the origin, one unit at a time, and stop anywhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.conditional import Condition, Conditional
from gfnjax.envs.drawing import Panel
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.hypergrid import Corners, Cosine, Deceptive, Sparse, corners
from gfnjax.types import Array

MAX_PANELS = 6


class HypergridState(NamedTuple):
    """`position` `[num_dims]` int32; `stopped` `[]` bool."""

    position: Array
    stopped: Array


@pytree
class Hypergrid(Comparable):
    """States {0..side-1}^num_dims, each also as a terminal copy (Bengio et al., 2106.04399).

    Forward action d < num_dims adds one to coordinate d, action num_dims stops. Backward actions
    undo the forward action of the same number. The reward is defined on every cell, so it is the
    partial reward too. The observation is one one-hot vector per
    dimension, concatenated: `[num_dims * side]`.

    Args:
        num_dims: number of dimensions D, at least 1.
        side: number of cells H along each dimension, at least 2.
        reward: callable pytree `(position, side) -> log R`, or any callable of the same form.

    Raises:
        ValueError: if a size is out of range.
    """

    num_dims: int = static(default=2)
    side: int = static(default=8)
    reward: Callable[[Array, int], Array] = Corners()

    def __post_init__(self) -> None:
        settle(self, num_dims=1, side=2)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_actions(self) -> int:
        return self.num_dims + 1

    @property
    def num_backward_actions(self) -> int:
        return self.num_dims + 1

    @property
    def max_steps(self) -> int:
        return self.num_dims * (self.side - 1) + 1

    def initial_state(self) -> HypergridState:
        return HypergridState(jnp.zeros(self.num_dims, jnp.int32), jnp.zeros((), bool))

    def step(self, state: HypergridState, action: Array) -> HypergridState:
        move = (jnp.arange(self.num_dims, dtype=jnp.int32) == action) & ~state.stopped
        return HypergridState(
            state.position + move.astype(jnp.int32), state.stopped | (action == self.num_dims)
        )

    def backward_step(self, state: HypergridState, backward_action: Array) -> HypergridState:
        move = (jnp.arange(self.num_dims, dtype=jnp.int32) == backward_action) & (
            state.position > 0
        )
        resumed = backward_action == self.num_dims
        return HypergridState(state.position - move.astype(jnp.int32), state.stopped & ~resumed)

    def forward_mask(self, state: HypergridState) -> Array:
        moves = state.position < self.side - 1
        return jnp.append(moves, True) & ~state.stopped

    def backward_mask(self, state: HypergridState) -> Array:
        return jnp.append((state.position > 0) & ~state.stopped, state.stopped)

    def backward_action(self, state: HypergridState, action: Array) -> Array:
        return action

    def forward_action(self, state: HypergridState, backward_action: Array) -> Array:
        return backward_action

    def is_terminal(self, state: HypergridState) -> Array:
        return state.stopped

    def observe(self, state: HypergridState) -> Array:
        return jax.nn.one_hot(state.position, self.side).reshape(-1)

    @property
    def num_features(self) -> int:
        return self.num_dims * self.side

    def active_features(self, state: HypergridState) -> Array:
        return state.position + self.side * jnp.arange(self.num_dims, dtype=jnp.int32)

    def log_reward(self, state: HypergridState) -> Array:
        return self.reward(state.position, self.side)

    def log_partial_reward(self, state: HypergridState) -> Array:
        return self.log_reward(state)

    @property
    def stop_action(self) -> int:
        return self.num_dims

    @property
    def num_states(self) -> int:
        return 2 * self.side**self.num_dims

    def state_index(self, state: HypergridState) -> Array:
        check_indexable(self)
        place = jnp.array([self.side**d for d in reversed(range(self.num_dims))], jnp.int32)
        cell = (state.position * place).sum(dtype=jnp.int32)
        return cell + jnp.where(state.stopped, self.side**self.num_dims, 0)

    def state_at(self, index: Array) -> HypergridState:
        check_indexable(self)
        num_cells = self.side**self.num_dims
        place = jnp.array([self.side**d for d in reversed(range(self.num_dims))], jnp.int32)
        return HypergridState((index % num_cells) // place % self.side, index >= num_cells)

    def render(self, states: HypergridState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The distribution for one dimension, else the marginals of the first pairs of them."""
        position = np.asarray(states.position)
        if self.num_dims == 1:
            mass = np.bincount(position[:, 0], weights, minlength=self.side)
            return (Panel(mass, "$x_1$"),)
        panels = []
        for i, j in islice(combinations(range(self.num_dims), 2), MAX_PANELS):
            mass = np.zeros((self.side, self.side))
            np.add.at(mass, (position[:, j], position[:, i]), weights)
            panels.append(Panel(mass, f"$x_{i + 1}$", f"$x_{j + 1}$"))
        return tuple(panels)


@dataclass(frozen=True)
class _Grid:
    """What makes a hypergrid; the fields of its condition come after these."""

    num_dims: int = 2
    """dimensions D"""
    side: int = 32
    """cells H along each dimension"""
    reward: Literal["corners", "cosine", "deceptive", "sparse"] = "corners"
    """reward function"""
    variant: Literal["standard", "easy", "hard"] = "standard"
    """parameters of the corners reward"""
    r0: float | None = None
    """replaces the reward of the plain cells (for sparse: of all but the modes)"""


@registry.environment(
    "hypergrid",
    summary="walk through a grid and stop anywhere; the modes are in the corners",
    defaults={"steps": 2_500, "batch_size": 32},
)
@registry.environment(
    "hypergrid-20x4",
    summary="the grid of side 20 in 4 dimensions that papers report (160,000 objects)",
    values={"num_dims": 4, "side": 20, "variant": "easy"},
    # A falling epsilon ends the search before the far corners are found, in some runs.
    defaults={"steps": 6_250, "chunk_size": 1_250, "epsilon": 0.1},
)
@dataclass(frozen=True)
class HypergridConfig(Condition, _Grid):
    """The hypergrid {0..side-1}^num_dims."""

    def make(self) -> Hypergrid | Conditional:
        if self.variant != "standard" and self.reward != "corners":
            raise ArgumentError(
                "variant", f"must be standard with reward {self.reward}, got {self.variant}"
            )
        if self.r0 is not None and not self.r0 > 0:
            raise ArgumentError("r0", f"must be positive, got {self.r0}")
        return self.impose(Hypergrid(self.num_dims, self.side, self._reward()), Cosine())

    def _reward(self) -> Corners | Cosine | Deceptive | Sparse:
        if self.reward == "sparse":
            return Sparse() if self.r0 is None else Sparse(floor=self.r0)
        if self.reward == "corners":
            reward = corners(self.variant)
        else:
            reward = {"cosine": Cosine, "deceptive": Deceptive}[self.reward]()
        return reward if self.r0 is None else replace(reward, r0=self.r0)
