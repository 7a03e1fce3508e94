"""What is measured between chunks: exact distances where the objects can be listed."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.build import state_graph
from gfnjax.config import Config, UsageError
from gfnjax.envs.base import Enumerable, State
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.graph import StateGraph
from gfnjax.policies.backward import UniformBackward
from gfnjax.sampling import terminal_states
from gfnjax.state import Params, StepInfo, TrainState
from gfnjax.training import GFlowNet
from gfnjax.types import Array

# Larger state spaces can be enumerated as well, but not after every chunk.
MAX_STATES = 500_000
NUM_SAMPLES = 2_000
BATCH_ESTIMATES = 100


class Distributions(NamedTuple):
    """Terminal states `[n, ...]`, their weights `[n]` under the policy and under R / Z.

    `target` is None where it cannot be computed; `states` are then samples of the policy.
    """

    states: State
    learned: np.ndarray
    target: np.ndarray | None


class Evaluator(Protocol):
    """Measures a training state."""

    def evaluate(self, state: TrainState, info: StepInfo | None) -> dict[str, float]:
        """Metrics by name; `info` `[n]` is that of the last chunk, where there was one."""
        ...

    def distributions(self, state: TrainState) -> Distributions:
        """What a picture of the policy shows."""
        ...


def make_evaluator(config: Config, gfn: GFlowNet) -> Evaluator:
    """Exact evaluation where the environment is enumerable and small enough, else by samples.

    Raises:
        UsageError: if the run is to stop at a total variation that cannot be computed.
    """
    if is_exact(gfn):
        return ExactEvaluator(gfn, state_graph(config.env))
    if config.training.stop_at_tv is not None:
        raise UsageError(
            f"stop_at_tv needs exact evaluation, which is limited to {MAX_STATES:,} states: "
            f"{config.environment} is too large, or cannot be enumerated"
        )
    return SampledEvaluator(gfn)


def is_exact(gfn: GFlowNet) -> bool:
    """Whether the environment is small enough to be enumerated after every chunk."""
    return isinstance(gfn.env, Enumerable) and gfn.env.num_states <= MAX_STATES


@dataclass(frozen=True)
class ExactEvaluator:
    """Dynamic programming over all states: the fields of `ExactMetrics`, and log Z.

    `log_z` is the estimate, `true_log_z` the truth.
    """

    gfn: GFlowNet
    graph: StateGraph

    def evaluate(self, state: TrainState, info: StepInfo | None) -> dict[str, float]:
        log_z = _estimate_log_z(self.gfn, state.params, info)
        metrics = _exact_metrics(self.gfn, self.graph, state.params, log_z)
        values: dict[str, float] = {k: float(x) for k, x in metrics._asdict().items()}
        return {**values, "log_z": float(log_z), "true_log_z": values["log_z"]}

    def distributions(self, state: TrainState) -> Distributions:
        found = jax.tree.map(np.asarray, _exact_distributions(self.gfn, self.graph, state.params))
        objects = np.asarray(self.graph.terminal)
        states, learned, target = jax.tree.map(lambda x: x[objects], found)
        return Distributions(states, np.exp(learned), np.exp(target))


@dataclass(frozen=True)
class SampledEvaluator:
    """Estimates from trajectories of the current policy, with a key that follows from the state.

    `elbo` <= log Z; `importance_log_z` is the logarithm of an unbiased estimate of Z;
    `log_reward` and `length` are means. See `gfnjax.metrics.sampled`.
    """

    gfn: GFlowNet

    def evaluate(self, state: TrainState, info: StepInfo | None) -> dict[str, float]:
        log_z = _estimate_log_z(self.gfn, state.params, info)
        values = _sampled_metrics(self.gfn, state.params, _key(state), NUM_SAMPLES)
        return {**{k: float(x) for k, x in values.items()}, "log_z": float(log_z)}

    def distributions(self, state: TrainState) -> Distributions:
        states = _sample(self.gfn, state.params, _key(state), NUM_SAMPLES)
        weights = np.full(NUM_SAMPLES, 1 / NUM_SAMPLES)
        return Distributions(jax.tree.map(np.asarray, states), weights, None)


def _key(state: TrainState) -> Array:
    # Folded twice; a training step folds its number in once.
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), 1)


def _estimate_log_z(gfn: GFlowNet, params: Params, info: StepInfo | None) -> Array:
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


@partial(jax.jit, static_argnames="num_samples")
def _sampled_metrics(
    gfn: GFlowNet, params: Params, key: Array, num_samples: int
) -> dict[str, Array]:
    trajectories = gfn.sample(params, key, num_samples)
    log_weights = sampled.log_weights(gfn, params, trajectories)
    return {
        "elbo": log_weights.mean(),
        "importance_log_z": jax.nn.logsumexp(log_weights) - np.log(num_samples),
        "log_reward": trajectories.log_reward.mean(),
        "length": trajectories.length.astype(log_weights.dtype).mean(),
    }


@partial(jax.jit, static_argnames="num_samples")
def _sample(gfn: GFlowNet, params: Params, key: Array, num_samples: int) -> State:
    return terminal_states(gfn.sample(params, key, num_samples))
