"""Backward policies: learned, uniform, or maximum-entropy. Interchangeable in a `GFlowNet`."""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from gfnjax.envs.base import Enumerable, Environment, State
from gfnjax.types import Array, PolicyOutput


class BackwardPolicy(Protocol):
    """A callable pytree: backward logits of one state, before masking."""

    def __call__(self, env: Environment, state: State, output: PolicyOutput) -> Array: ...


@struct.dataclass
class LearnedBackward:
    """P_B from the network's own head, trained with P_F."""

    def __call__(self, env: Environment, state: State, output: PolicyOutput) -> Array:
        return output.backward_logits


@struct.dataclass
class UniformBackward:
    """P_B uniform over the valid backward actions."""

    def __call__(self, env: Environment, state: State, output: PolicyOutput) -> Array:
        return jnp.zeros_like(output.backward_logits)


@struct.dataclass
class MaximumEntropyBackward:
    """P_B(s | s') = n(s) / n(s'), with n(s) the number of paths from s_0 to s.

    All trajectories to the same object are then equally likely (Mohammadpour et al., 2312.14331).

    Attributes:
        log_path_counts: `[num_states]`, from `gfnjax.metrics.exact.log_path_counts`.
    """

    log_path_counts: Array

    def __call__(self, env: Enumerable, state: State, output: PolicyOutput) -> Array:
        def log_count(backward_action: Array) -> Array:
            return self.log_path_counts[env.state_index(env.backward_step(state, backward_action))]

        return jax.vmap(log_count)(jnp.arange(env.num_backward_actions, dtype=jnp.int32))
