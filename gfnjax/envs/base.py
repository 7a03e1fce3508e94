"""The contract every environment fulfils: a pointed DAG as pure functions of one state."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from gfnjax.types import Array, PyTree

State = Any


class Environment(Protocol):
    """Rules of a game that builds objects step by step. A frozen pytree; batching is `vmap`.

    Sizes are static fields, reward parameters are leaves. States are pytrees of arrays (few of
    them, a NamedTuple by habit). All methods take and return a single, unbatched state and must
    be traceable by JAX. `gfnjax.testing.check_environment` checks an implementation.

    Attributes:
        num_actions: forward actions, "stop" included where the environment has one.
        num_backward_actions: backward actions.
        max_steps: transitions in the longest trajectory.
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


@runtime_checkable
class Enumerable(Environment, Protocol):
    """An environment whose states can all be listed: exact metrics work on it.

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
    """An environment in which every state that is not terminal may stop.

    Its partial reward is the reward of stopping there.
    """

    @property
    def stop_action(self) -> int:
        """The action that stops."""
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


class Panel(NamedTuple):
    """One aspect of a distribution over objects, to be drawn.

    Attributes:
        values: `[n]` for bars, or `[rows, columns]` for a heat map with its origin at the bottom.
        x_label: of the last axis.
        y_label: of the rows; what bars show, "probability" if empty.
    """

    values: np.ndarray
    x_label: str
    y_label: str = ""


@runtime_checkable
class Renderable(Protocol):
    """An environment that can draw a distribution over its objects."""

    def render(self, states: State, weights: np.ndarray) -> tuple[Panel, ...]:
        """Marginals of terminal states `[n, ...]` with `weights` `[n]` that sum to 1."""
        ...
