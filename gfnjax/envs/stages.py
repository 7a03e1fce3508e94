"""What environments have in common in which an object is entered, moved about, and left as it is.

There are M moves; action M stops, action M + 1 enters from s_0. Backward action M resumes, M + 1
goes to s_0. The states are s_0, the objects on the way, and the same objects stopped.
"""

from typing import Any

import jax.numpy as jnp

from gfnjax.types import Array

SOURCE, INSIDE, STOPPED = 0, 1, 2


class Stages:
    """Stages of a state, `state.stage` `[]` int32, for environments with `num_moves`."""

    @property
    def num_moves(self) -> int:
        """M."""
        raise NotImplementedError

    @property
    def num_actions(self) -> int:
        return self.num_moves + 2

    @property
    def num_backward_actions(self) -> int:
        return self.num_moves + 2

    @property
    def stop_action(self) -> int:
        return self.num_moves

    @property
    def source_action(self) -> int:
        """The action that enters from s_0, and the backward action that leads there."""
        return self.num_moves + 1

    def backward_action(self, state: Any, action: Array) -> Array:
        return action

    def forward_action(self, state: Any, backward_action: Array) -> Array:
        return backward_action

    def is_terminal(self, state: Any) -> Array:
        return state.stage == STOPPED

    def stage_of(self, stage: int) -> Array:
        """`[]` int32."""
        return jnp.asarray(stage, jnp.int32)

    def stage_after(self, state: Any, action: Array) -> Array:
        """`[]` int32 the stage of the child."""
        enters = (state.stage == SOURCE) & (action == self.source_action)
        stops = (state.stage == INSIDE) & (action == self.stop_action)
        return state.stage + (enters | stops).astype(jnp.int32)

    def stage_before(self, state: Any, backward_action: Array) -> Array:
        """`[]` int32 the stage of the parent."""
        resumes = (state.stage == STOPPED) & (backward_action == self.stop_action)
        leaves = (state.stage == INSIDE) & (backward_action == self.source_action)
        return state.stage - (resumes | leaves).astype(jnp.int32)

    def forward_of(self, state: Any, moves: Array) -> Array:
        """`[num_actions]` what is allowed, given the moves `[M]` that an object allows."""
        inside = state.stage == INSIDE
        return jnp.append(moves & inside, jnp.stack([inside, state.stage == SOURCE]))

    def backward_of(self, state: Any, moves: Array, first: Array) -> Array:
        """`[num_backward_actions]` alike; `first` `[]`, whether the object may come first."""
        inside = state.stage == INSIDE
        return jnp.append(moves & inside, jnp.stack([state.stage == STOPPED, inside & first]))

    def index_of(self, state: Any, number: Array, count: int) -> Array:
        """`[]` int32, given the number of the object: objects, stopped ones, and s_0."""
        stopped = jnp.where(state.stage == STOPPED, number + count, number)
        return jnp.where(state.stage == SOURCE, 2 * count, stopped)

    def place_of(self, index: Array, count: int) -> tuple[Array, Array]:
        """Number of the object, 0 of s_0, and stage: the inverse of `index_of`."""
        stage = jnp.where(index == 2 * count, SOURCE, jnp.where(index < count, INSIDE, STOPPED))
        number = jnp.where(index == 2 * count, 0, index % count)
        return number.astype(jnp.int32), stage.astype(jnp.int32)
