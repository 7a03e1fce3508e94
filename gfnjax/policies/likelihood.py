"""Backward policies that make the trajectories seen so far likely."""

import jax

from gfnjax import scoring, spread
from gfnjax.envs.base import Environment
from gfnjax.errors import ArgumentError
from gfnjax.policies.backward import LearnedBackward, TrainedBackward
from gfnjax.policies.base import Policy
from gfnjax.pytree import pytree, static
from gfnjax.replay import Buffer, Fifo
from gfnjax.types import Array, PyTree, Trajectory


@pytree
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


@pytree
class PessimisticBackward(TrainedBackward):
    """The loss of `LikelihoodBackward` on trajectories drawn from the last `capacity` ones.

    Backward flow goes to trajectories that have been observed, and little of the reward to those
    that have not (Jang et al., PBP-GFN, 2405.16012). The memory is this policy's own: what the
    objective learns from stays the sampler's choice.

    Attributes:
        capacity: trajectories remembered; the oldest ones go first. Several devices that have
            parts of a batch share it among them.

    Raises:
        ValueError: if `capacity` is not positive.
    """

    capacity: int = static(default=1000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.capacity < 1:
            raise ArgumentError("capacity", f"must be at least 1, got {self.capacity}")

    def loss(
        self, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
    ) -> Array:
        return negative_log_likelihood(self.policy, params, env, trajectories, chunk_size)

    def start(self, example: Trajectory) -> Buffer:
        kept = example._replace(cut=None, log_path_reward=None)
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), kept)
        return self._replay.init(one)

    def observe(self, memory: Buffer, trajectories: Trajectory) -> Buffer:
        # Of a batch larger than the memory the last ones stay.
        kept = trajectories._replace(cut=None, log_path_reward=None)
        newest = jax.tree.map(lambda x: x[-self._replay.capacity :], kept)
        return self._replay.add(memory, newest, newest.log_reward)

    def recall(self, memory: Buffer, trajectories: Trajectory, key: Array) -> Trajectory:
        return self._replay.sample(memory, key, trajectories.length.size).items

    @property
    def _replay(self) -> Fifo:
        return Fifo(self.capacity).part(spread.num_parts())


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
