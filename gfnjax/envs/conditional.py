"""Conditional environments: a reward temperature or preferences, drawn once a trajectory.

With c the condition, each trajectory starts from a source (s_0, c) of its own, every step keeps c,
and log R(x | c) = reward(log R_1(x) .. log R_m(x), c). Policy, flow and log Z(c) = log F(s_0, c)
then depend on c: one network samples R(. | c) / Z(c) for all of them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.actions import Actions, actions_of, backward_actions_of
from gfnjax.envs.base import (
    Canonical,
    Conditioned,
    Enumerable,
    Environment,
    Measurable,
    PartialReward,
    PathReward,
    RandomSource,
    State,
    Stoppable,
    Symmetric,
    is_acyclic,
    object_partial_reward_of,
    object_reward_of,
    source_state,
)
from gfnjax.envs.condition_distributions import Conditions, Dirichlet, LogUniform, Uniform
from gfnjax.envs.drawing import Panel, Renderable
from gfnjax.errors import ArgumentError
from gfnjax.rewards.scalarisation import Temperature, WeightedSum
from gfnjax.types import Array, PyTree, Trajectory


class ConditionalState(NamedTuple):
    """`inner`, a state of the rules; `condition` `[k]`."""

    inner: State
    condition: Array


@struct.dataclass
class Conditional:
    """Rules of an environment, with a condition in the state; build one with `conditional`.

    The observation is the inner one and the encoded condition, a pair. What else the inner
    environments can do (partial rewards, stopping, drawing) this one can, and `at` a fixed
    condition it is `Enumerable` if they are. It is not `SparselyObserved`: a condition is not
    binary.

    Attributes:
        envs: the same rules with rewards R_1 .. R_m.
        conditions: the distribution of the condition, and how a network sees it.
        reward: callable pytree `(log_rewards [m], condition [k]) -> log R`, or an `ObjectReward`.
        condition: `[k]` that of every trajectory; None draws one for each.
    """

    envs: tuple[Any, ...]
    conditions: Conditions
    reward: Callable[[Array, Array], Array]
    condition: Array | None = None

    def at(self, condition: Array | float | Sequence[float]) -> Self:
        """The environment of trajectories with this condition `[k]` only.

        Same states, actions and observations, so a policy for all conditions fits:
        `dataclasses.replace(gfn, env=gfn.env.at(2.0))` samples and evaluates at beta = 2.

        Raises:
            ValueError: if the condition has another length.
        """
        value = jnp.atleast_1d(jnp.asarray(condition, jnp.result_type(float)))
        expected = jax.eval_shape(self.conditions.centre).shape
        if value.shape != expected:
            raise ArgumentError("condition", f"must be of shape {expected}, got {value.shape}")
        return _build(self.envs, self.conditions, self.reward, value)

    @property
    def rules(self) -> Any:
        """The inner environment; all of them have the same rules."""
        return self.envs[0]

    @property
    def actions(self) -> Actions:
        return actions_of(self.rules)

    @property
    def backward_actions(self) -> Actions:
        return backward_actions_of(self.rules)

    @property
    def num_actions(self) -> int:
        return self.rules.num_actions

    @property
    def num_backward_actions(self) -> int:
        return self.rules.num_backward_actions

    @property
    def max_steps(self) -> int:
        return self.rules.max_steps

    @property
    def acyclic(self) -> bool:
        return is_acyclic(self.rules)

    def initial_state(self) -> ConditionalState:
        """The source of the fixed condition, or of a typical one."""
        return ConditionalState(source_state(self.rules), self._fixed())

    def _fixed(self) -> Array:
        return self.conditions.centre() if self.condition is None else self.condition

    def step(self, state: ConditionalState, action: Array) -> ConditionalState:
        return state._replace(inner=self.rules.step(state.inner, action))

    def backward_step(self, state: ConditionalState, backward_action: Array) -> ConditionalState:
        return state._replace(inner=self.rules.backward_step(state.inner, backward_action))

    def forward_mask(self, state: ConditionalState) -> Array:
        return self.rules.forward_mask(state.inner)

    def backward_mask(self, state: ConditionalState) -> Array:
        return self.rules.backward_mask(state.inner)

    def backward_action(self, state: ConditionalState, action: Array) -> Array:
        return self.rules.backward_action(state.inner, action)

    def forward_action(self, state: ConditionalState, backward_action: Array) -> Array:
        return self.rules.forward_action(state.inner, backward_action)

    def is_terminal(self, state: ConditionalState) -> Array:
        return self.rules.is_terminal(state.inner)

    def observe(self, state: ConditionalState) -> PyTree:
        return self.rules.observe(state.inner), self.conditions.encode(state.condition)

    def log_rewards(self, state: ConditionalState) -> Array:
        """`[m]` log R_1 .. log R_m of a terminal state, whatever the condition."""
        return jnp.stack([object_reward_of(env, state.inner) for env in self.envs])

    def log_reward(self, state: ConditionalState) -> Array:
        return self.reward(self.log_rewards(state), state.condition)


# The abilities of a conditional environment are those of its class, as everywhere, and `_kind`
# puts together the class that has the right ones.


class _Draw:
    def draw_initial_state(self: Any, key: Array) -> ConditionalState:
        return ConditionalState(source_state(self.rules), self.conditions.draw(key))


class _DrawBoth:
    """Of rules that draw their source themselves: a graph, say."""

    def draw_initial_state(self: Any, key: Array) -> ConditionalState:
        inner_key, key = jax.random.split(key)
        condition = self.conditions.draw(key) if self.condition is None else self.condition
        return ConditionalState(self.rules.draw_initial_state(inner_key), condition)


@runtime_checkable
class ObjectReward(Protocol):
    """A `reward` that looks at the object as well; there are then no partial rewards."""

    def of_object(self, log_rewards: Array, condition: Array, state: State) -> Array:
        """`[]` log R of a terminal state of the rules, under a condition `[k]`."""
        ...


class _OfObject:
    def log_reward(self: Any, state: ConditionalState) -> Array:
        return self.reward.of_object(self.log_rewards(state), state.condition, state.inner)


class _Value:
    def log_partial_reward(self: Any, state: ConditionalState) -> Array:
        values = jnp.stack([object_partial_reward_of(env, state.inner) for env in self.envs])
        return self.reward(values, state.condition)


class _Path:
    def log_path_rewards(self: Any, trajectories: Trajectory) -> Array:
        states = trajectories.states
        inner = trajectories._replace(states=states.inner)
        values = jnp.stack([env.log_path_rewards(inner) for env in self.envs], axis=-1)
        return jax.vmap(jax.vmap(self.reward))(values, states.condition)


class _Stop:
    @property
    def stop_action(self: Any) -> int:
        return self.rules.stop_action


class _Enumerate:
    @property
    def num_states(self: Any) -> int:
        return self.rules.num_states

    def state_index(self: Any, state: ConditionalState) -> Array:
        return self.rules.state_index(state.inner)

    def state_at(self: Any, index: Array) -> ConditionalState:
        return ConditionalState(self.rules.state_at(index), self.condition)


class _Canonical:
    def canonical(self: Any, state: ConditionalState) -> ConditionalState:
        return state._replace(inner=self.rules.canonical(state.inner))


class _Symmetric:
    def log_multiplicity(self: Any, state: ConditionalState) -> Array:
        return self.rules.log_multiplicity(state.inner)


class _Measure:
    def measure(self: Any, states: ConditionalState) -> dict[str, Array]:
        return self.rules.measure(states.inner)


class _Render:
    def render(self: Any, states: ConditionalState, weights: np.ndarray) -> tuple[Panel, ...]:
        return self.rules.render(states.inner, weights)


ABILITIES = (
    (PartialReward, _Value),
    (PathReward, _Path),
    (Stoppable, _Stop),
    (Canonical, _Canonical),
    (Symmetric, _Symmetric),
    (Measurable, _Measure),
    (Renderable, _Render),
    (Enumerable, _Enumerate),
)


@lru_cache(maxsize=64)
def _kind(abilities: tuple[type, ...]) -> Any:
    return struct.dataclass(type("Conditional", (*abilities, Conditional), {"__reduce__": _reduce}))


def _reduce(self: Any) -> tuple:
    """Pickled by what it is made of: its class was made at run time."""
    return _build, (self.envs, self.conditions, self.reward, self.condition)


def _build(envs: tuple[Any, ...], conditions: Any, reward: Any, condition: Any) -> Any:
    found = [own for ability, own in ABILITIES if all(isinstance(env, ability) for env in envs)]
    drawn = isinstance(envs[0], Conditioned)
    if condition is None:
        found = [own for own in found if own is not _Enumerate]
    if isinstance(reward, ObjectReward):
        found = [_OfObject, *(own for own in found if own not in (_Value, _Path))]
    if condition is None or drawn:
        found = [_DrawBoth if drawn else _Draw, *found]
    return _kind(tuple(found))(envs, conditions, reward, condition)


def conditional(
    envs: Environment | Sequence[Environment],
    conditions: Conditions,
    reward: Callable[[Array, Array], Array],
) -> Conditional:
    """An environment whose reward depends on a condition drawn once a trajectory.

    Args:
        envs: one environment, or the same rules with several rewards.
        conditions: `Uniform`, `LogUniform`, `Dirichlet`, `choice(...)` or of the same form.
        reward: callable pytree `(log_rewards [m], condition [k]) -> log R`.

    Raises:
        ValueError: without an environment, or if their rules differ.
    """
    given = tuple(envs) if isinstance(envs, Sequence) else (envs,)
    if not given:
        raise ArgumentError("envs", "must hold at least one environment, got none")
    if any(isinstance(env, RandomSource) for env in given):
        problem = "must have one s_0 each, not one that is drawn for each trajectory"
        raise ArgumentError("envs", problem)
    sizes = {(type(e), e.num_actions, e.num_backward_actions, e.max_steps) for e in given}
    if len(sizes) > 1:
        raise ArgumentError("envs", "must have the same rules and differ in their rewards only")
    if callable(reward) and jax.tree_util.all_leaves([reward]):
        reward = jax.tree_util.Partial(reward)
    return _build(given, conditions, reward, None)


def temperature_conditional(
    env: Environment, low: float, high: float, *, log_uniform: bool = True
) -> Conditional:
    """log R_beta(x) = beta log R(x), with beta or its logarithm uniform on [low, high].

    Raises:
        ValueError: unless low < high, and low > 0 for the logarithm.
    """
    conditions = LogUniform(low, high) if log_uniform else Uniform(low, high)
    return conditional(env, conditions, Temperature())


def preference_conditional(
    env: Any,
    *rewards: Any,
    concentration: float = 1.0,
    reward: Callable[[Array, Array], Array] | None = None,
) -> Conditional:
    """log R_w(x) = log sum_i w_i R_i(x) with w ~ Dirichlet(concentration) (2210.12765).

    Args:
        env: an environment with a field `reward`, such as `Hypergrid` or `Set`: the rules.
        rewards: at least two, in the form that `env` takes.
        concentration: of the preferences; 1 is uniform on the simplex.
        reward: how rewards and preferences combine: `WeightedSum()` by default,
            `WeightedProduct()`, or of the same form.

    Raises:
        TypeError: if `env` has no field `reward`.
        ValueError: for fewer than two rewards, or a concentration that is not positive.
    """
    fields = dataclasses.fields(env) if dataclasses.is_dataclass(env) else ()
    if "reward" not in {field.name for field in fields}:
        raise ArgumentError(
            "env",
            f"needs an environment with a field reward, got {type(env).__name__}; use "
            "conditional((env_1, env_2), Dirichlet(), WeightedSum())",
            subject="preference_conditional",
        )
    if len(rewards) < 2:
        raise ArgumentError(
            "rewards",
            f"needs at least 2 rewards, got {len(rewards)}",
            subject="preference_conditional",
        )
    envs = [dataclasses.replace(env, reward=each) for each in rewards]
    combine = WeightedSum() if reward is None else reward
    return conditional(envs, Dirichlet(len(rewards), concentration), combine)


ConditionName = Literal["none", "temperature", "preferences"]


@dataclasses.dataclass(frozen=True)
class Condition:
    """What an environment says of its condition on the command line."""

    condition: ConditionName = "none"
    """drawn once a trajectory: a reward temperature, or preferences between two rewards"""
    beta_low: float = 0.5
    """lowest reward temperature"""
    beta_high: float = 2.0
    """highest reward temperature"""

    def impose(self, env: Any, other_reward: Any) -> Any:
        """`env` with the condition asked for, if any; preferences are to `other_reward`."""
        if self.condition == "temperature":
            return temperature_conditional(env, self.beta_low, self.beta_high)
        if self.condition == "preferences":
            return preference_conditional(env, env.reward, other_reward)
        return env
