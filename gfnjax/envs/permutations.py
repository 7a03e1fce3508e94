"""Permutations, moved about by swaps of neighbours and a shift: a state graph with cycles."""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial, lgamma
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.drawing import Panel, Target
from gfnjax.envs.stages import INSIDE, SOURCE, Stages
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.permutations import FixedPoints, fixed_point_law, mean_reward
from gfnjax.types import Array


class PermutationState(NamedTuple):
    """`permutation` `[n]` int32, of s_0 the one it enters; `stage` `[]` int32."""

    permutation: Array
    stage: Array


@pytree
class Permutations(Comparable, Stages):
    """All permutations of n, entered anywhere, each alike: mu = 1 / n! (2502.07735).

    Action a < n - 1 swaps positions a and a + 1, action n - 1 shifts all entries one position to
    the right, the last to the front; action n stops, in every state, and n + 1 enters from s_0.
    Backward actions undo the forward action of the same number: the shift to the left is no move.
    Trajectories may go round, so `max_steps` cuts them. The observation is one one-hot vector a
    position, concatenated: `[n * n]`, all zero in s_0.

    With 1/(n+1) for each move and s_0, P_B takes n + 1 steps on average.

    Args:
        size: n, at least 2.
        reward: log R of a permutation `[n]` int32: a callable pytree, or any function. Of the
            fixed points log Z is known.
        max_steps: transitions after which a trajectory is cut, at least 2.

    Raises:
        ValueError: if a size is out of range.
    """

    acyclic: ClassVar[bool] = False
    size: int = static(default=8)
    reward: Callable[[Array], Array] = FixedPoints()
    max_steps: int = static(default=256)

    def __post_init__(self) -> None:
        settle(self, size=2, max_steps=2)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_moves(self) -> int:
        return self.size

    def initial_state(self) -> PermutationState:
        return PermutationState(jnp.arange(self.size, dtype=jnp.int32), self.stage_of(SOURCE))

    def draw_source(self, key: Array) -> PermutationState:
        """An s_0 that enters a permutation drawn uniformly."""
        permutation = jax.random.permutation(key, self.size).astype(jnp.int32)
        return PermutationState(permutation, self.stage_of(SOURCE))

    def log_source(self, state: PermutationState) -> Array:
        """`[]` -log n!."""
        return jnp.asarray(-lgamma(self.size + 1), jnp.result_type(float))

    def step(self, state: PermutationState, action: Array) -> PermutationState:
        shifted = jnp.roll(state.permutation, 1)
        return PermutationState(
            self._moved(state, action, shifted), self.stage_after(state, action)
        )

    def backward_step(self, state: PermutationState, backward_action: Array) -> PermutationState:
        shifted = jnp.roll(state.permutation, -1)
        stage = self.stage_before(state, backward_action)
        return PermutationState(self._moved(state, backward_action, shifted), stage)

    def _moved(self, state: PermutationState, action: Array, shifted: Array) -> Array:
        here = jnp.arange(self.size, dtype=jnp.int32)
        place = jnp.where(here == action, here + 1, jnp.where(here == action + 1, here - 1, here))
        swapped = state.permutation[jnp.minimum(place, self.size - 1)]
        moved = jnp.where(action == self.size - 1, shifted, swapped)
        moves = (state.stage == INSIDE) & (action < self.num_moves)
        return jnp.where(moves, moved, state.permutation)

    def forward_mask(self, state: PermutationState) -> Array:
        return self.forward_of(state, jnp.ones(self.num_moves, bool))

    def backward_mask(self, state: PermutationState) -> Array:
        return self.backward_of(state, jnp.ones(self.num_moves, bool), jnp.ones((), bool))

    def observe(self, state: PermutationState) -> Array:
        seen = jax.nn.one_hot(state.permutation, self.size).reshape(-1)
        return jnp.where(state.stage == SOURCE, 0.0, seen)

    def log_reward(self, state: PermutationState) -> Array:
        return self.reward(state.permutation)

    def log_partial_reward(self, state: PermutationState) -> Array:
        # An s_0 must not tell which permutation it enters.
        return jnp.where(state.stage == SOURCE, 0.0, self.log_reward(state))

    @property
    def num_states(self) -> int:
        return 2 * factorial(self.size) + 1

    def state_index(self, state: PermutationState) -> Array:
        """By the Lehmer code: how many later entries are smaller than each."""
        check_indexable(self)
        smaller = state.permutation[None, :] < state.permutation[:, None]
        code = jnp.triu(smaller, 1).sum(axis=1, dtype=jnp.int32)
        number = (code * self._places()).sum(dtype=jnp.int32)
        return self.index_of(state, number, factorial(self.size))

    def state_at(self, index: Array) -> PermutationState:
        check_indexable(self)
        number, stage = self.place_of(index, factorial(self.size))
        code = number // self._places() % (self.size - jnp.arange(self.size, dtype=jnp.int32))
        permutation = code
        # The entry at i among those that are left: what stands later makes room for it.
        for i in reversed(range(self.size)):
            later = jnp.arange(self.size, dtype=jnp.int32) > i
            permutation += (later & (permutation >= permutation[i])).astype(jnp.int32)
        return PermutationState(permutation, stage)

    def _places(self) -> Array:
        return jnp.array([factorial(i) for i in reversed(range(self.size))], jnp.int32)

    def target(self) -> Target | None:
        """log Z in closed form, and how far a sample is from the law of fixed points."""
        if not isinstance(self.reward, FixedPoints):
            return None
        weight = float(self.reward.weight)
        law, log_z = fixed_point_law(self.size, weight)
        mean = mean_reward(law, weight)

        def judge(states: PermutationState, weights: np.ndarray) -> dict[str, float]:
            found = self._shares(states, weights)
            return {
                "fixed_points_l1": float(np.abs(found - law).sum()),
                "mean_reward_error": abs(mean_reward(found, weight) / mean - 1.0),
            }

        return Target(log_z, judge=judge)

    def render(self, states: PermutationState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The distribution of the number of fixed points."""
        return (_panel(self._shares(states, weights)),)

    def render_target(self) -> tuple[Panel, ...] | None:
        """The same under R / Z."""
        if not isinstance(self.reward, FixedPoints):
            return None
        return (_panel(fixed_point_law(self.size, float(self.reward.weight))[0]),)

    def _shares(self, states: PermutationState, weights: np.ndarray) -> np.ndarray:
        fixed = (np.asarray(states.permutation) == np.arange(self.size)).sum(axis=1)
        return np.bincount(fixed, weights, minlength=self.size + 1)


def _panel(law: np.ndarray) -> Panel:
    return Panel(law, "fixed points")


SETTINGS = {
    "steps": 5_000,
    "batch_size": 128,
    "objective": "reg-db",
    "reg-db": {"flow_regularisation": 1e-5},
    "learning_rate": 1e-3,
    "log_z_learning_rate": 1e-2,
    "mlp": {"hidden_sizes": (128, 128), "activation": "leaky_relu"},
}


@registry.environment(
    "permutations",
    summary="swap and shift the entries of a permutation and stop anywhere; R by fixed points",
    defaults=SETTINGS,
)
@dataclass(frozen=True)
class PermutationsConfig:
    """Permutations with a reward for fixed points."""

    size: int = 8
    """n, entries that are permuted"""
    weight: float = 0.5
    """log R of each fixed point"""
    max_steps: int = 256
    """steps after which a trajectory is cut"""

    def make(self) -> Permutations:
        return Permutations(self.size, FixedPoints(self.weight), self.max_steps)
