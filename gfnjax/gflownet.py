"""A training run as a value: `GFlowNet.init` and `GFlowNet.step` are pure."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gfnjax import hyperparameters, numbers
from gfnjax.arguments import check_key, whole
from gfnjax.envs.base import Environment, State, is_acyclic
from gfnjax.envs.contract import check_traceable
from gfnjax.envs.tempered import exponent_of, with_exponent
from gfnjax.exploration import EpsilonTempered, Exploration
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.identity import Comparable, classes
from gfnjax.learning import diagnosis, scores, updates
from gfnjax.learning.checks import check_learning
from gfnjax.learning.starting import LogZInit, started
from gfnjax.model import Model, check_model
from gfnjax.objectives.base import Objective, Regression, as_objective
from gfnjax.objectives.regression import square
from gfnjax.policies.backward import LearnedBackward, TrainedBackward
from gfnjax.policies.base import AnyPolicy, Behaviour, FrozenPolicy
from gfnjax.pytree import moving_average, pytree, split, static, unchecked
from gfnjax.samplers.base import Batch, OnPolicy, Sampler, check_divides
from gfnjax.scoring import BackwardPolicy, VisitScores
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


@pytree
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
        log_z_init: where log Z and all flows start: a number, or "batch" for what a batch of the
            untrained policy says: log Z at its estimate, and flows there too; where they are
            learned from the flows that come next, at the mean log R, or at 0 if they look forward
            (`gfnjax.learning.starting`).
        regression: g, what a residual costs: a function, or a frozen dataclass that is one.
        sampler: where the trajectories of a step come from.
        exploration: how the sampling of a training step departs from the policy.
        batch_size: trajectories per step, on all devices together where `gfnjax.spread` has more
            than one share them.
        num_updates: updates a batch serves for.
        max_grad_norm: clip the gradient to this global norm, a float or an optax schedule; None
            leaves it alone.
        target_rate: share of the parameters that moves into the target network each step, a float
            or an optax schedule; None for no target network.
        chunk_size: live states evaluated at a time; None chooses by batch size.
        classes: of everything in here; not to be given.

    Raises:
        TypeError, ValueError: at construction, for arguments that cannot work together.
    """

    env: Environment
    policy: AnyPolicy
    objective: Objective = split()
    backward: BackwardPolicy | TrainedBackward = LearnedBackward()
    hyperparameters: Hyperparameters = Hyperparameters()
    prior: FrozenPolicy | None = None
    optimizer: Callable[[Any], optax.GradientTransformation] = static(default=optax.adam)
    log_z_optimizer: Callable[[Any], optax.GradientTransformation] = static(default=optax.adam)
    log_z_init: LogZInit = static(default="batch")
    regression: Regression = split(default=square)
    sampler: Sampler = static(default=OnPolicy())
    exploration: Exploration = static(default=EpsilonTempered())
    batch_size: int = static(default=16)
    num_updates: int = static(default=1)
    max_grad_norm: Any = None
    target_rate: Any = None
    chunk_size: int | None = static(default=None)
    classes: tuple[type, ...] = static(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", as_objective(self.objective))
        given = hyperparameters.as_pytree(self.hyperparameters)
        object.__setattr__(self, "hyperparameters", given)
        for name in ("objective", "regression"):
            settled = numbers.settled(getattr(self, name))
            object.__setattr__(self, name, settled)
        for name in ("max_grad_norm", "target_rate"):
            object.__setattr__(self, name, numbers.scheduled(getattr(self, name)))
        for name in ("batch_size", "num_updates", "chunk_size"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, value))
        check_model(self)
        nodes = self.env, self.policy, self.backward, self.hyperparameters, self.prior
        object.__setattr__(self, "classes", classes(nodes))
        check_learning(self.model, self)

    @property
    def model(self) -> Model:
        """What samples and scores here, without the training: for metrics and Markov chains.

        It has the prior only where the objective needs one. Metrics take a prior to be a factor of
        the target: where that is not so, `objective.relative_to_prior`, give them
        `gfn.model.replace(prior=None)`.
        """
        return unchecked(
            Model,
            env=self.env,
            policy=self.policy,
            backward=self.backward,
            prior=self.prior if "log_prior" in self.objective.needs else None,
            chunk_size=self.chunk_size,
            classes=self.classes,
        )

    def init(self, key: Array, overrides: Hyperparameters | None = None) -> TrainState:
        """The state at step 0. Vmap over keys and hyperparameters to sweep.

        Args:
            key: a typed PRNG key (`jax.random.key`).
            overrides: arrays that replace the description's numbers; None entries don't.

        Raises:
            ValueError: for an override of a number that the description does not have.
        """
        check_key("key", key)
        check_traceable(self.env)
        keys = InitKeys(*jax.random.split(key, len(InitKeys._fields)))
        held = hyperparameters.numbers(self._numbers, overrides)
        step = jnp.zeros((), jnp.int32)
        values = self.values(held, step)
        return self._in_force(values)._start(keys, held, values)

    def _start(self, keys: InitKeys, held: Hyperparameters, values: Hyperparameters) -> TrainState:
        params = self._init_params(keys)
        opt_state = updates.init(self._optimizers(params, values), self.backward, params)
        # A copy: a step may be given the buffers of the whole state, each of which it takes once.
        target = None if self.target_rate is None else jax.tree.map(jnp.copy, params.policy)
        check_divides(self.sampler, self.batch_size)
        memory = self.sampler.init(self.model, params, keys.sampler, self.batch_size)
        given = self.model, self.sampler, params, memory, self.batch_size
        observed = updates.observed(*given)
        step = jnp.zeros((), jnp.int32)
        return TrainState(params, opt_state, target, held, keys.run, step, memory, observed)

    def _init_params(self, keys: InitKeys) -> Params:
        params = self.model.init(keys.policy, keys.backward)
        params = params._replace(objective=self.objective.init(keys.objective, self.env))
        given = self.model, self.objective, self.log_z_init
        return started(*given, params, keys.log_z, self.batch_size)

    def step(self, state: TrainState) -> tuple[TrainState, StepInfo]:
        """Draw a batch, score it, move the parameters. Pure: jit, scan, vmap it at will."""
        batch, memory = self.draw(state)
        return self.learn(state._replace(memory=memory), batch)

    def learn(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepInfo]:
        """One step on a batch, wherever it comes from."""
        return self.at(state)._learn(state, batch)

    def _learn(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepInfo]:
        keys = step_keys(state.key, state.step)
        if isinstance(self.backward, TrainedBackward):
            values = self.values(state.hyperparameters, state.step)
            optimizer = self._optimizers(state.params, values).backward
            given = self.model, optimizer, state, batch.trajectories
            state = updates.fit_backward(*given, keys.backward)
        loss = partial(self._batch_loss, batch, state.target)
        state, fitted = updates.fit(
            loss, self.update, state, batch.rows, keys.fit, self.num_updates, self.max_grad_norm
        )
        target = state.target
        if self.target_rate is not None:
            target = moving_average(state.params.policy, target, self.target_rate)
        # What starts anywhere does not tell log Z, which is that of s_0.
        windows = fitted.scores.mask.shape[1] < self.env.max_steps
        anywhere = windows or not is_acyclic(self.env)
        info = fitted.info(self.log_z(state.params) if anywhere else None, windows)
        errors = jnp.where(is_finite(info), fitted.errors, jnp.nan)
        memory = self.sampler.learn(self.model, state.memory, batch, errors)
        return state._replace(target=target, memory=memory, step=state.step + 1), info

    def _batch_loss(
        self,
        batch: Batch,
        target: PyTree,
        params: Params,
        key: Array,
        rows: VisitScores | None,
        previous: PyTree,
    ) -> tuple[Array, tuple[Scores, Array]]:
        given = self.model, self.objective, self.regression, params, batch.trajectories
        known: Any = {"target": target, "previous": previous, "rows": rows}
        value, seen, errors = scores.loss(*given, key=key, **known)
        return value, (seen, errors)

    def trained(self, state: TrainState) -> tuple["GFlowNet", TrainState]:
        """What has been trained, and its state: itself. Others contain one, see `algorithms`."""
        return self, state

    def settle(self, before: TrainState, after: TrainState, finite: Array) -> TrainState:
        """The state `after` a step if that was `finite`, else the one `before` it, bit for bit."""
        memory = settle(self.sampler, before.memory, after.memory, finite)
        rest = choose(finite, after._replace(memory=None), before._replace(memory=None))
        return rest._replace(memory=memory)

    def draw(self, state: TrainState) -> tuple[Batch, PyTree]:
        """The batch that `step` learns from, and what the sampler remembers after drawing it."""
        check_divides(self.sampler, self.batch_size)
        key = step_keys(state.key, state.step).draw
        behaviour = self.behaviour(self.values(state.hyperparameters, state.step))
        given = self.at(state).model, state.params, state.memory, key, behaviour, self.batch_size
        return self.sampler.draw(*given)

    def behaviour(self, values: Hyperparameters) -> Behaviour:
        """How to explore, given the hyperparameters in force, and what the objective will need."""

        def act(state: State, output: PolicyOutput) -> PyTree:
            mask = self.env.forward_mask(state)
            return self.exploration(self.env, output.forward_logits, mask, values)

        # A few numbers a visit are remembered, but not all actions; and not the P_B of a policy
        # that learns from the batch before the objective does.
        known = "log_policy" not in self.objective.needs
        known &= not isinstance(self.backward, TrainedBackward)
        return Behaviour(act, self.objective.needs if known else None)

    def seen(self, state: TrainState) -> Scores:
        """Of the batch that `step` learns from, before it does."""
        batch, _ = self.draw(state)
        known = {"target": state.target, "rows": batch.rows}
        return self.at(state).score(state.params, batch.trajectories, **known)

    def diagnose(self, state: TrainState) -> str | None:
        """What is not finite in the batch that `step` learns from, in words; None if all is."""
        return diagnosis.diagnose(self, state)

    def sample(self, params: Params, key: Array, num_samples: int) -> Trajectory:
        """`num_samples` trajectories of the current policy, without exploration."""
        return self.model.sample(params, key, num_samples)

    def sample_backward(self, params: Params, key: Array, terminal_states: State) -> Trajectory:
        """One trajectory of the backward policy into each of `terminal_states` `[B, ...]`."""
        return self.model.sample_backward(params, key, terminal_states)

    def backward_policy(self, params: Params) -> BackwardPolicy:
        """P_B as `params` have it: a function of environment, state and policy output."""
        return self.model.backward_policy(params)

    def log_z(self, params: Params) -> Array:
        """`[]` the objective's estimate of log Z; NaN where it makes one from batches only."""
        return _log_z(self, params)

    def score(
        self,
        params: Params,
        trajectories: Trajectory,
        *,
        target: PyTree | None = None,
        previous: PyTree | None = None,
        rows: VisitScores | None = None,
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
            rows: what the same parameters say of each visit, from a rollout.
            key: of the randomness in training a network of the objective's own.
            dense: evaluate padding too; slower, but not limited to reverse-mode gradients.
            members: those of each member of an `EnsemblePolicy` instead, `[K, B, ...]`.
        """
        known = {"target": target, "previous": previous, "rows": rows, "key": key}
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
        values = self.values(state.hyperparameters, state.step)
        return updates.update(self._optimizers(state.params, values), state, grads)

    def _optimizers(self, params: Params, values: Hyperparameters) -> updates.OptStates:
        makers = self.optimizer, self.log_z_optimizer
        return updates.optimizers(*makers, self.objective, params, values)

    def values(self, held: Hyperparameters, step: Array) -> Hyperparameters:
        """The numbers in force at a step: those held in the state, else the schedules' values."""
        return hyperparameters.values_at(self._numbers, held, step)

    @property
    def _numbers(self) -> Hyperparameters:
        """All that this description says, wherever it does."""
        backward = self.backward
        rate = backward.target_rate if isinstance(backward, TrainedBackward) else None
        return self.hyperparameters._replace(
            reward_exponent=exponent_of(self.env),
            target_rate=self.target_rate,
            max_grad_norm=self.max_grad_norm,
            backward_target_rate=rate,
            objective=numbers.numbers_of(self.objective),
            regression=numbers.numbers_of(self.regression),
        )

    def at(self, state: TrainState) -> "GFlowNet":
        """This description with the numbers that are in force in `state`, swept or scheduled.

        `score`, `loss` and `log_z` go by the objective's: those of the description, where a
        schedule starts, unless they are those of `gfn.at(state)`.
        """
        return self._in_force(self.values(state.hyperparameters, state.step))

    def _in_force(self, values: Hyperparameters) -> "GFlowNet":
        backward = self.backward
        if isinstance(backward, TrainedBackward):
            backward = backward.at(values.backward_target_rate)
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        own |= {
            "objective": numbers.with_numbers(self.objective, values.objective),
            "regression": numbers.with_numbers(self.regression, values.regression),
            "backward": backward,
            "env": with_exponent(self.env, values.reward_exponent),
            "target_rate": values.target_rate,
            "max_grad_norm": values.max_grad_norm,
        }
        return unchecked(GFlowNet, **own)

    def _at_start(self) -> "GFlowNet":
        held = hyperparameters.numbers(self._numbers, None)
        return self._in_force(self.values(held, jnp.zeros((), jnp.int32)))


# Compiled once for each kind of model and shape, for those who call from outside of `jit`; inside,
# they become part of the caller's program.


@jax.jit
def _log_z(gfn: GFlowNet, params: Params) -> Array:
    gfn = gfn._at_start()
    return scores.log_z(gfn.model, gfn.objective, params)


@partial(jax.jit, static_argnames=("dense", "members"))
def _score(
    gfn: GFlowNet,
    params: Params,
    trajectories: Trajectory,
    known: dict[str, Any],
    dense: bool,
    members: bool,
) -> Scores:
    gfn = gfn._at_start()
    size = None if dense else gfn.model.chunk_size_for(trajectories)
    given = gfn.model, gfn.objective, params, trajectories
    return scores.score(*given, **known, chunk_size=size, members=members)


@jax.jit
def _loss(
    gfn: GFlowNet, params: Params, trajectories: Trajectory, target: PyTree, key: Array | None
) -> Array:
    gfn = gfn._at_start()
    given = gfn.model, gfn.objective, gfn.regression, params, trajectories
    return scores.loss(*given, target=target, key=key)[0]
