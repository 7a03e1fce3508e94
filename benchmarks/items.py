"""An environment with any number of actions and short trajectories."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct


class ItemsState(NamedTuple):
    """`chosen` `[num_items]` bool; `stopped` `[]` bool."""

    chosen: jax.Array
    stopped: jax.Array


@struct.dataclass
class Items:
    """Up to `most` of `num_items` things, then stop: about as many actions as molecules have."""

    num_items: int = struct.field(pytree_node=False, default=3150)
    most: int = struct.field(pytree_node=False, default=9)

    @property
    def num_actions(self) -> int:
        return self.num_items + 1

    @property
    def num_backward_actions(self) -> int:
        return self.num_items + 1

    @property
    def max_steps(self) -> int:
        return self.most + 1

    def initial_state(self) -> ItemsState:
        return ItemsState(jnp.zeros(self.num_items, bool), jnp.zeros((), bool))

    def step(self, state: ItemsState, action: jax.Array) -> ItemsState:
        chosen = state.chosen.at[action].set(True, mode="drop")
        return ItemsState(
            jnp.where(state.stopped, state.chosen, chosen),
            state.stopped | (action == self.num_items),
        )

    def backward_step(self, state: ItemsState, backward_action: jax.Array) -> ItemsState:
        chosen = state.chosen.at[backward_action].set(False, mode="drop")
        return ItemsState(jnp.where(state.stopped, state.chosen, chosen), jnp.zeros((), bool))

    def forward_mask(self, state: ItemsState) -> jax.Array:
        free = ~state.chosen & (state.chosen.sum() < self.most)
        return jnp.append(free, True) & ~state.stopped

    def backward_mask(self, state: ItemsState) -> jax.Array:
        return jnp.append(state.chosen & ~state.stopped, state.stopped)

    def backward_action(self, state: ItemsState, action: jax.Array) -> jax.Array:
        return action

    def forward_action(self, state: ItemsState, backward_action: jax.Array) -> jax.Array:
        return backward_action

    def is_terminal(self, state: ItemsState) -> jax.Array:
        return state.stopped

    def observe(self, state: ItemsState) -> jax.Array:
        return state.chosen.astype(jnp.float32)

    def log_reward(self, state: ItemsState) -> jax.Array:
        return state.chosen[::2].sum().astype(jnp.float32)
