"""Mixtures of GFlowNets, one a stratum: components are drawn in proportion to their Z.

With Z_k of each component and p_k what it samples, the mixture is sum_k Z_k p_k(x) / sum_k Z_k,
which is R / Z where each p_k is R q(k | .) / Z_k: see `gfnjax.envs.strata`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gfnjax import masking
from gfnjax.arguments import check_key, whole
from gfnjax.envs.base import Conditioned, Environment
from gfnjax.envs.conditional import Conditional, ConditionalState
from gfnjax.envs.strata import Strata
from gfnjax.errors import ArgumentError
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.model import Model, require_model
from gfnjax.policies.base import Behaviour
from gfnjax.rollout import draw_sources
from gfnjax.shapes import check_shape
from gfnjax.state import Params
from gfnjax.types import Array, Trajectory


@jax.jit
def component_log_z(model: Model, params: Params) -> Array:
    """`[K]` log Z_k = log F(s_0, k) of each component, nats.

    Its logsumexp is the estimate of log Z of the mixture.

    Args:
        model: with a `stratified` environment.
        params: of the policies, trained by an objective whose log Z is the flow of s_0.

    Raises:
        TypeError, ValueError: for another environment.
    """
    strata = _strata(model)
    conditions = jnp.eye(strata.num_strata, dtype=jnp.result_type(float))
    return jnp.stack([_component(model, each).log_z(params) for each in conditions])


@partial(jax.jit, static_argnames="num_samples")
def sample(
    model: Model, params: Params, key: Array, num_samples: int, log_z: Array | None = None
) -> Trajectory:
    """Trajectories of the mixture: k with probability Z_k / sum Z, then one of component k.

    Args:
        model, params: as in `component_log_z`.
        key: a typed PRNG key.
        num_samples: how many.
        log_z: `[K]` instead of `component_log_z`, of objectives that learn no flow for instance.

    Returns:
        `[num_samples, ...]`; log R is that of the component, log R(x) + log q(k | x).

    Raises:
        TypeError, ValueError: as `component_log_z`; unless `log_z` is `[K]`.
    """
    num_samples = whole("num_samples", num_samples, least=1)
    draw_key, source_key, key = jax.random.split(check_key("key", key), 3)
    log_z = _given(model, params, log_z)
    number = jax.random.categorical(draw_key, log_z, shape=(num_samples,))
    condition = jax.nn.one_hot(number, log_z.size, dtype=jnp.result_type(float))
    rules: Any = model.env.rules  # pyrefly: ignore[missing-attribute]
    sources = ConditionalState(draw_sources(rules, source_key, num_samples), condition)
    return model.explore(params, key, num_samples, Behaviour(), sources=sources)[0]


def terminating_distribution(
    model: Model, params: Params, graph: StateGraph, log_z: Array | None = None
) -> Array:
    """`[N]` log of the probability that the mixture ends in each state, exact.

    Args:
        model, params: as in `component_log_z`.
        graph: of the rules, `build_graph(env.rules)`: the target is R / Z.
        log_z: as in `sample`.

    Returns:
        As `exact.terminating_distribution`, to be compared with `exact.target_distribution(graph)`.
    """
    log_z = _given(model, params, log_z)
    log_shares = log_z - jax.nn.logsumexp(log_z)
    found = []
    for number, log_share in enumerate(log_shares):
        condition = jnp.zeros_like(log_shares).at[number].set(1.0)
        table = exact.policy_table(_component(model, condition), params)
        found.append(log_share + exact.terminating_distribution(graph, table.log_pf))
    total = jax.nn.logsumexp(jnp.stack(found), axis=0)
    return jnp.where(graph.terminal, total, masking.FILL)


def _strata(model: Model) -> Strata:
    require_model(model)
    env: Environment = model.env
    if not (isinstance(env, Conditional) and isinstance(env.reward, Strata)):
        problem = f"must have an environment made by stratified, got {type(env).__name__}"
        raise ArgumentError("model", problem)
    if isinstance(env.rules, Conditioned):
        problem = "has rules that draw a condition, and each condition has a mixture of its own"
        raise ArgumentError("model", problem, "stratify env.at(condition)")
    return env.reward


def _component(model: Model, condition: Array) -> Model:
    env: Any = model.env
    return model.replace(env=env.at(condition))  # pyrefly: ignore[missing-attribute]


def _given(model: Model, params: Params, log_z: Array | None) -> Array:
    strata = _strata(model)
    if log_z is None:
        return component_log_z(model, params)
    log_z = jnp.asarray(log_z, jnp.result_type(float))
    check_shape("log_z", log_z, (strata.num_strata,), "[K]")
    return log_z
