"""Exact distances, where the objects can be listed."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import Composite, Enumerable, State, is_acyclic
from gfnjax.envs.drawing import Target
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.model import Model
from gfnjax.policies.backward import UniformBackward
from gfnjax.run.evaluation.base import (
    Distributions,
    Views,
    drawn,
    estimated_log_z,
    seen_in_training,
    target_model,
)
from gfnjax.state import Params, TrainState
from gfnjax.training import RunInfo
from gfnjax.types import Array


@dataclass(frozen=True)
class ExactEvaluator:
    """Dynamic programming over all states: the fields of `ExactMetrics`, and log Z.

    `log_z` is the estimate, `true_log_z` the truth; `part_error` the largest error of the
    probability of a part, where objects consist of parts. Where there are cycles `expected_length`
    is E[n], and `cut` the share of the last chunk's trajectories that `max_steps` has cut; where
    the target is `known` otherwise, whatever that says of the policy's distribution comes with it.
    """

    gfn: GFlowNet
    graph: StateGraph
    known: Target | None = None

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        log_z = estimated_log_z(self.gfn, state, info)
        metrics = _exact_metrics(target_model(self.gfn), self.graph, state.params, log_z)
        values: dict[str, float] = {k: float(x) for k, x in metrics._asdict().items()}
        if isinstance(self.gfn.env, Composite):
            values["part_error"] = float(
                _exact_part_error(target_model(self.gfn), self.graph, state.params)
            )
        if not is_acyclic(self.gfn.env):
            length = _expected_length(target_model(self.gfn), self.graph, state.params)
            values["expected_length"] = float(length)
            if info is not None and getattr(info, "cut", None) is not None:
                values["cut"] = float(info.cut.mean())
        if self.known is not None and self.known.judge is not None:
            found = self.distributions(state)
            values |= self.known.judge(found.states, found.learned)
        values |= seen_in_training(self.gfn, state)
        return {**values, "log_z": float(log_z), "true_log_z": values["log_z"]}

    def distributions(self, state: TrainState) -> Distributions:
        found = jax.tree.map(
            np.asarray, _exact_distributions(target_model(self.gfn), self.graph, state.params)
        )
        objects = np.asarray(self.graph.terminal)
        states, learned, target = jax.tree.map(lambda x: x[objects], found)
        return Distributions(states, np.exp(learned), np.exp(target))

    def views(self, state: TrainState) -> Views | None:
        return drawn(self.gfn.env, self.distributions(state))


@jax.jit
def _exact_metrics(
    model: Model, graph: StateGraph, params: Params, log_z: Array
) -> exact.ExactMetrics:
    assert isinstance(model.env, Enumerable)
    table = exact.policy_table(model, params)
    return exact.evaluate(graph, table.log_pf, log_z, _log_prior(model, graph))


@jax.jit
def _expected_length(model: Model, graph: StateGraph, params: Params) -> Array:
    return exact.expected_length(graph, exact.policy_table(model, params).log_pf)


@jax.jit
def _exact_distributions(
    model: Model, graph: StateGraph, params: Params
) -> tuple[State, Array, Array]:
    assert isinstance(model.env, Enumerable)
    table = exact.policy_table(model, params)
    states = jax.vmap(model.env.state_at)(jnp.arange(graph.num_states, dtype=jnp.int32))
    learned = exact.terminating_distribution(graph, table.log_pf)
    return states, learned, exact.target_distribution(graph, _log_prior(model, graph))[0]


def _log_prior(model: Model, graph: StateGraph) -> Array | None:
    """`[N]` what the prior makes of each object, where the model is relative to one."""
    if model.prior is None:
        return None
    assert isinstance(model.env, Enumerable)
    prior = Model(model.env, model.prior.policy, UniformBackward())
    zero = jnp.zeros((), jnp.result_type(float))
    table = exact.policy_table(prior, Params(model.prior.params, zero))
    return exact.terminating_distribution(graph, table.log_pf)


@jax.jit
def _exact_part_error(model: Model, graph: StateGraph, params: Params) -> Array:
    assert isinstance(model.env, Enumerable)
    assert isinstance(model.env, Composite)
    states, learned, target = _exact_distributions(model, graph, params)
    # Unfinished states have no probability to end in.
    error = jnp.where(graph.terminal, jnp.exp(learned) - jnp.exp(target), 0.0)
    parts = jax.vmap(model.env.parts)(states)
    return jnp.abs(jnp.tensordot(error, parts.astype(error.dtype), axes=1)).max()
