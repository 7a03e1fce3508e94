"""The contract every environment fulfils: a pointed graph as pure functions of one state."""

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, _ProtocolMeta, runtime_checkable

import jax
import jax.numpy as jnp

from gfnjax.actions import backward_actions_of
from gfnjax.errors import ArgumentError
from gfnjax.types import Array, PyTree, Trajectory

State = Any

# Indices of states are int32, with or without double precision.
MAX_INDEXED_STATES = 2**31 - 1


# A private name, that type checkers know, of `type(Protocol)`.
class _Ability(_ProtocolMeta):
    """Of `Environment` and the protocols that add an ability to it.

    Who has an ability is told by what it adds, of which there may be little: environments whose
    actions are not numbered have no number of them.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is Environment or not getattr(cls, "_is_protocol", False):
            return super().__instancecheck__(instance)
        if not all(hasattr(instance, name) for name in _added(cls)):
            return False
        return cls is not Enumerable or not _too_many(instance.num_states)


@lru_cache
def _added(ability: type) -> tuple[str, ...]:
    """Names that a protocol and those it builds on add to `Environment`."""
    own = [base for base in ability.__mro__ if base not in Environment.__mro__]
    return tuple(name for base in own for name in vars(base) if not name.startswith("_"))


class Environment(Protocol, metaclass=_Ability):
    """Rules of a game that builds objects step by step. A frozen pytree; batching is `vmap`.

    Sizes are static fields, reward parameters are leaves. States are pytrees of arrays (few of
    them, a NamedTuple by habit). All methods take and return a single, unbatched state and must
    be traceable by JAX. `gfnjax.testing.check_environment` checks an implementation.

    Attributes:
        num_actions: forward actions, "stop" included where the environment has one. One whose
            actions are not numbered has `actions` instead (`gfnjax.actions.Actions`).
        num_backward_actions: backward actions, or `backward_actions` alike.
        max_steps: transitions in the longest trajectory; where there are cycles, those after which
            a rollout is cut.

    A class whose states may come again in one trajectory has an attribute `acyclic = False`.
    """

    @property
    def num_actions(self) -> int: ...
    @property
    def num_backward_actions(self) -> int: ...
    @property
    def max_steps(self) -> int: ...

    def initial_state(self) -> State:
        """The source s_0."""
        ...

    def step(self, state: State, action: Array) -> State:
        """The child reached by a valid `action`; the state itself where it is terminal."""
        ...

    def backward_step(self, state: State, backward_action: Array) -> State:
        """The parent reached by a valid `backward_action`; the state itself at s_0."""
        ...

    def forward_mask(self, state: State) -> Array:
        """`[num_actions]` True where allowed; all False on terminal states."""
        ...

    def backward_mask(self, state: State) -> Array:
        """`[num_backward_actions]` True where allowed; all False at s_0."""
        ...

    def backward_action(self, state: State, action: Array) -> Array:
        """The backward action that undoes `action` taken in `state`."""
        ...

    def forward_action(self, state: State, backward_action: Array) -> Array:
        """The action that redoes what `backward_action` undoes in `state`."""
        ...

    def is_terminal(self, state: State) -> Array:
        """`[]` bool."""
        ...

    def observe(self, state: State) -> PyTree:
        """What a network sees of the state."""
        ...

    def log_reward(self, state: State) -> Array:
        """log R in nats of a terminal state; finite, if meaningless, on other states."""
        ...


def is_acyclic(env: Any) -> bool:
    """Whether no state comes twice in a trajectory: unless the environment says otherwise."""
    return bool(getattr(env, "acyclic", True))


def require_acyclic(env: Any, what: str, argument: str = "env", remedy: str = "") -> None:
    """Raise an `ArgumentError` where `env` has cycles, which `what` cannot do with."""
    if not is_acyclic(env):
        problem = f"needs an environment without cycles, {type(env).__name__} has some"
        raise ArgumentError(argument, problem, remedy, what)


def source_state(env: Environment) -> State:
    """s_0 as arrays: an environment may say it with Python or NumPy scalars."""
    return jax.tree.map(jnp.asarray, env.initial_state())


def equal_lengths(env: Environment) -> bool:
    """Whether all trajectories take `max_steps`, as a class says by `equal_lengths = True`."""
    return getattr(type(env), "equal_lengths", False)


def log_reward_of(env: Environment, state: State) -> Array:
    """`[]` nats, what a state is sampled in proportion to: log R, a float whatever it counts in.

    Of a `Symmetric` environment log R less the logarithm of how many states share it.

    Raises:
        TypeError: if `log_reward` does not return one real number.
    """
    return _shared(env, state, object_reward_of(env, state))


def object_reward_of(env: Environment, state: State) -> Array:
    """`[]` log R in nats of the object that a state stands for. Raises as `log_reward_of`."""
    return _one_float("log_reward", env.log_reward(state))


def log_partial_reward_of(env: "PartialReward", state: State) -> Array:
    """`[]` log partial reward in nats, as in `log_reward_of`."""
    return _shared(env, state, object_partial_reward_of(env, state))


def object_partial_reward_of(env: "PartialReward", state: State) -> Array:
    """`[]` log partial reward in nats, as in `object_reward_of`."""
    return _one_float("log_partial_reward", env.log_partial_reward(state))


def _shared(env: Environment, state: State, value: Array) -> Array:
    if not isinstance(env, Symmetric):
        return value
    return value - _one_float("log_multiplicity", env.log_multiplicity(state))


def _one_float(name: str, value: Any) -> Array:
    shape, dtype = jnp.shape(value), jnp.result_type(value)
    if shape != () or jnp.issubdtype(dtype, jnp.complexfloating):
        raise ArgumentError(
            name, f"must return one real number for one state, got shape {shape} of {dtype}"
        )
    return jnp.asarray(value).astype(jnp.result_type(float))


@runtime_checkable
class Enumerable(Environment, Protocol):
    """An environment whose states can all be listed: exact metrics work on it.

    One with more than `MAX_INDEXED_STATES` states is none, whatever methods it has.

    Attributes:
        num_states: the number of states, terminal ones included.
    """

    @property
    def num_states(self) -> int: ...

    def state_index(self, state: State) -> Array:
        """`[]` int32 in `[0, num_states)`."""
        ...

    def state_at(self, index: Array) -> State:
        """The inverse of `state_index`."""
        ...


def _too_many(num_states: Any, limit: int = MAX_INDEXED_STATES) -> bool:
    try:
        return operator.index(num_states) > limit
    except TypeError:  # no integer: for `check_environment` to tell
        return False


def check_num_states(env: Any, purpose: str, limit: int = MAX_INDEXED_STATES) -> None:
    """Raise a `ValueError` if `env` has more than `limit` states, too many for `purpose`."""
    if _too_many(env.num_states, limit):
        count = env.num_states
        # Python does not print integers of some thousand digits.
        shown = f"{count:,}" if count < 10**15 else f"about 10^{round(math.log10(count))}"
        problem = f"has {shown} states, more than the {limit:,} that {purpose}"
        raise ArgumentError("env", problem, subject=type(env).__name__)


def check_indexable(env: Any) -> None:
    """Raise a `ValueError` if the states of `env` have no int32 indices."""
    check_num_states(
        env, "int32 indices tell apart: use a smaller environment, or metrics that take samples"
    )


@runtime_checkable
class SparselyObserved(Environment, Protocol):
    """An environment whose observation is a binary vector with few ones.

    Attributes:
        num_features: length of the observation.
    """

    @property
    def num_features(self) -> int: ...

    def active_features(self, state: State) -> Array:
        """`[k]` int32, the indices of the ones of `observe(state)`."""
        ...


@runtime_checkable
class PartialReward(Environment, Protocol):
    """An environment that values unfinished objects as well, for forward-looking objectives."""

    def log_partial_reward(self, state: State) -> Array:
        """`[]` nats, minus the energy of what is there so far; log R on terminal states."""
        ...


@runtime_checkable
class Stoppable(PartialReward, Protocol):
    """An environment with an action that stops, wherever its mask allows it.

    Its partial reward is the reward of stopping there; in a state that may not stop it is
    meaningless, and nothing should be made of it.
    """

    @property
    def stop_action(self) -> int:
        """The action that stops."""
        ...


@runtime_checkable
class PathReward(Stoppable, Protocol):
    """An environment that values all states of a path at once, as a language model does.

    Asked about one state after the other, such a reward would read the path once for each.
    """

    def log_path_rewards(self, trajectories: Trajectory) -> Array:
        """`[B, T + 1]` nats: log R of stopping in each state of trajectories `[B, ...]`.

        At the terminal state log R, like `log_reward`; arbitrary after the end. Of the
        trajectories `log_reward` is not looked at.
        """
        ...


@runtime_checkable
class Conditioned(Environment, Protocol):
    """An environment whose trajectories each start from a source of their own.

    The condition (a reward temperature, preference weights) is part of the state, is kept by
    every step, and is seen by the network and the reward; log Z is then log F(s_0).
    """

    def draw_initial_state(self, key: Array) -> State:
        """A source s_0 with a condition drawn at random."""
        ...


@runtime_checkable
class RandomSource(Environment, Protocol):
    """An environment whose first step s_0 -> s_1 is drawn from a fixed mu, which nobody learns.

    An s_0 carries the s_1 that it will enter, drawn with it, and hides it: `observe` and
    `state_index` are the same for every s_0, so that log F(s_0) = log Z is one number. Its one
    action enters s_1, and counts as log P_F = log mu(s_1); each s_1 has one backward action that
    leads to its s_0. So there are as many actions as moves, however many states may come first.
    """

    def draw_source(self, key: Array) -> State:
        """An s_0 with s_1 drawn from mu."""
        ...

    def log_source(self, state: State) -> Array:
        """`[]` nats, log mu(s_1) of the s_1 that an s_0 carries; finite on other states."""
        ...


def source_drawer(env: Environment) -> Callable[[Array], State] | None:
    """What draws the s_0 of a trajectory from a key; None where all have the same."""
    if isinstance(env, RandomSource):
        return env.draw_source
    return env.draw_initial_state if isinstance(env, Conditioned) else None


def at_source(env: Environment, state: State) -> Array:
    """`[]` bool, whether a state is an s_0: whether it has no parents."""
    return ~backward_actions_of(env).possible(env.backward_mask(state))


@runtime_checkable
class Canonical(Environment, Protocol):
    """An environment in which one object may have several states: isomorphic graphs, say.

    De-duplication, modes and `check_environment` take states for equal if their canonical ones
    are. Everywhere else, and in environments without, equality is that of all arrays.
    """

    def canonical(self, state: State) -> State:
        """The one among all states of the same object that stands for it."""
        ...


def canonical_of(env: Environment, state: State) -> State:
    """What stands for the object that a state is one of: `env.canonical(state)`, or itself."""
    return env.canonical(state) if isinstance(env, Canonical) else state


@runtime_checkable
class Symmetric(Environment, Protocol):
    """An environment in which one object has several states, and all of them are reached.

    Samplers tell states apart; they are trained on R / N, so that objects come out in proportion
    to R. `log_reward` stays the reward of the object, to be tempered and combined.
    """

    def log_multiplicity(self, state: State) -> Array:
        """`[]` nats, log N: how many states are the same object, this one included."""
        ...


@runtime_checkable
class Composite(Environment, Protocol):
    """An environment whose objects consist of parts: elements of a set, edges of a graph."""

    def parts(self, state: State) -> Array:
        """`[...]` bool, which parts a terminal state has."""
        ...


@runtime_checkable
class Euclidean(Environment, Protocol):
    """An environment whose objects are points of R^d, all of them, with a differentiable reward."""

    def point(self, state: State) -> Array:
        """`[d]` where a state is."""
        ...

    def at_point(self, x: Array) -> State:
        """The terminal state at `x` `[d]`."""
        ...


@runtime_checkable
class HasModes(Protocol):
    """An environment that knows where the modes of its reward are."""

    def modes_near(self, state: State) -> Array:
        """`[num_modes]` bool, which modes a terminal state is near; `[0]` where none are known."""
        ...


@runtime_checkable
class Measurable(Protocol):
    """An environment that judges a sample of its objects by more than their rewards."""

    def measure(self, states: State) -> dict[str, Array]:
        """Scalars by name, from terminal states `[n, ...]`."""
        ...
