"""A training run as a value: `GFlowNet.init` and `GFlowNet.step` are pure."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from gfnjax import causal, sampling, scoring
from gfnjax.envs.base import Environment, State
from gfnjax.exploration import epsilon_tempered
from gfnjax.objectives.base import Objective, Regression, as_objective, resolve_log_z, weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.policies.backward import BackwardPolicy, LearnedBackward
from gfnjax.policies.base import Policy, check_output
from gfnjax.policies.causal import CausalPolicy, check_causal
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


class Hyperparameters(NamedTuple):
    """Numbers a sweep may vary. In a description: floats or optax schedules of the step.

    In a `TrainState` numbers are arrays, to be vmapped over; scheduled entries are None.
    """

    learning_rate: Any = 1e-3
    log_z_learning_rate: Any = 1e-1
    epsilon: Any = 0.0
    temperature: Any = 1.0

    @classmethod
    def only(cls, **entries: Any) -> "Hyperparameters":
        """The given entries, None elsewhere: what `GFlowNet.init` takes to override some."""
        return cls(**{name: entries.pop(name, None) for name in cls._fields}, **entries)


class Params(NamedTuple):
    """Everything that is trained: the policy's parameters and the scalar log Z."""

    policy: PyTree
    log_z: Array


class TrainState(NamedTuple):
    """A run at one step; `target` is None without a target network."""

    params: Params
    opt_state: PyTree
    target: PyTree
    hyperparameters: Hyperparameters
    key: Array
    step: Array


class StepInfo(NamedTuple):
    """Diagnostics of one step, `[]` each: batch means in nats, and the gradient's norm."""

    loss: Array
    log_z: Array
    log_reward: Array
    length: Array
    grad_norm: Array


@struct.dataclass
class GFlowNet:
    """A frozen description of a training run. A pytree: the environment's rewards are leaves.

    Attributes:
        env: the environment.
        policy: forward logits, backward logits and flows; a `CausalPolicy` where states have one
            parent each.
        objective: an `Objective`, or a function from one trajectory's `Scores` to `Residuals`.
        backward: learned, uniform or maximum-entropy backward policy.
        hyperparameters: learning rates and exploration, as floats or optax schedules.
        optimizer: a function of the learning rate, such as `optax.adam`.
        regression: g, what a residual costs.
        batch_size: trajectories per step.
        max_grad_norm: clip the gradient to this global norm; None leaves it alone.
        target_rate: share of the parameters that moves into the target network each step; None
            for no target network.
        chunk_size: live states evaluated at a time; None chooses by batch size.

    Raises:
        TypeError, ValueError: at construction, for arguments that cannot work together.
    """

    env: Environment
    policy: Policy | CausalPolicy = struct.field(pytree_node=False)
    objective: Objective = struct.field(pytree_node=False)
    backward: BackwardPolicy = LearnedBackward()
    hyperparameters: Hyperparameters = Hyperparameters()
    optimizer: Callable[[Any], optax.GradientTransformation] = struct.field(
        pytree_node=False, default=optax.adam
    )
    regression: Regression = struct.field(pytree_node=False, default=square)
    batch_size: int = struct.field(pytree_node=False, default=16)
    max_grad_norm: float | None = struct.field(pytree_node=False, default=None)
    target_rate: float | None = struct.field(pytree_node=False, default=None)
    chunk_size: int | None = struct.field(pytree_node=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", as_objective(self.objective))
        object.__setattr__(self, "hyperparameters", _as_pytree(self.hyperparameters))
        _check(self)

    def init(self, key: Array, hyperparameters: Hyperparameters | None = None) -> TrainState:
        """The state at step 0. Vmap over keys and hyperparameters to sweep.

        Args:
            key: a typed PRNG key (`jax.random.key`).
            hyperparameters: arrays that replace the description's entries; None entries don't.
        """
        if not jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key):
            raise TypeError("key must be a typed PRNG key: use jax.random.key, not PRNGKey")
        init_key, key = jax.random.split(key)
        observation = self.policy.observe(self.env, self.env.initial_state())
        policy = self.policy.init(init_key, observation)
        check_output(self.policy, policy, self.env)
        params = Params(policy, jnp.zeros((), jnp.result_type(float)))
        numbers = _numbers(self.hyperparameters, hyperparameters)
        rates = self._rates(numbers, jnp.zeros((), jnp.int32))
        opt_state = tuple(self.optimizer(r).init(p) for r, p in zip(rates, params, strict=True))
        target = None if self.target_rate is None else policy
        return TrainState(params, opt_state, target, numbers, key, jnp.zeros((), jnp.int32))

    def step(self, state: TrainState) -> tuple[TrainState, StepInfo]:
        """Sample a batch, score it, move the parameters. Pure: jit, scan, vmap it at will."""
        values = self._values(state.hyperparameters, state.step)
        key = jax.random.fold_in(state.key, state.step)
        trajectories, outputs = self._rollout(state.params.policy, key, self.batch_size, values)
        (loss, scores), grads = jax.value_and_grad(self._loss, has_aux=True)(
            state.params, trajectories, state.target, outputs
        )
        grad_norm = optax.tree.norm(grads)
        if self.max_grad_norm is not None:
            scale = jnp.minimum(1.0, self.max_grad_norm / jnp.maximum(grad_norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale, grads)
        params, opt_state = self.update(state, grads)
        info = StepInfo(
            loss=loss,
            log_z=scores.log_z.mean(),
            log_reward=trajectories.log_reward.mean(),
            length=trajectories.length.astype(loss.dtype).mean(),
            grad_norm=grad_norm,
        )
        target = state.target
        if self.target_rate is not None:
            target = optax.incremental_update(params.policy, target, self.target_rate)
        state = state._replace(
            params=params, opt_state=opt_state, target=target, step=state.step + 1
        )
        return state, info

    def sample(self, params: Params, key: Array, num_samples: int) -> Trajectory:
        """`num_samples` trajectories of the current policy, without exploration."""
        return self._rollout(params.policy, key, num_samples)[0]

    def sample_backward(self, params: Params, key: Array, terminal_states: State) -> Trajectory:
        """One trajectory of the backward policy into each of `terminal_states` `[B, ...]`."""

        def behaviour(state: State) -> Array:
            output = self.policy.evaluate(params.policy, self.env, state)
            return self.backward(self.env, state, output)

        return sampling.sample_backward(self.env, behaviour, key, terminal_states)

    def score(
        self,
        params: Params,
        trajectories: Trajectory,
        *,
        target: PyTree | None = None,
        outputs: PolicyOutput | None = None,
        dense: bool = False,
    ) -> Scores:
        """Scores `[B, ...]` of a batch of trajectories, with all the objective needs.

        Args:
            params: scores are differentiable in them.
            trajectories: `[B, ...]`, from any sampler.
            target: parameters of the target network.
            outputs: policy outputs that a rollout of the same parameters has computed already.
            dense: evaluate padding too; slower, but not limited to reverse-mode gradients.
        """
        chunk_size = None if dense else self._chunk_size(trajectories)
        scores = self._score(params.policy, trajectories, chunk_size, params.log_z, outputs)
        if "log_inflow" in self.objective.needs:
            inflow = scoring.log_inflow(
                self.env, self.policy, params.policy, trajectories, chunk_size=chunk_size
            )
            scores = scores._replace(log_inflow=inflow)
        if "target" in self.objective.needs:
            if target is None:
                name = type(self.objective).__name__
                raise ValueError(f"{name} needs target=, the target network's parameters, got None")
            other = self._score(target, trajectories, chunk_size)
            scores = scores._replace(target=jax.lax.stop_gradient(other))
        return resolve_log_z(self.objective.log_z, scores)

    def loss(self, params: Params, trajectories: Trajectory, target: PyTree | None = None) -> Array:
        """The weighted mean of g(residual) over a batch of trajectories `[B, ...]`."""
        return self._loss(params, trajectories, target)[0]

    def update(self, state: TrainState, grads: Params) -> tuple[Params, PyTree]:
        """New parameters and optimiser state, each group of parameters at its own rate."""
        rates = self._rates(state.hyperparameters, state.step)
        groups = zip(rates, grads, state.opt_state, state.params, strict=True)
        # Optax promotes dtypes implicitly, like the schedules.
        with jax.numpy_dtype_promotion("standard"):
            moved = [self.optimizer(rate).update(*group) for rate, *group in groups]
        updates, opt_state = zip(*moved, strict=True)
        return jax.tree.map(jnp.add, state.params, Params(*updates)), opt_state

    def _loss(
        self,
        params: Params,
        trajectories: Trajectory,
        target: PyTree,
        outputs: PolicyOutput | None = None,
    ) -> tuple[Array, Scores]:
        scores = self.score(params, trajectories, target=target, outputs=outputs)
        return weighted_loss(self.objective, self.regression, scores), scores

    def _rollout(
        self,
        params: PyTree,
        key: Array,
        num_samples: int,
        explore: Hyperparameters | None = None,
    ) -> tuple[Trajectory, PolicyOutput | None]:
        def act(state: State, output: PolicyOutput) -> Array:
            logits = output.forward_logits
            if explore is None:
                return logits
            mask = self.env.forward_mask(state)
            return epsilon_tempered(logits, mask, explore.epsilon, explore.temperature)

        def behaviour(state: State) -> tuple[Array, PolicyOutput]:
            output = self.policy.evaluate(params, self.env, state)
            return act(state, output), output

        if isinstance(self.policy, CausalPolicy):
            model = self.env, self.policy, params
            return causal.sample_causal(*model, act, key, num_samples), None
        return sampling.sample_forward(self.env, behaviour, key, num_samples)

    def _score(
        self,
        params: PyTree,
        trajectories: Trajectory,
        chunk_size: int | None,
        log_z: Array | float = 0.0,
        outputs: PolicyOutput | None = None,
    ) -> Scores:
        if isinstance(self.policy, CausalPolicy):
            model = self.env, self.policy, self.backward, params
            return causal.score_causal(*model, trajectories, log_z=log_z)
        return scoring.score(
            self.env,
            self.policy,
            self.backward,
            params,
            trajectories,
            log_z=log_z,
            chunk_size=chunk_size,
            outputs=outputs,
        )

    def _values(self, numbers: Hyperparameters, step: Array) -> Hyperparameters:
        pairs = zip(numbers, self.hyperparameters, strict=True)
        # Schedules promote dtypes implicitly; callers may have forbidden that for their own code.
        with jax.numpy_dtype_promotion("standard"):
            values = [given(step) if x is None else x for x, given in pairs]
        return Hyperparameters(*(jnp.asarray(x, jnp.result_type(float)) for x in values))

    def _rates(self, numbers: Hyperparameters, step: Array) -> Params:
        values = self._values(numbers, step)
        return Params(values.learning_rate, values.log_z_learning_rate)

    def _chunk_size(self, trajectories: Trajectory) -> int:
        if self.chunk_size is not None:
            return self.chunk_size
        # Small chunks waste little on the last one, large ones make efficient matrix products.
        return min(max(6 * trajectories.length.shape[0], 96), 4096)


def _as_pytree(hyperparameters: Any) -> Any:
    """Numbers stay leaves, so that runs which differ in them share code; schedules are static."""
    if not isinstance(hyperparameters, Hyperparameters):  # a placeholder, while JAX maps trees
        return hyperparameters
    partial = jax.tree_util.Partial
    static = [
        partial(x) if callable(x) and not isinstance(x, partial) else x for x in hyperparameters
    ]
    return Hyperparameters(*static)


def _numbers(given: Hyperparameters, override: Hyperparameters | None) -> Hyperparameters:
    override = Hyperparameters.only() if override is None else override
    dtype = jnp.result_type(float)

    def number(value: Any, other: Any) -> Array | None:
        value = value if other is None else other
        return None if callable(value) else jnp.asarray(value, dtype)

    return Hyperparameters(*map(number, given, override))


def _check(gfn: GFlowNet) -> None:
    if not isinstance(gfn.policy, Policy | CausalPolicy):
        raise TypeError(
            "policy must be a gfnjax.Policy or gfnjax.CausalPolicy, "
            f"got {type(gfn.policy).__name__}"
        )
    if isinstance(gfn.policy, CausalPolicy):
        check_causal(gfn.env)
    if isinstance(gfn.optimizer, optax.GradientTransformation) or not callable(gfn.optimizer):
        raise TypeError(
            "optimizer must be a function of the learning rate, such as optax.adam (not "
            "optax.adam(1e-3)): the rates are hyperparameters.learning_rate and "
            "hyperparameters.log_z_learning_rate"
        )
    _check_hyperparameters(gfn.hyperparameters)
    if gfn.batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {gfn.batch_size}")
    if gfn.chunk_size is not None and gfn.chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 or None, got {gfn.chunk_size}")
    if gfn.max_grad_norm is not None and not gfn.max_grad_norm > 0:
        raise ValueError(f"max_grad_norm must be positive, got {gfn.max_grad_norm}")
    if gfn.target_rate is not None and not 0 < gfn.target_rate <= 1:
        raise ValueError(f"target_rate must be in (0, 1], got {gfn.target_rate}")
    if "target" in gfn.objective.needs and gfn.target_rate is None:
        raise ValueError(f"{type(gfn.objective).__name__} needs a target network: set target_rate")


def _check_hyperparameters(given: Hyperparameters) -> None:
    """Plain numbers must be in range; schedules and arrays are taken as they are."""
    ranges = {
        "learning_rate": (lambda x: x >= 0, "not be negative"),
        "log_z_learning_rate": (lambda x: x >= 0, "not be negative"),
        "epsilon": (lambda x: 0 <= x <= 1, "be in [0, 1]"),
        "temperature": (lambda x: x > 0, "be positive"),
    }
    if isinstance(given, dict):
        raise TypeError("hyperparameters must be gfnjax.Hyperparameters(...), got a dict")
    for name, (valid, words) in ranges.items():
        value = getattr(given, name, None)  # JAX maps trees with placeholders for the whole
        if isinstance(value, int | float) and not valid(value):
            raise ValueError(f"{name} must {words}, got {value}")
