"""Backward policies: learned, uniform, maximum-entropy, or with a training of their own.

All are interchangeable in a `GFlowNet`.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from gfnjax.actions import backward_actions_of
from gfnjax.envs.base import Enumerable, Environment, State, at_source, source_state
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.numbers import INSIDE_UNIT, RATE, check_number, scheduled
from gfnjax.policies.base import Policy, check_output
from gfnjax.pytree import moving_average, pytree, static, unchecked
from gfnjax.scoring import BackwardPolicy
from gfnjax.types import Array, PolicyOutput, PyTree, Trajectory


@struct.dataclass
class LearnedBackward:
    """P_B from the network's own head, trained with P_F."""

    reads_output: ClassVar[bool] = True

    def __call__(self, env: Environment, state: State, output: PolicyOutput) -> Array:
        return output.backward_logits


@struct.dataclass
class UniformBackward:
    """P_B uniform over the valid backward actions."""

    reads_output: ClassVar[bool] = False

    def __call__(self, env: Environment, state: State, output: PolicyOutput | None) -> Array:
        return backward_actions_of(env).neutral()


@pytree
class SourceBackward(Comparable):
    """P_B that goes to s_0 wherever it can, but for a probability of `away` shared by the others.

    Elsewhere uniform. Where there are cycles and one s_1 this keeps walks from passing by s_1 again
    and again: with `away` = 1e-8 it is the fixed P_B of 2502.07735.

    Attributes:
        away: in (0, 1), that of not going to s_0 where it is a parent.

    Raises:
        ValueError: for another number.
    """

    away: float = 1e-8
    reads_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("away", self.away, *INSIDE_UNIT)

    def __call__(self, env: Environment, state: State, output: PolicyOutput | None) -> Array:
        undos = jnp.arange(env.num_backward_actions, dtype=jnp.int32)
        mask = env.backward_mask(state)
        parents = jax.vmap(env.backward_step, (None, 0))(state, undos)
        home = mask & jax.vmap(lambda parent: at_source(env, parent))(parents)
        others = jnp.maximum((mask & ~home).sum(), 1).astype(jnp.result_type(float))
        return jnp.where(home | ~home.any(), jnp.log1p(-self.away), jnp.log(self.away / others))


@struct.dataclass
class MaximumEntropyBackward:
    """P_B(s | s') = n(s) / n(s'), with n(s) the number of paths from s_0 to s.

    All trajectories to the same object are then equally likely (Mohammadpour et al., 2312.14331).

    Attributes:
        log_path_counts: `[num_states]`, from `gfnjax.metrics.exact.log_path_counts`.
    """

    log_path_counts: Array
    reads_output: ClassVar[bool] = False

    def __call__(self, env: Enumerable, state: State, output: PolicyOutput | None) -> Array:
        def log_count(backward_action: Array) -> Array:
            return self.log_path_counts[env.state_index(env.backward_step(state, backward_action))]

        return jax.vmap(log_count)(jnp.arange(env.num_backward_actions, dtype=jnp.int32))


@struct.dataclass
class NetworkBackward:
    """P_B from the backward logits of a network of its own.

    Attributes:
        policy: the network; its forward logits are not used.
        params: of the network.
    """

    policy: Policy
    params: PyTree
    reads_output: ClassVar[bool] = False

    def __call__(self, env: Environment, state: State, output: PolicyOutput | None) -> Array:
        return self.policy.evaluate(self.params, env, state).backward_logits


class Followed(NamedTuple):
    """The parameters a loss moves, and their slowly moving average, which the objective sees."""

    network: PyTree
    average: PyTree


@pytree
class TrainedBackward(Comparable):
    """A backward policy with a network of its own, trained by a loss of its own.

    Subclass it and write `loss`. The objective sees its log P_B without gradient;
    `GFlowNet.step` takes `num_updates` steps on `loss` before each step on the objective, with
    the run's optimiser and its `backward_learning_rate`.

    Attributes:
        policy: the network whose backward logits are P_B, `mlp_policy(env)` for instance.
        num_updates: steps on `loss` a training step.
        target_rate: what the objective sees is a moving average of the parameters, which moves by
            this share of the difference each training step, a number or an optax schedule; None
            for the parameters themselves.

    Raises:
        TypeError, ValueError: for another kind of policy, or a number out of range.
    """

    policy: Policy
    num_updates: int = static(default=1)
    target_rate: Any = None
    reads_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise ArgumentError(
                "policy",
                "must be a gfnjax.Policy, such as mlp_policy(env), "
                f"got {type(self.policy).__name__}",
            )
        if self.num_updates < 1:
            raise ArgumentError("num_updates", f"must be at least 1, got {self.num_updates}")
        if self.target_rate is not None:
            check_number("target_rate", self.target_rate, *RATE)
        object.__setattr__(self, "target_rate", scheduled(self.target_rate))

    def loss(
        self, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
    ) -> Array:
        """`[]` what the network's parameters minimise on trajectories `[B, ...]`: a mean over them.

        Where a batch is spread over several devices (`gfnjax.spread`) each one is given its part,
        and the gradients are averaged.

        Args:
            params: of the network.
            env: the environment.
            trajectories: what `recall` says.
            chunk_size: live states to be evaluated at a time.
        """
        raise NotImplementedError

    def start(self, example: Trajectory) -> PyTree:
        """The memory before the first step, for batches shaped like `example`; or None."""
        return None

    def observe(self, memory: PyTree, trajectories: Trajectory) -> PyTree:
        """The memory once it has seen a step's batch of trajectories `[B, ...]`."""
        return memory

    def recall(self, memory: PyTree, trajectories: Trajectory, key: Array) -> Trajectory:
        """Trajectories `[B, ...]` for one update, after the step's own have been observed."""
        return trajectories

    def init(self, key: Array, env: Environment) -> PyTree:
        """What `Params.backward` holds: the network's parameters, and their average if any."""
        params = self.policy.init(key, self.policy.observe(env, source_state(env)))
        check_output(self.policy, params, env)
        if self.target_rate is None:
            return params
        return Followed(params, jax.tree.map(jnp.copy, params))

    def at(self, target_rate: Any) -> "TrainedBackward":
        """The same with the `target_rate` in force, which is not checked."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return unchecked(type(self), **(own | {"target_rate": target_rate}))

    def network(self, params: PyTree) -> PyTree:
        """The part of `Params.backward` that `loss` moves."""
        return params if self.target_rate is None else params.network

    def bind(self, params: PyTree) -> BackwardPolicy:
        """The backward policy of `Params.backward`, as the objective sees it."""
        seen = params if self.target_rate is None else params.average
        return NetworkBackward(self.policy, seen)

    def settle(self, params: PyTree, network: PyTree) -> PyTree:
        """`Params.backward` once its network has moved: the average moves after it."""
        if self.target_rate is None:
            return network
        average = moving_average(network, params.average, self.target_rate)
        return Followed(network, average)
