"""Backward policies: learned, uniform, or maximum-entropy. Interchangeable in a `GFlowNet`."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from gfnjax.envs.base import Enumerable, Environment, State
from gfnjax.types import Array, PolicyOutput, PyTree, Trajectory


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


@runtime_checkable
class TrainedBackward(Protocol):
    """A backward policy with a network of its own, trained by a loss of its own.

    A frozen pytree, in a `GFlowNet` beside the fixed ones. The objective sees its log P_B without
    gradient; `GFlowNet.step` takes `num_updates` steps on `loss` before each step on the
    objective, with the run's `backward_learning_rate`.
    """

    num_updates: int

    def init(self, key: Array, env: Environment) -> PyTree:
        """Parameters of the network."""
        ...

    def bind(self, params: PyTree) -> BackwardPolicy:
        """The backward policy of these parameters."""
        ...

    def loss(
        self, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
    ) -> Array:
        """`[]` what its parameters minimise on trajectories `[B, ...]`."""
        ...
