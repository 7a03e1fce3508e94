"""Exact evaluation on enumerable environments, by dynamic programming over the state graph.

Where the graph has cycles a linear system takes the place of the sweep through its levels: flows
are Z times expected *numbers* of visits, F = Z e_{s_0} (I - Q)^{-1} with Q(s, s') = P_F(s' | s)
(Brunswic et al., 2312.15246; 2502.07735). See `gfnjax.metrics.chains`.

Everything is in nats and jittable, given a `StateGraph`; policies are tables of
log-probabilities `[N, num_actions]` and `[N, num_backward_actions]`; of another shape, say of
another environment, they are a `ValueError`. Compiled once a shape.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking
from gfnjax.actions import require_categorical
from gfnjax.envs.base import RandomSource, at_source, check_indexable
from gfnjax.errors import ArgumentError
from gfnjax.metrics import chains, distances
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.model import Model, require_model
from gfnjax.shapes import check_shape
from gfnjax.state import Params
from gfnjax.types import Array

# More than any log-probability; still nothing beside `masking.FILL`.
BEYOND_NUMBERS = 1e15


class PolicyTable(NamedTuple):
    """A policy evaluated in every state: log P_F `[N, A]`, log P_B `[N, K]`, log F `[N]`.

    At terminal states log F is whatever the network says; it is not used there.
    """

    log_pf: Array
    log_pb: Array
    log_flow: Array


class ExactMetrics(NamedTuple):
    """Distances between a policy's terminating distribution and R / Z, `[]` each.

    With a prior read prior(x) R(x) / Z for R / Z.

    Attributes:
        total_variation: half the sum of |P - R/Z|.
        l1: the mean of |P - R/Z| over terminal states.
        kl: KL(P || R/Z), nats; infinite where P ends in states with R = 0.
        reverse_kl: KL(R/Z || P), nats.
        jsd: Jensen-Shannon divergence, nats.
        log_z: the true log Z.
        log_z_error: |estimate - log Z|, NaN without an estimate.
    """

    total_variation: Array
    l1: Array
    kl: Array
    reverse_kl: Array
    jsd: Array
    log_z: Array
    log_z_error: Array


def policy_table(model: Model, params: Params, batch_size: int = 4096) -> PolicyTable:
    """Evaluate the policies of a model in all states.

    Args:
        model: environment and policies, such as `gfn.model`; the environment is `Enumerable`.
        params: of the policies.
        batch_size: states at a time.

    Raises:
        TypeError, ValueError: if the states of the environment have no int32 indices.
    """
    require_model(model)
    if not hasattr(type(model.env), "num_states"):
        name = type(model.env).__name__
        raise ArgumentError("model.env", f"must be Enumerable, one with num_states; {name} is not")
    check_indexable(model.env)
    require_categorical(model.env, "a policy table")
    return _policy_table(model, params, batch_size)


@partial(jax.jit, static_argnums=2)
def _policy_table(model: Model, params: Params, batch_size: int) -> PolicyTable:
    env: Any = model.env
    backward = model.backward_policy(params)
    start = 0.0 if params.log_flow_start is None else params.log_flow_start

    def row(index: Array) -> PolicyTable:
        state = env.state_at(index)
        output = model.policy.evaluate(params.policy, env, state)
        log_flow = output.log_flow + start
        if isinstance(env, RandomSource):
            log_flow = jnp.where(at_source(env, state), params.log_z, log_flow)
        return PolicyTable(
            masking.log_softmax(output.forward_logits, env.forward_mask(state)),
            masking.log_softmax(backward(env, state, output), env.backward_mask(state)),
            log_flow,
        )

    return lax.map(row, jnp.arange(env.num_states, dtype=jnp.int32), batch_size=batch_size)


@jax.jit
def terminating_distribution(graph: StateGraph, log_pf: Array) -> Array:
    """log P(x), the probability that a trajectory ends in x.

    log P(s_0) = 0 and log P(s') = log sum over parents s of P(s) P_F(s' | s), with P(s) the number
    of visits to s. Of a policy that goes in circles for very long on a large graph these are lower
    bounds, and 1 - sum P(x) is what they miss; on a small one NaN beyond 1e13 steps or so.

    Args:
        graph: of the environment.
        log_pf: `[N, num_actions]`.

    Returns:
        `[N]` log-probabilities, `masking.FILL` off terminal states.
    """
    _check_table(graph, log_pf=log_pf)
    if graph.levels is None:
        visits = _log(_solve_forward(graph, log_pf))
    else:
        visits = _forward(graph, _parent_values(graph, log_pf), masking.logsumexp)
    return jnp.where(graph.terminal, visits, masking.FILL)


@jax.jit
def expected_visits(graph: StateGraph, log_pf: Array) -> Array:
    """`[N]` how often a trajectory of the policy comes to each state on average; 1 at s_0.

    At the optimum F(s) / Z. Lower bounds as in `terminating_distribution`.

    Args:
        graph: of the environment.
        log_pf: `[N, num_actions]`.
    """
    _check_table(graph, log_pf=log_pf)
    if graph.levels is None:
        return _solve_forward(graph, log_pf)
    return jnp.exp(_forward(graph, _parent_values(graph, log_pf), masking.logsumexp))


@jax.jit
def expected_length(graph: StateGraph, log_pf: Array) -> Array:
    """`[]` E[n], n the states of a trajectory between s_0 and its end: its transitions less one.

    At the optimum (1 / Z) sum F(s) over these states. Arguments as in `expected_visits`.
    """
    visits = expected_visits(graph, log_pf)
    return jnp.where(graph.terminal, 0.0, visits).sum() - visits[graph.source]


@jax.jit
def target_distribution(graph: StateGraph, log_prior: Array | None = None) -> tuple[Array, Array]:
    """log R(x) / Z `[N]`, `masking.FILL` off terminal states, and log Z `[]`.

    Args:
        graph: of the environment.
        log_prior: `[N]` log-probabilities of terminal states, the `terminating_distribution` of
            a prior policy: the target is then prior(x) R(x) / Z, with Z the prior's mean of R.
    """
    if log_prior is not None:
        check_shape("log_prior", log_prior, graph.terminal.shape, "[N]")
    log_weight = graph.log_reward if log_prior is None else graph.log_reward + log_prior
    log_z = masking.logsumexp(log_weight, graph.terminal)
    return jnp.where(graph.terminal, log_weight - log_z, masking.FILL), log_z


@jax.jit
def optimal_flow(graph: StateGraph, log_pb: Array) -> tuple[Array, Array]:
    """The flow that `log_pb` and the reward determine, and the policy that carries it.

    F(x) = R(x) at terminal states, F(s) = sum over children s' of F(s') P_B(s | s'), and
    P_F(s' | s) = F(s') P_B(s | s') / F(s). Below a state may be nothing with R > 0: its log F is
    -inf, and its P_F, which no trajectory of the policy meets, uniform.

    Where s_1 is drawn, F(s_0) is Z and the first step is F(s_1) P_B(s_0 | s_1) / Z, which has to
    be mu: then, and only then, is P_F the optimum.

    Args:
        graph: of the environment.
        log_pb: `[N, num_backward_actions]`, any backward policy.

    Returns:
        log F `[N]` and log P_F `[N, num_actions]`.
    """
    _check_table(graph, log_pb=log_pb)
    log_pb_of_edge = _edge_log_pb(graph, log_pb)
    if graph.levels is None:
        log_flow = _solve_backward(graph, log_pb, log_pb_of_edge)
    else:
        log_flow = _backward(graph, log_pb_of_edge, masking.logsumexp, graph.log_reward)
    edges = log_flow[graph.children] + log_pb_of_edge
    flows = (log_flow > -jnp.inf)[:, None]
    uniform = masking.log_softmax(jnp.zeros_like(edges), graph.forward_mask)
    log_pf = jnp.where(flows, edges - jnp.where(flows, log_flow[:, None], 0.0), uniform)
    if graph.log_source is not None:  # its one action is certain
        log_pf = log_pf.at[graph.source].set(0.0)
    return log_flow, jnp.where(graph.forward_mask, log_pf, masking.FILL)


@jax.jit
def log_path_counts(graph: StateGraph) -> Array:
    """`[N]` log of the number of paths from s_0, for `MaximumEntropyBackward`.

    Raises:
        ValueError: where there are cycles, and paths without end.
    """
    _check_levels(graph, "the number of paths")
    return _forward(graph, jnp.zeros(graph.parents.shape), masking.logsumexp)


@jax.jit
def evaluate(
    graph: StateGraph,
    log_pf: Array,
    log_z: Array | float = jnp.nan,
    log_prior: Array | None = None,
) -> ExactMetrics:
    """Compare a policy with the truth.

    Args:
        graph: of the environment.
        log_pf: `[N, num_actions]`.
        log_z: `[]` an estimate.
        log_prior: `[N]` as in `target_distribution`.
    """
    check_shape("log_z", log_z, (), "[]")
    log_p = terminating_distribution(graph, log_pf)
    log_q, true_log_z = target_distribution(graph, log_prior)
    return ExactMetrics(
        total_variation=distances.total_variation(log_p, log_q),
        l1=distances.l1(log_p, log_q) / graph.terminal.sum().astype(log_p.dtype),
        kl=distances.kl(log_p, log_q),
        reverse_kl=distances.kl(log_q, log_p),
        jsd=distances.jsd(log_p, log_q),
        log_z=true_log_z,
        log_z_error=jnp.abs(log_z - true_log_z),
    )


@jax.jit
def certificate(graph: StateGraph, log_pf: Array, log_pb: Array, log_z: Array) -> Array:
    """c = max |log Z + sum log P_F - sum log P_B - log R| over *all* trajectories.

    The total variation is then at most 1 - exp(-2c): one number that vouches for a policy. Zero
    against zero, P_F and R P_B, counts as equal, zero against anything else is infinite.

    Args:
        graph: of the environment.
        log_pf: `[N, num_actions]`.
        log_pb: `[N, num_backward_actions]`.
        log_z: `[]` an estimate.

    Raises:
        ValueError: where there are cycles, and trajectories of any length.
    """
    _check_levels(graph, "the worst trajectory")
    _check_table(graph, log_pf=log_pf, log_pb=log_pb)
    check_shape("log_z", log_z, (), "[]")
    forward = _parent_values(graph, log_pf), log_z
    backward = log_pb, graph.log_reward

    def largest(values: Array, mask: Array) -> Array:
        return jnp.where(mask, values, masking.FILL).max(axis=-1)

    worst = jnp.zeros((), log_pf.dtype)
    for (edges, end), (other_edges, other_end) in ((forward, backward), (backward, forward)):
        longest = _forward(graph, _log_quotient(edges, other_edges), largest)
        residual = longest + _log_quotient(end, other_end)
        worst = jnp.maximum(worst, jnp.where(graph.terminal, residual, 0.0).max())
    return jnp.where(worst < BEYOND_NUMBERS / 2, worst, jnp.inf)


def _check_table(graph: StateGraph, **tables: Array) -> None:
    """Raise an `ArgumentError` unless `log_pf` and `log_pb` have a row for each state.

    One too short would be read beyond its end, which repeats its last row.
    """
    shapes = {"log_pf": graph.forward_mask.shape, "log_pb": graph.backward_mask.shape}
    axes = {"log_pf": "[N, num_actions]", "log_pb": "[N, num_backward_actions]"}
    for name, table in tables.items():
        check_shape(name, table, shapes[name], axes[name])


def _check_levels(graph: StateGraph, what: str) -> None:
    if graph.levels is None:
        problem = "must be that of an environment without cycles and with one s_0"
        raise ArgumentError("graph", problem, subject=f"{what}: {{graph}}")


def _solve_forward(graph: StateGraph, log_pf: Array) -> Array:
    """`[N]` expected visits of the policy."""
    log_arriving = _parent_values(graph, log_pf)
    if graph.log_source is not None:
        first = graph.parents == graph.source
        log_arriving = jnp.where(first, graph.log_source[:, None], log_arriving)
    arriving = jnp.where(graph.backward_mask, jnp.exp(log_arriving), 0.0)
    start = jnp.zeros(graph.num_states, log_pf.dtype).at[graph.source].set(1.0)
    return chains.expected_visits(start, graph.parents, arriving)


def _solve_backward(graph: StateGraph, log_pb: Array, log_pb_of_edge: Array) -> Array:
    """`[N]` log F: log Z plus that of the expected visits of P_B on its way from R / Z."""
    log_q, log_z = target_distribution(graph)
    leaving = jnp.where(graph.forward_mask, jnp.exp(log_pb_of_edge), 0.0)
    home = None
    if graph.log_source is not None:  # s_0 has one of its many edges alone
        leaving = leaving.at[graph.source].set(0.0)
        first = graph.backward_mask & (graph.parents == graph.source)
        home = jnp.where(first, jnp.exp(log_pb), 0.0).sum(axis=1)
    visits = chains.expected_visits(jnp.exp(log_q), graph.children, leaving, home)
    log_flow = log_z + jnp.where(visits == 0, -jnp.inf, jnp.log(visits))
    log_flow = log_flow.at[graph.source].set(log_z)
    return jnp.where(graph.terminal, graph.log_reward, log_flow)


def _log(visits: Array) -> Array:
    # NaN stays what it is.
    return jnp.where(visits == 0, masking.FILL, jnp.log(jnp.where(visits == 0, 1.0, visits)))


def _log_quotient(log_p: Array, log_q: Array) -> Array:
    """log p / q, in numbers that add up: 0 / q and 0 / 0 outweigh any sum that holds a p / 0."""
    quotient = log_p - jnp.maximum(log_q, -BEYOND_NUMBERS)
    return jnp.where(log_p > -jnp.inf, quotient, masking.FILL)


def _parent_values(graph: StateGraph, log_pf: Array) -> Array:
    """`[N, K]` log P_F of the edge that arrives through each backward action."""
    return log_pf[graph.parents, graph.parent_actions]


def _edge_log_pb(graph: StateGraph, log_pb: Array) -> Array:
    """`[N, A]` log P_B of the edge that leaves through each action."""
    return log_pb[graph.children, graph.backward_actions]


Reduce = Callable[[Array, Array], Array]


def _forward(graph: StateGraph, arriving: Array, reduce: Reduce) -> Array:
    """v(s_0) = 0, v(s') = reduce over parents of v(s) + arriving(s -> s'), level by level."""

    def level(values: Array, states: Array) -> tuple[Array, None]:
        candidates = values[graph.parents[states]] + arriving[states]
        update = reduce(candidates, graph.backward_mask[states])
        return values.at[states].set(update, mode="drop"), None

    assert graph.levels is not None  # checked
    values = jnp.full(graph.num_states, masking.FILL, arriving.dtype).at[graph.source].set(0.0)
    return lax.scan(level, values, graph.levels[1:])[0]


def _backward(graph: StateGraph, leaving: Array, reduce: Reduce, at_terminal: Array) -> Array:
    """v = at_terminal on terminals, else reduce over children of v(s') + leaving(s -> s')."""

    def level(values: Array, states: Array) -> tuple[Array, None]:
        candidates = values[graph.children[states]] + leaving[states]
        update = reduce(candidates, graph.forward_mask[states])
        update = jnp.where(graph.terminal[states], at_terminal[states], update)
        return values.at[states].set(update, mode="drop"), None

    assert graph.levels is not None  # checked
    values = jnp.full(graph.num_states, masking.FILL, at_terminal.dtype)
    return lax.scan(level, values, graph.levels, reverse=True)[0]
