"""What is measured between chunks: exact distances where the objects can be listed."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.catalogue import state_graph
from gfnjax.config import Config, UsageError
from gfnjax.ebgfn import EnergyGFlowNet, EnergyState
from gfnjax.envs.base import (
    Composite,
    Enumerable,
    KnownTarget,
    Measurable,
    Panel,
    Renderable,
    State,
    Target,
)
from gfnjax.envs.conditional import Conditional
from gfnjax.loop import RunInfo, RunState, Trainable
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.graph import StateGraph, build_graph
from gfnjax.policies.backward import UniformBackward
from gfnjax.rewards.ising import IsingReward, neg_log_rmse
from gfnjax.sampling import terminal_states
from gfnjax.state import Params, TrainState
from gfnjax.training import GFlowNet
from gfnjax.types import Array

# Larger state spaces can be enumerated as well, but not after every chunk.
MAX_STATES = 500_000
NUM_SAMPLES = 2_000
BATCH_ESTIMATES = 100
# A probability estimated from 20,000 samples is off by .0035 at most, one standard error.
PART_BATCHES = 10


class Distributions(NamedTuple):
    """Terminal states `[n, ...]`, their weights `[n]` under the policy and under R / Z.

    `target` is None where it cannot be computed; `states` are then samples of the policy.
    """

    states: State
    learned: np.ndarray
    target: np.ndarray | None


class Views(NamedTuple):
    """What there is to see of the learned distribution, and of the target if known."""

    learned: tuple[Panel, ...]
    target: tuple[Panel, ...] | None


class Evaluator(Protocol):
    """Measures the state of a run."""

    def evaluate(self, state: RunState, info: RunInfo | None) -> dict[str, float]:
        """Metrics by name; `info` `[n]` is that of the last chunk, where there was one."""
        ...

    def distributions(self, state: RunState) -> Distributions:
        """Objects, and how likely they are."""
        ...

    def views(self, state: RunState) -> Views | None:
        """What a picture shows; None where the environment cannot be drawn."""
        ...


def make_evaluator(config: Config, gfn: Trainable) -> Evaluator:
    """Exact evaluation where the environment is enumerable and small enough, else by samples.

    Raises:
        UsageError: if the run is to stop at a total variation that cannot be computed.
    """
    if isinstance(gfn, GFlowNet) and isinstance(gfn.env, Conditional):
        # One condition stands for all: what is measured is the policy at a typical one.
        gfn = dataclasses.replace(gfn, env=gfn.env.at(gfn.env.conditions.centre()))
        if is_exact(gfn):
            return ExactEvaluator(gfn, build_graph(gfn.env))
    elif isinstance(gfn, GFlowNet) and is_exact(gfn):
        return ExactEvaluator(gfn, state_graph(config.env))
    if config.training.stop_at_tv is not None:
        raise UsageError(
            f"stop_at_tv needs exact evaluation, which is limited to {MAX_STATES:,} states: "
            f"{config.environment} is too large, cannot be enumerated, or learns its reward"
        )
    if isinstance(gfn, EnergyGFlowNet):
        return EnergyEvaluator(gfn)
    assert isinstance(gfn, GFlowNet)
    known = gfn.env.target() if isinstance(gfn.env, KnownTarget) else None
    return SampledEvaluator(gfn, known)


def is_exact(gfn: GFlowNet) -> bool:
    """Whether the environment is small enough to be enumerated after every chunk."""
    return isinstance(gfn.env, Enumerable) and gfn.env.num_states <= MAX_STATES


@dataclass(frozen=True)
class ExactEvaluator:
    """Dynamic programming over all states: the fields of `ExactMetrics`, and log Z.

    `log_z` is the estimate, `true_log_z` the truth; `part_error` the largest error of the
    probability of a part, where objects consist of parts.
    """

    gfn: GFlowNet
    graph: StateGraph

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        log_z = _estimate_log_z(self.gfn, state.params, info)
        metrics = _exact_metrics(self.gfn, self.graph, state.params, log_z)
        values: dict[str, float] = {k: float(x) for k, x in metrics._asdict().items()}
        if isinstance(self.gfn.env, Composite):
            values["part_error"] = float(_exact_part_error(self.gfn, self.graph, state.params))
        return {**values, "log_z": float(log_z), "true_log_z": values["log_z"]}

    def distributions(self, state: TrainState) -> Distributions:
        found = jax.tree.map(np.asarray, _exact_distributions(self.gfn, self.graph, state.params))
        objects = np.asarray(self.graph.terminal)
        states, learned, target = jax.tree.map(lambda x: x[objects], found)
        return Distributions(states, np.exp(learned), np.exp(target))

    def views(self, state: TrainState) -> Views | None:
        return _views(self.gfn.env, self.distributions(state))


@dataclass(frozen=True)
class SampledEvaluator:
    """Estimates from trajectories of the current policy, with a key that follows from the state.

    `elbo` <= log Z; `importance_log_z` is the logarithm of an unbiased estimate of Z;
    `log_reward` and `length` are means; whatever the environment measures comes with them. Where
    the truth is known: `true_log_z`, `log_z_error` and `part_error`, as in `ExactEvaluator`. See
    `gfnjax.metrics.sampled`.
    """

    gfn: GFlowNet
    known: Target | None = None

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        log_z = float(_estimate_log_z(self.gfn, state.params, info))
        values = _sampled_metrics(self.gfn, state.params, _key(state), NUM_SAMPLES)
        found = {**{k: float(x) for k, x in values.items()}, "log_z": log_z}
        if self.known is not None:
            truth = self.known.log_z
            found |= {"true_log_z": truth, "log_z_error": abs(log_z - truth)}
            if self.known.parts is not None:
                found["part_error"] = float(np.abs(self._parts(state) - self.known.parts).max())
        return found

    def distributions(self, state: TrainState) -> Distributions:
        states = _sample(self.gfn, state.params, _key(state), NUM_SAMPLES)
        weights = np.full(NUM_SAMPLES, 1 / NUM_SAMPLES)
        return Distributions(jax.tree.map(np.asarray, states), weights, None)

    def views(self, state: TrainState) -> Views | None:
        views = _views(self.gfn.env, self.distributions(state))
        if views is None or not isinstance(self.gfn.env, KnownTarget):
            return views
        return views._replace(target=self.gfn.env.render_target())

    def _parts(self, state: TrainState) -> np.ndarray:
        """`[...]` how often each part occurs."""
        keys = jax.random.split(_key(state), PART_BATCHES)
        found = [_part_frequencies(self.gfn, state.params, key, NUM_SAMPLES) for key in keys]
        return np.mean(found, axis=0)


@dataclass(frozen=True)
class EnergyEvaluator:
    """The sampler against the reward learned so far, and that reward against the truth.

    Adds to `SampledEvaluator`: the last chunk's mean `acceptance` and `contrast`, and
    `neg_log_rmse` of the couplings. Pictures show data for the target.
    """

    model: EnergyGFlowNet

    def evaluate(self, state: EnergyState, info: RunInfo | None) -> dict[str, float]:
        found = self._sampler(state).evaluate(state.gfn, info)
        if info is not None:
            found |= {k: float(getattr(info, k).mean()) for k in ("acceptance", "contrast")}
        if isinstance(self.model.truth, IsingReward):
            error = neg_log_rmse(state.reward.couplings, self.model.truth.couplings)
            found["neg_log_rmse"] = float(error)
        return found

    def distributions(self, state: EnergyState) -> Distributions:
        samples = self._sampler(state).distributions(state.gfn)
        data = jax.tree.map(np.asarray, self.model.data)
        states = jax.tree.map(lambda x, y: np.concatenate([x, y]), samples.states, data)
        num_data = jax.tree.leaves(data)[0].shape[0]
        nothing = np.zeros_like(samples.learned)
        return Distributions(
            states,
            np.concatenate([samples.learned, np.zeros(num_data)]),
            np.concatenate([nothing, np.full(num_data, 1 / num_data)]),
        )

    def views(self, state: EnergyState) -> Views | None:
        views = _views(self.model.gfn.env, self.distributions(state))
        if views is None or not isinstance(self.model.truth, IsingReward):
            return views
        target = self.model.truth.panel(), *(views.target or ())
        return Views((state.reward.panel(), *views.learned), target)

    def _sampler(self, state: EnergyState) -> SampledEvaluator:
        return SampledEvaluator(self.model.sampler(state))


def _views(env: object, found: Distributions) -> Views | None:
    if not isinstance(env, Renderable):
        return None
    learned = env.render(found.states, found.learned)
    target = None if found.target is None else env.render(found.states, found.target)
    return Views(learned, target)


def _key(state: TrainState) -> Array:
    # Folded twice; a training step folds its number in once.
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), 1)


def _estimate_log_z(gfn: GFlowNet, params: Params, info: RunInfo | None) -> Array:
    """The objective's own estimate; NaN where batches make it and there was none yet."""
    if gfn.objective.log_z in ("batch", "pair") and info is not None:
        return jnp.asarray(info.log_z[-BATCH_ESTIMATES:].mean(), params.log_z.dtype)
    return _log_z(gfn, params)


@jax.jit
def _log_z(gfn: GFlowNet, params: Params) -> Array:
    return gfn.log_z(params)


@jax.jit
def _exact_metrics(
    gfn: GFlowNet, graph: StateGraph, params: Params, log_z: Array
) -> exact.ExactMetrics:
    assert isinstance(gfn.env, Enumerable)
    table = exact.policy_table(gfn.env, gfn.policy, gfn.backward_policy(params), params.policy)
    return exact.evaluate(graph, table.log_pf, log_z, _log_prior(gfn, graph))


@jax.jit
def _exact_distributions(
    gfn: GFlowNet, graph: StateGraph, params: Params
) -> tuple[State, Array, Array]:
    assert isinstance(gfn.env, Enumerable)
    table = exact.policy_table(gfn.env, gfn.policy, gfn.backward_policy(params), params.policy)
    states = jax.vmap(gfn.env.state_at)(jnp.arange(graph.num_states, dtype=jnp.int32))
    learned = exact.terminating_distribution(graph, table.log_pf)
    return states, learned, exact.target_distribution(graph, _log_prior(gfn, graph))[0]


def _log_prior(gfn: GFlowNet, graph: StateGraph) -> Array | None:
    """`[N]` what the run's prior makes of R, where the objective is relative to one."""
    if "log_prior" not in gfn.objective.needs:
        return None
    assert gfn.prior is not None  # checked at construction
    assert isinstance(gfn.env, Enumerable)
    table = exact.policy_table(gfn.env, gfn.prior.policy, UniformBackward(), gfn.prior.params)
    return exact.terminating_distribution(graph, table.log_pf)


@jax.jit
def _exact_part_error(gfn: GFlowNet, graph: StateGraph, params: Params) -> Array:
    assert isinstance(gfn.env, Enumerable)
    assert isinstance(gfn.env, Composite)
    states, learned, target = _exact_distributions(gfn, graph, params)
    # Unfinished states have no probability to end in.
    error = jnp.where(graph.terminal, jnp.exp(learned) - jnp.exp(target), 0.0)
    parts = jax.vmap(gfn.env.parts)(states)
    return jnp.abs(jnp.tensordot(error, parts.astype(error.dtype), axes=1)).max()


@partial(jax.jit, static_argnames="num_samples")
def _part_frequencies(gfn: GFlowNet, params: Params, key: Array, num_samples: int) -> Array:
    assert isinstance(gfn.env, Composite)
    parts = jax.vmap(gfn.env.parts)(terminal_states(gfn.sample(params, key, num_samples)))
    return parts.astype(jnp.result_type(float)).mean(axis=0)


@partial(jax.jit, static_argnames="num_samples")
def _sampled_metrics(
    gfn: GFlowNet, params: Params, key: Array, num_samples: int
) -> dict[str, Array]:
    trajectories = gfn.sample(params, key, num_samples)
    log_weights = sampled.log_weights(gfn, params, trajectories)
    env = gfn.env
    own = env.measure(terminal_states(trajectories)) if isinstance(env, Measurable) else {}
    return {
        **own,
        "elbo": log_weights.mean(),
        "importance_log_z": jax.nn.logsumexp(log_weights) - np.log(num_samples),
        "log_reward": trajectories.log_reward.mean(),
        "length": trajectories.length.astype(log_weights.dtype).mean(),
    }


@partial(jax.jit, static_argnames="num_samples")
def _sample(gfn: GFlowNet, params: Params, key: Array, num_samples: int) -> State:
    return terminal_states(gfn.sample(params, key, num_samples))
