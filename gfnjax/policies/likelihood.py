"""Backward policies that make the trajectories seen so far likely."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from gfnjax import scoring
from gfnjax.envs.base import Environment
from gfnjax.policies.backward import LearnedBackward, TrainedBackward
from gfnjax.policies.base import Policy
from gfnjax.types import Array, PyTree, Trajectory


@struct.dataclass
class LikelihoodBackward(TrainedBackward):
    """Trajectory likelihood maximisation: minimise the mean of -sum_t log P_B(s_t | s_{t+1}).

    On trajectories of P_F the minimum is their distribution given the object they end in,
    P_B(tau | x) = P_F(tau) / sum of P_F over the trajectories to x: the backward policy for which
    P_F is easiest to correct (Gritsaev et al., TLM, 2410.15474). The trajectories are those of
    the step's batch, so exploration and replay count as well. P_B must not move too fast for
    P_F to follow: let `backward_learning_rate` fall or set a `target_rate`, 0.05 for instance.
    """

    def loss(
        self, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
    ) -> Array:
        return negative_log_likelihood(self.policy, params, env, trajectories, chunk_size)


class Seen(NamedTuple):
    """A ring of the last trajectories.

    Attributes:
        trajectories: `[capacity, ...]`, zero where there is none yet.
        size: `[]` int32, how many there are.
        next: `[]` int32, the slot that is written next.
    """

    trajectories: Trajectory
    size: Array
    next: Array


@struct.dataclass
class PessimisticBackward(TrainedBackward):
    """The loss of `LikelihoodBackward` on trajectories drawn from the last `capacity` ones.

    Backward flow goes to trajectories that have been observed, and little of the reward to those
    that have not (Jang et al., PBP-GFN, 2405.16012). The memory is this policy's own: what the
    objective learns from stays the sampler's choice.

    Attributes:
        capacity: trajectories remembered; the oldest ones go first.

    Raises:
        ValueError: if `capacity` is not positive.
    """

    capacity: int = struct.field(pytree_node=False, default=1000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {self.capacity}")

    def loss(
        self, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
    ) -> Array:
        return negative_log_likelihood(self.policy, params, env, trajectories, chunk_size)

    def start(self, example: Trajectory) -> Seen:
        empty = jax.tree.map(lambda x: jnp.zeros((self.capacity, *x.shape[1:]), x.dtype), example)
        return Seen(empty, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def observe(self, memory: Seen, trajectories: Trajectory) -> Seen:
        count = trajectories.length.size
        # Of a batch larger than the memory the last ones stay.
        newest = jnp.arange(max(count - self.capacity, 0), count, dtype=jnp.int32)
        slots = (memory.next + newest) % self.capacity
        stored = jax.tree.map(
            lambda old, new: old.at[slots].set(new[newest]), memory.trajectories, trajectories
        )
        size = jnp.minimum(memory.size + count, self.capacity)
        return Seen(stored, size, (memory.next + count) % self.capacity)

    def recall(self, memory: Seen, trajectories: Trajectory, key: Array) -> Trajectory:
        drawn = jax.random.randint(key, trajectories.length.shape, 0, memory.size)
        return jax.tree.map(lambda x: x[drawn], memory.trajectories)


def negative_log_likelihood(
    policy: Policy, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
) -> Array:
    """`[]` the mean over trajectories `[B, ...]` of -sum_t log P_B(s_t | s_{t+1}), nats.

    Args:
        policy: the network whose backward logits are P_B.
        params: of the network.
        env: the environment.
        trajectories: complete or not.
        chunk_size: live states evaluated at a time.
    """
    model = env, policy, LearnedBackward(), params
    scores = scoring.score(*model, trajectories, chunk_size=chunk_size)
    return -scores.log_pb.sum(axis=1).mean()
