"""State graphs with cycles: visits, lengths and flows against numbers known otherwise."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import UniformBackward, masking, tabular_policy
from gfnjax.envs.cyclic_hypergrid import CyclicHypergrid, UniformSourceHypergrid
from gfnjax.envs.permutations import Permutations
from gfnjax.envs.tabular import tabular_graph
from gfnjax.metrics import chains, exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.metrics.transport import least_flow, least_length
from gfnjax.model import Model
from gfnjax.policies.backward import SourceBackward
from gfnjax.rewards.hypergrid import Corners
from gfnjax.testing import exact_optimum

REWARD = Corners(1e-3, 0.5, 2.0)


@lru_cache
def solved(env, backward):
    """Graph, log P_B of a backward policy that needs no parameters, log F and log P_F."""
    with jax.enable_x64(True):
        model = Model(env, tabular_policy(env), backward)
        params = model.init(jax.random.key(0), jax.random.key(1))
        graph = build_graph(env)
        log_pb = exact.policy_table(model, params).log_pb
        return graph, log_pb, *exact.optimal_flow(graph, log_pb)


def length(graph, log_flow):
    """(1 / Z) sum F(s) over the states on the way."""
    inside = ~np.asarray(graph.terminal)
    inside[int(graph.source)] = False
    return np.exp(np.asarray(log_flow)[inside] - float(log_flow[graph.source])).sum()


def test_a_cycle_by_hand(x64):
    # s_0 -> a -> b -> c -> x, and back from c to b, which P_B takes for c in half of all cases.
    env = tabular_graph([[1], [2], [3], [4, 2], []], [0.0, 0.0, 0.0, 0.0, np.log(3.0)])
    graph, _, log_flow, log_pf = solved(env, UniformBackward())
    np.testing.assert_allclose(np.exp(log_flow), [3, 3, 6, 6, 3], rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_pf)[3], [0.5, 0.5], rtol=1e-12)
    np.testing.assert_allclose(length(graph, log_flow), 5, rtol=1e-12)
    np.testing.assert_allclose(exact.expected_length(graph, log_pf), 5, rtol=1e-12)
    np.testing.assert_allclose(exact.expected_visits(graph, log_pf), [1, 1, 2, 2, 1], rtol=1e-12)
    np.testing.assert_allclose(least_length(graph), 3, atol=1e-9)


@pytest.mark.parametrize(
    ("env", "backward", "log_z", "expected", "least"),
    [
        (UniformSourceHypergrid(2, 7, REWARD), UniformBackward(), 2.775647, 4.327895, 2.297048),
        (CyclicHypergrid(2, 7, REWARD), SourceBackward(), 2.775647, 174.9278, 7.0),
        (CyclicHypergrid(2, 7, REWARD), UniformBackward(), 2.775647, 342.9278, 7.0),
        (Permutations(4), UniformBackward(), 3.826215, 5.0, 1.423629),
    ],
    ids=["grid", "grid-home", "grid-origin", "permutations"],
)
def test_published_lengths(env, backward, log_z, expected, least, x64):
    graph, _, log_flow, log_pf = solved(env, backward)
    np.testing.assert_allclose(exact.target_distribution(graph)[1], log_z, atol=1e-6)
    np.testing.assert_allclose(length(graph, log_flow), expected, rtol=1e-6)
    np.testing.assert_allclose(least_length(graph), least, rtol=1e-6)
    if graph.log_source is None:  # then any P_B has its policy
        np.testing.assert_allclose(exact.expected_length(graph, log_pf), expected, rtol=1e-6)
        assert exact.evaluate(graph, log_pf).total_variation < 1e-10


def test_the_optimum_with_a_random_source_ends_in_the_target(x64):
    env = UniformSourceHypergrid(2, 4, REWARD)
    graph, policy = build_graph(env), tabular_policy(env)
    params = exact_optimum(env, jax.random.key(1))
    table = exact.policy_table(Model(env, policy), params)
    assert exact.evaluate(graph, table.log_pf, params.log_z).total_variation < 1e-10
    visits = exact.expected_visits(graph, table.log_pf)
    np.testing.assert_allclose(visits, np.exp(table.log_flow - params.log_z), rtol=1e-8)
    assert exact.expected_length(graph, table.log_pf) > least_length(graph)
    # Steps of P_B from s_0's children: mu(s_1) = F(s_1) P_B(s_0 | s_1) / Z.
    home = (graph.parents == graph.source) & graph.backward_mask
    first = np.exp(np.asarray(table.log_flow[:, None] + table.log_pb - params.log_z))[home]
    np.testing.assert_allclose(first, 1 / 16, rtol=1e-8)


def test_visits_by_pushing_are_those_of_the_solve(x64):
    graph, _, _, log_pf = solved(CyclicHypergrid(2, 4), UniformBackward())
    arriving = jnp.exp(log_pf[graph.parents, graph.parent_actions])
    arriving = jnp.where(graph.backward_mask, arriving, 0.0)
    start = jnp.zeros(graph.num_states).at[graph.source].set(1.0)
    given = start, graph.parents, arriving
    by_hand = np.linalg.solve(np.eye(graph.num_states) - _dense(*given[1:]), np.asarray(start))
    np.testing.assert_allclose(chains.expected_visits(*given), by_hand, atol=1e-9)
    np.testing.assert_allclose(chains.pushed(*given), by_hand, atol=1e-9)


def _dense(origins, arriving):
    steps = np.zeros((len(origins), len(origins)))
    for (s, k), origin in np.ndenumerate(np.asarray(origins)):
        steps[s, origin] += float(arriving[s, k])
    return steps


@pytest.mark.slow
def test_a_policy_that_never_stops_misses_what_it_says(monkeypatch):
    env = tabular_graph([[1, 3], [2, 3], [1], []], [0.0] * 4)
    graph = build_graph(env)
    log_pf = jnp.log(jnp.array([[0.5, 0.5], [1.0 - 1e-30, 1e-30], [1.0, 0.0], [0.0, 0.0]]))
    monkeypatch.setattr(chains, "DENSE", 0)
    monkeypatch.setattr(chains, "MAX_PUSHES", 100)
    jax.clear_caches()
    log_p = exact.terminating_distribution(graph, log_pf)
    np.testing.assert_allclose(np.exp(log_p), [0, 0, 0, 0.5], atol=1e-6)
    jax.clear_caches()


def test_single_precision_is_enough():
    graph = build_graph(UniformSourceHypergrid(2, 7, REWARD))
    np.testing.assert_allclose(least_length(graph), 2.297048, rtol=1e-4)
    graph = build_graph(CyclicHypergrid(2, 7, REWARD))
    log_pb = jnp.where(graph.backward_mask, 0.0, -1e30)
    log_pb -= jax.nn.logsumexp(log_pb, axis=1, keepdims=True)
    log_pf = exact.optimal_flow(graph, log_pb)[1]
    np.testing.assert_allclose(exact.expected_length(graph, log_pf), 342.9278, rtol=0.01)


@pytest.mark.parametrize("logit", [-10.0, -13.0, -17.0, -40.0])
def test_walks_of_any_length_end_or_are_not_told(logit):
    # 20 states round and back; one stops with the logit, of all walks half end on either side.
    children = [[1], *([i % 20 + 1, (i - 2) % 20 + 1] for i in range(1, 21)), [], []]
    children[1] = [*children[1], 21, 22]
    graph = build_graph(tabular_graph(children, [0.0] * 23))
    logits = jnp.where(jnp.arange(4)[None] < 2, 0.0, logit)
    log_pf = masking.log_softmax(jnp.broadcast_to(logits, (23, 4)), graph.forward_mask)
    log_p = exact.terminating_distribution(graph, log_pf)
    if logit < -30:
        assert np.isnan(np.asarray(log_p)[21:]).all()
        assert np.isnan(exact.evaluate(graph, log_pf).total_variation)
        return
    np.testing.assert_allclose(np.exp(log_p[21:]), 0.5, rtol=1e-5)
    # Each state is visited alike, s_1 until it stops.
    visits = exact.expected_visits(graph, log_pf)
    np.testing.assert_allclose(visits[1], 1 + 1 / np.exp(logit), rtol=1e-4)


def test_least_flow_leaves_some_on_every_edge(x64):
    graph = build_graph(CyclicHypergrid(1, 4))
    flow = least_flow(graph, 0.01).flow
    moves = np.asarray(graph.forward_mask) & ~np.asarray(graph.terminal[graph.children])
    assert (flow[moves] >= 0.01 - 1e-9).all()
    np.testing.assert_allclose(flow[graph.source].sum(), 1, rtol=1e-9)


def test_what_needs_an_order_refuses_cycles():
    graph = build_graph(tabular_graph([[1], [2, 3], [1], []], [0.0] * 4))
    table = jnp.zeros(graph.forward_mask.shape), jnp.zeros(graph.backward_mask.shape)
    with pytest.raises(ValueError, match="the number of paths: graph must be that of an env"):
        exact.log_path_counts(graph)
    with pytest.raises(ValueError, match="the worst trajectory: graph must be that of an env"):
        exact.certificate(graph, *table, jnp.zeros(()))


def test_states_without_a_way_are_named():
    # `tabular_graph` would refuse the others.
    env = tabular_graph([[1, 3], [2], [1, 3], []], [0.0] * 4)
    trap = env.replace(children=env.children.at[2, 1].set(-1))
    with pytest.raises(ValueError, match="state 1 reaches no terminal state"):
        build_graph(trap)
    env = tabular_graph([[1, 2], [], [3], [2, 1]], [0.0] * 4)
    island = env.replace(children=env.children.at[0, 1].set(-1))
    with pytest.raises(ValueError, match="state 2 cannot be reached from s_0"):
        build_graph(island)


def test_path_counts_and_paths_are_of_dags_alone():
    with pytest.raises(ValueError, match="0 -> 0 must lead to one of states 1 to 1"):
        tabular_graph([[1, 0], []], [0.0, 0.0])
    assert gfnjax.envs.base.is_acyclic(gfnjax.Hypergrid(2, 2))
