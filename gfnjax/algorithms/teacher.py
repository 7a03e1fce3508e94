"""An off-policy teacher: a second GFlowNet that looks for what the first one gets wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gfnjax import spread
from gfnjax.envs.base import Conditioned, Environment, require_acyclic
from gfnjax.errors import ArgumentError, Use
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters, as_pytree, check
from gfnjax.identity import Comparable
from gfnjax.learning import diagnosis, scores, starting
from gfnjax.numbers import NON_NEGATIVE, check_number
from gfnjax.objectives.base import name_of, resolve_log_z
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import Policy, check_made_for
from gfnjax.pytree import pytree, static
from gfnjax.samplers.base import Batch, OnPolicy
from gfnjax.shapes import check_alike
from gfnjax.state import Params, StepInfo, TrainState, step_keys
from gfnjax.types import Array, Number, Scores, Trajectory

# What there is to be done about an objective that no teacher suits.
NONE = Use("no Teacher", without=("Teacher.share",))


def teacher_log_reward(
    excess: Array, log_reward: Array, undersampled: Number = 19.0, mixing: Number = 0.0
) -> Array:
    """log(1.001 + r^2 (1 + 19 [r > 0])) + mixing log R, elementwise, nats (Kim et al., 2410.01432).

    r = log R(x) + log P_B(tau | x) - log Z - log P_F(tau), *minus* the residual of trajectory
    balance: positive where the student under-samples, which is worth more to the teacher.

    Args:
        excess: r.
        log_reward: log R(x).
        undersampled: the 19.
        mixing: how much the teacher cares for the reward itself.

    Raises:
        ValueError: if `excess` and `log_reward` differ in shape.
    """
    check_alike(excess=excess, log_reward=log_reward)
    emphasis = jnp.where(excess > 0, 1.0 + undersampled, 1.0)
    return jnp.log1p(1e-3 + excess**2 * emphasis) + mixing * log_reward


class TaughtState(NamedTuple):
    """A run at one step: the state of the student, and that of the teacher."""

    gfn: TrainState
    teacher: TrainState

    @property
    def step(self) -> Array:
        """Steps taken."""
        return self.gfn.step

    @property
    def params(self) -> Params:
        """Of the student, which is what has been trained."""
        return self.gfn.params


@pytree
class Teacher(Comparable):
    """A GFlowNet whose batches come in part from a teacher; `init` and `step` are pure.

    The teacher is a GFlowNet over the same environment, with a uniform P_B, trained by trajectory
    balance on all trajectories of the batch, with `teacher_log_reward` for reward: it learns to
    go where the student's residual is large, above all to objects that the student misses. It
    learns from a batch before the student does.

        taught = Teacher(student, mlp_policy(env))
        state, history = gfnjax.train(taught, key, 1_000)
        student.sample(state.params, key, 16)

    Attributes:
        student: what is trained, with `sampler=OnPolicy()`.
        policy: the teacher's network, `mlp_policy(env)` for instance.
        share: of the batch that the teacher samples, in (0, 1).
        hyperparameters: the teacher's learning rates and exploration.
        undersampled: weight of under-sampled objects, `teacher_log_reward`: a number or array.
        mixing: share of log R in the teacher's log reward, alike.
        optimizer: the teacher's, a function of the learning rate.

    Raises:
        TypeError, ValueError: for another kind of policy, numbers out of range, or a student that
            cannot be taught.
    """

    student: GFlowNet
    policy: Policy
    share: float = static(default=0.5)
    hyperparameters: Hyperparameters = Hyperparameters()
    undersampled: Any = 19.0
    mixing: Any = 0.0
    optimizer: Callable[[Any], optax.GradientTransformation] = static(default=optax.adam)

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise ArgumentError(
                "policy",
                "must be a gfnjax.Policy, such as mlp_policy(env), "
                f"got {type(self.policy).__name__}",
            )
        if not isinstance(self.student, GFlowNet):
            raise ArgumentError("student", f"must be a GFlowNet, got {type(self.student).__name__}")
        if not 0 < self.share < 1:
            raise ArgumentError("share", f"must be in (0, 1), got {self.share}")
        for name in ("undersampled", "mixing"):
            check_number(name, getattr(self, name), *NON_NEGATIVE)
        object.__setattr__(self, "hyperparameters", as_pytree(self.hyperparameters))
        check(self.hyperparameters)
        check_made_for(self.policy.made_for, self.student.env, subject="the teacher's policy")
        require_acyclic(self.student.env, "a Teacher", "student.env")
        self._check_student()

    def _check_student(self) -> None:
        student, name = self.student, name_of(self.student.objective)
        if student.sampler != OnPolicy():
            raise ArgumentError(
                "student.sampler",
                "must be OnPolicy(): a teacher samples the rest of the batch, "
                f"got {student.sampler!r}",
            )
        if student.objective.on_policy:
            raise ArgumentError(
                "student.objective", "learns from the policy's own trajectories", NONE, name
            )
        if student.objective.needs & {"log_prior", "log_inflow", "log_policy"}:
            raise ArgumentError(
                "student.objective",
                "does not vanish with the residual of trajectory balance, which a teacher goes by",
                NONE,
                name,
            )
        if not 0 < self.num_taught < student.batch_size:
            raise ArgumentError(
                "share",
                f"must leave trajectories to both: {self.share} of a batch of "
                f"{student.batch_size} is {self.num_taught}",
            )

    @property
    def env(self) -> Environment:
        """The student's environment."""
        return self.student.env

    @property
    def num_taught(self) -> int:
        """Trajectories of a batch that the teacher samples."""
        return round(self.share * self.student.batch_size)

    @property
    def teacher(self) -> GFlowNet:
        """The teacher, to sample from and to evaluate with the state it has."""
        student = self.student
        conditioned = isinstance(student.env, Conditioned)
        return GFlowNet(
            env=student.env,
            policy=self.policy,
            objective=TrajectoryBalance("flow" if conditioned else "learned"),
            backward=UniformBackward(),
            hyperparameters=self.hyperparameters,
            optimizer=self.optimizer,
            log_z_init=0.0,  # `init` knows better: the reward is another
            batch_size=student.batch_size,
            chunk_size=student.chunk_size,
        )

    def init(self, key: Array) -> TaughtState:
        """Both at step 0. `key` is a typed PRNG key."""
        student_key, teacher_key, start_key = jax.random.split(key, 3)
        state = TaughtState(self.student.init(student_key), self.teacher.init(teacher_key))
        if self.student.log_z_init != "batch":
            return state
        model, params = self.teacher.model, state.teacher.params
        num_samples = starting.sample_size(self.student.batch_size)
        trajectories = model.sample(params, start_key, num_samples)
        lesson = self._lesson(state, trajectories)
        start = starting.estimate(model, self.teacher.objective, params, lesson)
        params = params._replace(log_z=start, log_flow_start=jnp.copy(start))
        return state._replace(teacher=state.teacher._replace(params=params))

    def step(self, state: TaughtState) -> tuple[TaughtState, StepInfo]:
        """The teacher learns from a batch of both, then the student."""
        batch = self.draw(state)
        lesson = self._lesson(state, batch.trajectories)
        teacher, _ = self.teacher.learn(state.teacher, Batch(lesson))
        gfn, info = self.student.learn(state.gfn, batch)
        return TaughtState(gfn, teacher), info

    def draw(self, state: TaughtState) -> Batch:
        """Trajectories of the student, then of the teacher `[B, ...]`."""
        student_key, teacher_key = jax.random.split(step_keys(state.gfn.key, state.step).draw)
        batch_size = self.student.batch_size
        subject = f"{{share}} = {self.share} of a batch of {batch_size}"
        spread.part_of("share", self.num_taught, subject)
        num_own = batch_size - self.num_taught
        env = self.student.at(state.gfn).env
        own = _explore(self.student, state.gfn, env, student_key, num_own)
        taught = _explore(self.teacher, state.teacher, env, teacher_key, self.num_taught)
        return Batch(jax.tree.map(lambda x, y: jnp.concatenate([x, y]), own, taught))

    def log_reward(self, params: Params, trajectories: Trajectory) -> Array:
        """`[B]` the teacher's log reward of trajectories, from the student's residuals."""
        return self._log_reward(self.student, params, trajectories)

    def _log_reward(self, student: GFlowNet, params: Params, trajectories: Trajectory) -> Array:
        model, objective = student.model, student.objective
        size = model.chunk_size_for(trajectories)
        seen = scores.adapted(model, objective, params, params.policy, trajectories, size)
        # The student's own log Z; an estimate from pairs is too noisy, the batch's will do.
        log_z = "batch" if objective.log_z == "pair" else objective.log_z
        seen = resolve_log_z(log_z, seen, objective.log_z_power)
        log_ratio = seen.log_pb.sum(axis=1) - seen.log_pf.sum(axis=1)
        excess = seen.log_reward - seen.log_z + log_ratio
        return teacher_log_reward(excess, seen.log_reward, self.undersampled, self.mixing)

    def trained(self, state: TaughtState) -> tuple[GFlowNet, TrainState]:
        """The student and its state."""
        return self.student, state.gfn

    def diagnose(self, state: TaughtState) -> str | None:
        """What is not finite in the student's batch, in words; None if all is."""
        return diagnosis.diagnose(self, state)

    def seen(self, state: TaughtState) -> Scores:
        """What the student says of the batch that `step` learns from, before it does."""
        trajectories = self.draw(state).trajectories
        student = self.student.at(state.gfn)
        return student.score(state.params, trajectories, target=state.gfn.target)

    def _lesson(self, state: TaughtState, trajectories: Trajectory) -> Trajectory:
        log_reward = self._log_reward(self.student.at(state.gfn), state.params, trajectories)
        return trajectories._replace(log_reward=log_reward)


def _explore(
    gfn: GFlowNet, state: TrainState, env: Environment, key: Array, num_samples: int
) -> Trajectory:
    behaviour = gfn.behaviour(gfn.values(state.hyperparameters, state.step))
    behaviour = behaviour._replace(needs=None)  # what one knows of the other's is nothing
    return replace(gfn.model, env=env).explore(state.params, key, num_samples, behaviour)[0]
