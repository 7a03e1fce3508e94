"""An off-policy teacher: a second GFlowNet that looks for what the first one gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from gfnjax.envs.base import Conditioned
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.learning import starting, updates, views
from gfnjax.objectives.base import name_of, resolve_log_z
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import Policy
from gfnjax.samplers.base import Batch
from gfnjax.state import Params, TrainState
from gfnjax.types import Array, Trajectory

if TYPE_CHECKING:
    from gfnjax.gflownet import GFlowNet


def teacher_log_reward(
    excess: Array, log_reward: Array, undersampled: float = 19.0, mixing: float = 0.0
) -> Array:
    """log(1.001 + r^2 (1 + 19 [r > 0])) + mixing log R, elementwise, nats (Kim et al., 2410.01432).

    r = log R(x) + log P_B(tau | x) - log Z - log P_F(tau), *minus* the residual of trajectory
    balance: positive where the student under-samples, which is worth more to the teacher.

    Args:
        excess: r.
        log_reward: log R(x).
        undersampled: the 19.
        mixing: how much the teacher cares for the reward itself.
    """
    emphasis = jnp.where(excess > 0, 1.0 + undersampled, 1.0)
    return jnp.log1p(1e-3 + excess**2 * emphasis) + mixing * log_reward


@dataclass(frozen=True)
class Teacher:
    """A fixed share of every batch comes from a teacher, the rest from the policy itself.

    The teacher is a GFlowNet over the same environment, with a uniform P_B, trained by trajectory
    balance on all trajectories of the batch, with `teacher_log_reward` for reward: it learns to
    go where the student's residual is large, above all to objects that the student misses. It
    learns while it teaches: `draw` returns the batch and the teacher updated on it. What is
    remembered between steps is the teacher's `TrainState`.

    Attributes:
        policy: the teacher's network, `mlp_policy(env)` for instance.
        share: of the batch that the teacher samples, in (0, 1).
        hyperparameters: the teacher's learning rates and exploration.
        undersampled: weight of under-sampled objects, `teacher_log_reward`.
        mixing: share of log R in the teacher's log reward.
        optimizer: the teacher's, a function of the learning rate.

    Raises:
        TypeError, ValueError: for another kind of policy, or numbers out of range.
    """

    policy: Policy
    share: float = 0.5
    hyperparameters: Hyperparameters = Hyperparameters()
    undersampled: float = 19.0
    mixing: float = 0.0
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.adam

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise TypeError(
                "policy must be a gfnjax.Policy, such as mlp_policy(env), "
                f"got {type(self.policy).__name__}"
            )
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")
        for name in ("undersampled", "mixing"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if any(isinstance(x, jax.Array) for x in self.hyperparameters):
            raise TypeError("hyperparameters of a teacher must be numbers or schedules, not arrays")

    def num_taught(self, batch_size: int) -> int:
        """Trajectories of a batch that the teacher samples."""
        return round(self.share * batch_size)

    def check(self, gfn: GFlowNet) -> None:
        if gfn.objective.on_policy:
            raise ValueError(
                f"{name_of(gfn.objective)} learns from the policy's own trajectories: no Teacher"
            )
        if gfn.objective.needs & {"log_prior", "log_inflow", "log_policy"}:
            raise ValueError(
                f"{name_of(gfn.objective)} does not vanish with the residual of trajectory "
                "balance, which a teacher goes by: no Teacher"
            )
        if not 0 < self.num_taught(gfn.batch_size) < gfn.batch_size:
            raise ValueError(
                f"share must leave trajectories to both: {self.share} of a batch of "
                f"{gfn.batch_size} is {self.num_taught(gfn.batch_size)}"
            )

    def init(self, gfn: GFlowNet, params: Params, key: Array) -> TrainState:
        init_key, start_key = jax.random.split(key)
        teacher = self.gflownet(gfn)
        state = teacher.init(init_key)
        if gfn.log_z_init != "batch":
            return state
        num_samples = max(teacher.batch_size, starting.LEAST_BATCH)
        trajectories = teacher.sample(state.params, start_key, num_samples)
        lesson = trajectories._replace(log_reward=self.log_reward(gfn, params, trajectories))
        start = starting.estimate(teacher, state.params, lesson)
        own = state.params._replace(log_z=start, log_flow_start=jnp.copy(start))
        return state._replace(params=own)

    def draw(
        self, gfn: GFlowNet, params: Params, memory: TrainState, key: Array, values: Hyperparameters
    ) -> tuple[Batch, TrainState]:
        teacher, num_taught = self.gflownet(gfn), self.num_taught(gfn.batch_size)
        keys = jax.random.split(key, 3)
        numbers = teacher.values(memory.hyperparameters, memory.step)
        own, _ = gfn.explore(params, keys[0], gfn.batch_size - num_taught, values)
        taught, _ = teacher.explore(memory.params, keys[1], num_taught, numbers)
        trajectories = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), own, taught)
        lesson = trajectories._replace(log_reward=self.log_reward(gfn, params, trajectories))
        memory, _ = updates.fit(teacher, memory, Batch(lesson), keys[2])
        return Batch(trajectories), memory._replace(step=memory.step + 1)

    def learn(self, gfn: GFlowNet, memory: TrainState, batch: Batch, errors: Array) -> TrainState:
        return memory

    def log_reward(self, gfn: GFlowNet, params: Params, trajectories: Trajectory) -> Array:
        """`[B]` the teacher's log reward of trajectories, from the student's residuals."""
        scores = views.view(
            gfn,
            params,
            params.policy,
            trajectories,
            chunk_size=gfn.chunk_size_for(trajectories),
        )
        # The student's own log Z; an estimate from pairs is too noisy, the batch's will do.
        log_z = gfn.objective.log_z
        scores = resolve_log_z("batch" if log_z == "pair" else log_z, scores)
        log_ratio = scores.log_pb.sum(axis=1) - scores.log_pf.sum(axis=1)
        excess = scores.log_reward - scores.log_z + log_ratio
        return teacher_log_reward(excess, scores.log_reward, self.undersampled, self.mixing)

    def gflownet(self, gfn: GFlowNet) -> GFlowNet:
        """The teacher of a student, to sample from and to evaluate with the state it remembers."""
        conditioned = isinstance(gfn.env, Conditioned)
        # Of the student's type: importing `GFlowNet` here would be a cycle.
        return type(gfn)(
            env=gfn.env,
            policy=self.policy,
            objective=TrajectoryBalance("flow" if conditioned else "learned"),
            backward=UniformBackward(),
            hyperparameters=self.hyperparameters,
            optimizer=self.optimizer,
            log_z_init=0.0,  # `init` knows better: the reward is another
            batch_size=gfn.batch_size,
            chunk_size=gfn.chunk_size,
        )
