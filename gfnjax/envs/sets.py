"""Sets: choose k out of n elements, one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.base import check_indexable
from gfnjax.envs.conditional import Condition, Conditional
from gfnjax.envs.drawing import Panel, Target
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.sets import SetEnergy, check_energies, published_energies, set_truth
from gfnjax.types import Array


class SetState(NamedTuple):
    """`members` `[num_elements]` bool."""

    members: Array


@pytree
class Set(Comparable):
    """Subsets of n elements; those of exactly k are terminal, there is no stop (2302.01687).

    Action i adds element i, backward action i removes it. The observation is the membership
    vector `[num_elements]`. The reward is defined on smaller sets too: there it is the partial
    reward. See `additive_set` and `published_set` for ready ones.

    Args:
        num_elements: n.
        set_size: k, between 1 and n.
        reward: callable pytree `members [n] bool -> log R`, or a plain function of the same form.

    Raises:
        ValueError: if a size is out of range.
    """

    num_elements: int = static()
    set_size: int = static()
    reward: Callable[[Array], Array]

    def __post_init__(self) -> None:
        settle(self, num_elements=None, set_size=None)
        if not 1 <= self.set_size <= self.num_elements:
            raise ArgumentError(
                "set_size",
                f"must be between 1 and num_elements = {self.num_elements}, got {self.set_size}",
            )
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_actions(self) -> int:
        return self.num_elements

    @property
    def num_backward_actions(self) -> int:
        return self.num_elements

    @property
    def max_steps(self) -> int:
        return self.set_size

    def initial_state(self) -> SetState:
        return SetState(jnp.zeros(self.num_elements, bool))

    def step(self, state: SetState, action: Array) -> SetState:
        added = self._element(action) & ~self.is_terminal(state)
        return SetState(state.members | added)

    def backward_step(self, state: SetState, backward_action: Array) -> SetState:
        return SetState(state.members & ~self._element(backward_action))

    def forward_mask(self, state: SetState) -> Array:
        return ~state.members & ~self.is_terminal(state)

    def backward_mask(self, state: SetState) -> Array:
        return state.members

    def backward_action(self, state: SetState, action: Array) -> Array:
        return action

    def forward_action(self, state: SetState, backward_action: Array) -> Array:
        return backward_action

    def is_terminal(self, state: SetState) -> Array:
        return state.members.sum(dtype=jnp.int32) >= self.set_size

    def observe(self, state: SetState) -> Array:
        return state.members.astype(jnp.result_type(float))

    def log_reward(self, state: SetState) -> Array:
        return self.reward(state.members)

    def log_partial_reward(self, state: SetState) -> Array:
        return self.reward(state.members)

    def parts(self, state: SetState) -> Array:
        return state.members

    def target(self) -> Target | None:
        """log Z and the marginals, exact at any size where the energies add up."""
        if not isinstance(self.reward, SetEnergy):
            return None
        truth = set_truth(np.asarray(self.reward.energies), self.set_size)
        return Target(truth.log_z, truth.marginals)

    def render_target(self) -> tuple[Panel, ...] | None:
        known = self.target()
        return None if known is None or known.parts is None else self._panels(known.parts)

    def render(self, states: SetState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The probability of each element."""
        return self._panels(np.asarray(weights) @ np.asarray(states.members, float))

    def _panels(self, marginals: np.ndarray) -> tuple[Panel, ...]:
        return (Panel(marginals, "element", "probability of being in the set"),)

    @property
    def num_states(self) -> int:
        return sum(comb(self.num_elements, size) for size in range(self.set_size + 1))

    def state_index(self, state: SetState) -> Array:
        check_indexable(self)
        # Elements p_1 < ... < p_j have rank sum_r C(p_r, r) among the sets of their size.
        choose, offsets = map(jnp.asarray, _binomials(self.num_elements, self.set_size))
        order = jnp.cumsum(state.members.astype(jnp.int32), dtype=jnp.int32)
        ranks = choose[jnp.arange(self.num_elements), order]
        return offsets[order[-1]] + jnp.where(state.members, ranks, 0).sum(dtype=jnp.int32)

    def state_at(self, index: Array) -> SetState:
        check_indexable(self)
        choose, offsets = map(jnp.asarray, _binomials(self.num_elements, self.set_size))
        size = (index >= offsets).sum(dtype=jnp.int32) - 1

        def take(carry: tuple[Array, Array], row: Array) -> tuple[tuple[Array, Array], Array]:
            rank, left = carry
            taken = (left > 0) & (row[left] <= rank)
            left_after = left - taken.astype(jnp.int32)
            return (rank - jnp.where(taken, row[left], 0), left_after), taken

        _, members = lax.scan(take, (index - offsets[size], size), choose, reverse=True)
        return SetState(members)

    def _element(self, action: Array) -> Array:
        return jnp.arange(self.num_elements, dtype=jnp.int32) == action


def additive_set(energies: np.ndarray, set_size: int) -> Set:
    """Sets of `set_size` of the elements, R(x) = prod exp(-e_i); exact answers: `set_truth`.

    Args:
        energies: `[n]` nats.
        set_size: k.

    Raises:
        ValueError: if `energies` is not a vector of at least `set_size` finite numbers.
    """
    energies = check_energies(energies, set_size)
    reward = SetEnergy(jnp.asarray(energies, jnp.result_type(float)))
    return Set(energies.size, set_size, reward)


def published_set(variant: str = "small") -> Set:
    """As published: "small" (20 of 30), "medium" (60 of 80) or "large" (80 of 100)."""
    return additive_set(*published_energies(variant))


@lru_cache(maxsize=16)
def _binomials(num_elements: int, set_size: int) -> tuple[np.ndarray, np.ndarray]:
    """C(p, r) `[n, k + 1]`, and `[k + 1]` the number of sets smaller than each size; int32."""
    sizes = range(set_size + 1)
    choose = np.array([[comb(p, r) for r in sizes] for p in range(num_elements)], np.int32)
    counts = [comb(num_elements, size) for size in sizes]
    return choose, np.cumsum([0, *counts[:-1]]).astype(np.int32)


@dataclass(frozen=True)
class _Size:
    """What makes a set; the fields of its condition come after these."""

    variant: Literal["small", "medium", "large"] = "small"
    """20 of 30, 60 of 80 or 80 of 100 elements"""


@registry.environment(
    "set",
    summary="choose 20 of 30 (small), 60 of 80 or 80 of 100 elements, R a product; log Z is known",
    defaults={"steps": 3_000, "mlp": {"activation": "leaky_relu"}},
)
@dataclass(frozen=True)
class SetConfig(Condition, _Size):
    """Sets of k out of n elements, with the published energies."""

    def make(self) -> Set | Conditional:
        env = published_set(self.variant)
        assert isinstance(env.reward, SetEnergy)
        # The second objective values the elements in the opposite order.
        return self.impose(env, SetEnergy(env.reward.energies[::-1]))
