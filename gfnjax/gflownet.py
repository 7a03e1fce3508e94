"""A training run as a value: `GFlowNet.init` and `GFlowNet.step` are pure."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from gfnjax import hyperparameters, rollout
from gfnjax.arguments import check_key, whole
from gfnjax.envs.base import Environment, State, source_state
from gfnjax.envs.contract import check_traceable
from gfnjax.exploration import EpsilonTempered, Exploration
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.identity import Comparable, classes
from gfnjax.learning import diagnosis, updates, views
from gfnjax.learning.checks import check_gflownet, is_placeholder
from gfnjax.learning.starting import LogZInit, first_log_flow, first_log_z
from gfnjax.objectives.base import Objective, Regression, as_objective
from gfnjax.objectives.regression import square
from gfnjax.policies import causal, ensemble
from gfnjax.policies.backward import BackwardPolicy, LearnedBackward, TrainedBackward
from gfnjax.policies.base import FrozenPolicy, Policy, check_output
from gfnjax.policies.causal import CausalPolicy
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.samplers.base import Batch, OnPolicy, Sampler
from gfnjax.state import (
    InitKeys,
    Params,
    StepInfo,
    TrainState,
    choose,
    is_finite,
    settle,
    step_keys,
)
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


@struct.dataclass(eq=False)
class GFlowNet(Comparable):
    """A frozen description of a training run. A pytree: the environment's rewards are leaves.

    Attributes:
        env: the environment.
        policy: forward logits, backward logits and flows; a `CausalPolicy` where states have one
            parent each; an `EnsemblePolicy` for Thompson sampling.
        objective: an `Objective`, or a function from one trajectory's `Scores` to `Residuals`.
        backward: learned, uniform or maximum-entropy backward policy, or a `TrainedBackward`.
        hyperparameters: learning rates and exploration, as floats or optax schedules.
        prior: a policy that is not trained, for objectives relative to one.
        optimizer: of all networks, a function of the learning rate such as `optax.adam`.
        log_z_optimizer: of the learned log Z, alike.
        log_z_init: where log Z and all flows start: a number, or "batch" for the estimate of a
            batch of the untrained policy (`gfnjax.learning.starting`).
        regression: g, what a residual costs.
        sampler: where the trajectories of a step come from.
        exploration: how the sampling of a training step departs from the policy.
        batch_size: trajectories per step.
        num_updates: updates a batch serves for.
        max_grad_norm: clip the gradient to this global norm; None leaves it alone.
        target_rate: share of the parameters that moves into the target network each step; None
            for no target network.
        chunk_size: live states evaluated at a time; None chooses by batch size.
        classes: of everything in here; not to be given.

    Raises:
        TypeError, ValueError: at construction, for arguments that cannot work together.
    """

    env: Environment
    policy: Policy | CausalPolicy | EnsemblePolicy = struct.field(pytree_node=False)
    objective: Objective = struct.field(pytree_node=False)
    backward: BackwardPolicy | TrainedBackward = LearnedBackward()
    hyperparameters: Hyperparameters = Hyperparameters()
    prior: FrozenPolicy | None = None
    optimizer: Callable[[Any], optax.GradientTransformation] = struct.field(
        pytree_node=False, default=optax.adam
    )
    log_z_optimizer: Callable[[Any], optax.GradientTransformation] = struct.field(
        pytree_node=False, default=optax.adam
    )
    log_z_init: LogZInit = struct.field(pytree_node=False, default="batch")
    regression: Regression = struct.field(pytree_node=False, default=square)
    sampler: Sampler = struct.field(pytree_node=False, default=OnPolicy())
    exploration: Exploration = struct.field(pytree_node=False, default=EpsilonTempered())
    batch_size: int = struct.field(pytree_node=False, default=16)
    num_updates: int = struct.field(pytree_node=False, default=1)
    max_grad_norm: float | None = struct.field(pytree_node=False, default=None)
    target_rate: float | None = struct.field(pytree_node=False, default=None)
    chunk_size: int | None = struct.field(pytree_node=False, default=None)
    classes: tuple[type, ...] = struct.field(
        pytree_node=False, default=(), repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", as_objective(self.objective))
        given = hyperparameters.as_pytree(self.hyperparameters)
        object.__setattr__(self, "hyperparameters", given)
        for name in ("batch_size", "num_updates", "chunk_size"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, value))
        check_gflownet(self)
        if not is_placeholder(self.env):
            nodes = self.env, self.backward, self.hyperparameters, self.prior
            object.__setattr__(self, "classes", classes(nodes))

    def init(self, key: Array, overrides: Hyperparameters | None = None) -> TrainState:
        """The state at step 0. Vmap over keys and hyperparameters to sweep.

        Args:
            key: a typed PRNG key (`jax.random.key`).
            overrides: arrays that replace the description's hyperparameters; None entries don't.
        """
        check_key("key", key)
        check_traceable(self.env)
        keys = InitKeys(*jax.random.split(key, len(InitKeys._fields)))
        params = self._init_params(keys)
        numbers = hyperparameters.numbers(self.hyperparameters, overrides)
        step = jnp.zeros((), jnp.int32)
        values = self.values(numbers, step)
        opt_state = updates.init(self, params, values)
        # A copy: a step may be given the buffers of the whole state, each of which it takes once.
        target = None if self.target_rate is None else jax.tree.map(jnp.copy, params.policy)
        memory = self.sampler.init(self, params, keys.sampler)
        observed = self._init_observed(params, memory, values)
        return TrainState(params, opt_state, target, numbers, keys.run, step, memory, observed)

    def _init_params(self, keys: InitKeys) -> Params:
        observation = self.policy.observe(self.env, source_state(self.env))
        policy = self.policy.init(keys.policy, observation)
        check_output(self.policy, policy, self.env)
        backward = self.backward
        params = Params(
            policy,
            jnp.zeros((), jnp.result_type(float)),
            backward.init(keys.backward, self.env)
            if isinstance(backward, TrainedBackward)
            else None,
            self.objective.init(keys.objective, self.env),
        )
        start = first_log_z(self, params, keys.log_z)
        return params._replace(log_z=start, log_flow_start=first_log_flow(self, start))

    def step(self, state: TrainState) -> tuple[TrainState, StepInfo]:
        """Draw a batch, score it, move the parameters. Pure: jit, scan, vmap it at will."""
        keys = step_keys(state.key, state.step)
        batch, memory = self.draw(state)
        if isinstance(self.backward, TrainedBackward):
            state = updates.fit_backward(self, state, batch.trajectories, keys.backward)
        state, fitted = updates.fit(self, state, batch, keys.fit)
        loss, scores = fitted.loss, fitted.scores
        complete = scores.complete.astype(loss.dtype)
        # A window starts anywhere, the estimate of log Z is that of s_0.
        windows = scores.mask.shape[1] < self.env.max_steps
        info = StepInfo(
            loss=loss,
            log_z=self.log_z(state.params) if windows else scores.log_z.mean(),
            # No product: 0 * inf of a window that has not ended would be NaN.
            log_reward=jnp.where(scores.complete, scores.log_reward, 0.0).sum()
            / jnp.maximum(complete.sum(), 1),
            length=scores.length.astype(loss.dtype).mean(),
            grad_norm=fitted.grad_norm,
        )
        target = state.target
        if self.target_rate is not None:
            target = optax.incremental_update(state.params.policy, target, self.target_rate)
        errors = jnp.where(is_finite(info), fitted.errors, jnp.nan)
        memory = self.sampler.learn(self, memory, batch, errors)
        return state._replace(target=target, memory=memory, step=state.step + 1), info

    def settle(self, before: TrainState, after: TrainState, finite: Array) -> TrainState:
        """The state `after` a step if that was `finite`, else the one `before` it, bit for bit."""
        memory = settle(self.sampler, before.memory, after.memory, finite)
        rest = choose(finite, after._replace(memory=None), before._replace(memory=None))
        return rest._replace(memory=memory)

    def draw(self, state: TrainState) -> tuple[Batch, PyTree]:
        """The batch that `step` learns from, and what the sampler remembers after drawing it."""
        values = self.values(state.hyperparameters, state.step)
        key = step_keys(state.key, state.step).draw
        return self.sampler.draw(self, state.params, state.memory, key, values)

    def diagnose(self, state: TrainState) -> str | None:
        """What is not finite in the batch that `step` learns from, in words; None if all is."""
        return diagnosis.diagnose(self, state)

    def sample(self, params: Params, key: Array, num_samples: int) -> Trajectory:
        """`num_samples` trajectories of the current policy, without exploration."""
        num_samples = whole("num_samples", num_samples, least=1)
        return _sample(self, params, check_key("key", key), num_samples)

    def explore(
        self,
        params: Params,
        key: Array,
        num_samples: int,
        values: Hyperparameters | None,
        window: rollout.Window | None = None,
    ) -> tuple[Trajectory, PolicyOutput | None]:
        """Trajectories of the behaviour policy, and what the policy says in all their states.

        Args:
            params: of the current policy.
            key: a typed PRNG key.
            num_samples: number of trajectories B.
            values: the hyperparameters in force; None does not explore.
            window: where to start and how far to go, instead of from s_0 to the end.
        """

        def act(state: State, output: PolicyOutput) -> Array:
            if values is None:
                return output.forward_logits
            mask = self.env.forward_mask(state)
            return self.exploration(self.env, output.forward_logits, mask, values)

        def behaviour(state: State) -> tuple[Array, PolicyOutput]:
            output = self.policy.evaluate(params.policy, self.env, state)
            return act(state, output), output

        model: tuple[Any, Any, Any] = self.env, self.policy, params.policy
        # For all alike: an ensemble of one samples what its only member would on its own.
        key, member_key = jax.random.split(key)
        if isinstance(self.policy, CausalPolicy):
            return causal.sample_causal(*model, act, key, num_samples), None
        if isinstance(self.policy, EnsemblePolicy) and values is not None:
            return ensemble.sample_ensemble(*model, act, key, member_key, num_samples, window)
        return rollout.sample_forward(self.env, behaviour, key, num_samples, window)

    def sample_backward(self, params: Params, key: Array, terminal_states: State) -> Trajectory:
        """One trajectory of the backward policy into each of `terminal_states` `[B, ...]`."""
        return _sample_backward(self, params, check_key("key", key), terminal_states)

    def backward_policy(self, params: Params) -> BackwardPolicy:
        """P_B as `params` have it: a function of environment, state and policy output."""
        if isinstance(self.backward, TrainedBackward):
            return self.backward.bind(params.backward)
        return self.backward

    def log_z(self, params: Params) -> Array:
        """`[]` the objective's estimate of log Z; NaN where it makes one from batches only."""
        if self.objective.log_z == "learned":
            return params.log_z
        if self.objective.log_z != "flow":
            return jnp.full_like(params.log_z, jnp.nan)
        return _log_flow_of_source(self, params)

    def score(
        self,
        params: Params,
        trajectories: Trajectory,
        *,
        target: PyTree | None = None,
        previous: PyTree | None = None,
        outputs: PolicyOutput | None = None,
        key: Array | None = None,
        dense: bool = False,
        members: bool = False,
    ) -> Scores:
        """Scores `[B, ...]` of a batch of trajectories, with all the objective needs.

        Args:
            params: scores are differentiable in them.
            trajectories: `[B, ...]`, from any sampler.
            target: policy parameters of the target network.
            previous: policy parameters before the updates on this batch; those of `params`
                without.
            outputs: policy outputs that a rollout of the same parameters has computed already.
            key: of the randomness in training a network of the objective's own.
            dense: evaluate padding too; slower, but not limited to reverse-mode gradients.
            members: those of each member of an `EnsemblePolicy` instead, `[K, B, ...]`.
        """
        known = {"target": target, "previous": previous, "outputs": outputs, "key": key}
        return _score(self, params, trajectories, known, dense, members)

    def loss(
        self,
        params: Params,
        trajectories: Trajectory,
        target: PyTree | None = None,
        key: Array | None = None,
    ) -> Array:
        """The weighted mean of g(residual) over a batch of trajectories `[B, ...]`."""
        return _loss(self, params, trajectories, target, key)

    def update(self, state: TrainState, grads: Params) -> tuple[Params, PyTree]:
        """New parameters and optimiser state, each group of parameters at its own rate.

        A `TrainedBackward` is left alone: it has a training of its own.
        """
        return updates.update(self, state, grads)

    def _init_observed(self, params: Params, memory: PyTree, values: Hyperparameters) -> PyTree:
        if not isinstance(self.backward, TrainedBackward):
            return None
        draw, key = partial(self.sampler.draw, self), jax.random.key(0)  # for the shapes alone
        return self.backward.start(jax.eval_shape(draw, params, memory, key, values)[0][0])

    def values(self, held: Hyperparameters, step: Array) -> Hyperparameters:
        """The numbers in force at a step: those held in the state, else the schedules' values."""
        return hyperparameters.values_at(self.hyperparameters, held, step)

    def chunk_size_for(self, trajectories: Trajectory) -> int:
        """States evaluated at a time when a batch of trajectories is scored."""
        if self.chunk_size is not None:
            return self.chunk_size
        # Small chunks waste little on the last one, large ones make efficient matrix products.
        return min(max(6 * trajectories.length.shape[0], 96), 4096)


# Compiled once for each kind of model and shape, for those who call from outside of `jit`; inside,
# they become part of the caller's program.


@partial(jax.jit, static_argnames="num_samples")
def _sample(gfn: GFlowNet, params: Params, key: Array, num_samples: int) -> Trajectory:
    return gfn.explore(params, key, num_samples, None)[0]


@jax.jit
def _sample_backward(
    gfn: GFlowNet, params: Params, key: Array, terminal_states: State
) -> Trajectory:
    backward = gfn.backward_policy(params)

    def behaviour(state: State) -> Array:
        if gfn.env.num_backward_actions == 1:  # nothing to choose, no network to ask
            return jnp.zeros(1, params.log_z.dtype)
        output = gfn.policy.evaluate(params.policy, gfn.env, state)
        return backward(gfn.env, state, output)

    return rollout.sample_backward(gfn.env, behaviour, key, terminal_states)


@partial(jax.jit, static_argnames=("dense", "members"))
def _score(
    gfn: GFlowNet,
    params: Params,
    trajectories: Trajectory,
    known: dict[str, Any],
    dense: bool,
    members: bool,
) -> Scores:
    size = None if dense else gfn.chunk_size_for(trajectories)
    return views.score(gfn, params, trajectories, **known, chunk_size=size, members=members)


@jax.jit
def _loss(
    gfn: GFlowNet, params: Params, trajectories: Trajectory, target: PyTree, key: Array | None
) -> Array:
    return updates.judge(gfn, params, trajectories, target=target, key=key)[0]


@jax.jit
def _log_flow_of_source(gfn: GFlowNet, params: Params) -> Array:
    source = rollout.tile(source_state(gfn.env), 1)
    states = jax.tree.map(lambda x: jnp.stack([x, x], axis=1), source)
    zero = jnp.zeros(1, jnp.int32)
    nowhere = Trajectory(states, zero[:, None], zero, jnp.zeros(1, params.log_z.dtype))
    return views.view(gfn, params, params.policy, nowhere).log_flow[0, 0]
