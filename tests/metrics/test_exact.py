"""Exact metrics against brute force: every path of small graphs, listed in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from path_enumeration import all_paths, padded_dag, padded_graph, path_log_probs

from gfnjax import (
    GFlowNet,
    Hypergrid,
    Params,
    TrajectoryBalance,
    corners,
    masking,
    tabular_dag,
    tabular_policy,
    terminal_states,
)
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.testing import binary_tree, diamond

SEEDS = st.integers(0, 10_000)

terminating = jax.jit(exact.terminating_distribution)
certificate = jax.jit(exact.certificate)
optimal_flow = jax.jit(exact.optimal_flow)
log_path_counts = jax.jit(exact.log_path_counts)


def random_tables(graph, seed):
    """Random log P_F `[N, A]` and log P_B `[N, K]`."""
    forward, backward = jax.random.split(jax.random.key(seed))
    dtype = graph.log_reward.dtype
    log_pf = jax.random.normal(forward, graph.children.shape, dtype)
    log_pb = jax.random.normal(backward, graph.parents.shape, dtype)
    return (
        masking.log_softmax(log_pf, graph.forward_mask),
        masking.log_softmax(log_pb, graph.backward_mask),
    )


def brute_force(env, log_pf, log_pb, log_z):
    """P(x) `[N]` and the largest |TB residual|, path by path."""
    probability, worst = np.zeros(env.num_states), 0.0
    for path in all_paths(env):
        terminal = path[-1][0]
        forward, backward = path_log_probs(env, path, log_pf, log_pb)
        probability[terminal] += np.exp(forward)
        residual = log_z + forward - backward - float(env.log_rewards[terminal])
        worst = max(worst, abs(residual))
    return probability, worst


def check_against_brute_force(env, graph, seed):
    log_pf, log_pb = random_tables(graph, seed)
    log_z = jnp.asarray(0.3, log_pf.dtype)
    expected, worst = brute_force(env, np.asarray(log_pf), np.asarray(log_pb), 0.3)
    actual = np.exp(terminating(graph, log_pf))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    np.testing.assert_allclose(certificate(graph, log_pf, log_pb, log_z), worst, rtol=1e-5)
    log_q, _ = exact.target_distribution(graph)
    tv = 0.5 * np.abs(expected - np.exp(np.asarray(log_q))).sum()
    assert tv <= 1 - np.exp(-2 * worst) + 1e-6


@pytest.mark.slow
@given(SEEDS)
def test_random_dags_against_all_paths(seed):
    env = padded_dag(seed)
    check_against_brute_force(env, padded_graph(env), seed)


@pytest.mark.parametrize("env", [diamond(), binary_tree(3)], ids=["diamond", "binary_tree"])
def test_known_dags_against_all_paths(env):
    graph = build_graph(env)
    for seed in range(3):
        check_against_brute_force(env, graph, seed)


def test_terminating_distribution_of_the_diamond_by_hand():
    # P(1) = 3/4, P(4 | 1) = 2/3; 3 is reached both ways: 3/4 1/3 + 1/4.
    graph = build_graph(diamond())
    log_pf = jnp.log(jnp.array([[0.75, 0.25], [1 / 3, 2 / 3], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))
    log_p = exact.terminating_distribution(graph, log_pf)
    np.testing.assert_allclose(np.exp(log_p), [0, 0, 0, 0.5, 0.5], atol=1e-6)


def test_optimal_flow_of_the_diamond_by_hand():
    # R(3) = 1, R(4) = 2, P_B(1 | 3) = 1/4: F(1) = 2 + 1/4, F(2) = 3/4.
    graph = build_graph(diamond())
    log_pb = jnp.log(jnp.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.25, 0.75], [1.0, 1.0]]))
    log_flow, log_pf = exact.optimal_flow(graph, log_pb)
    np.testing.assert_allclose(np.exp(log_flow), [3, 2.25, 0.75, 1, 2], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_pf[0]), [0.75, 0.25], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_pf[1]), [1 / 9, 8 / 9], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_pf[2:]), [[1, 0], [0, 0], [0, 0]], rtol=1e-6)


@given(SEEDS)
def test_optimal_flow_pushes_forward_to_the_target(seed):
    env = padded_dag(seed)
    graph = padded_graph(env)
    _, log_pb = random_tables(graph, seed)
    log_flow, log_pf = optimal_flow(graph, log_pb)
    terminal = ~np.asarray(env.children >= 0).any(axis=1)
    reward = np.where(terminal, np.exp(np.asarray(env.log_rewards)), 0)
    expected, worst = brute_force(env, np.asarray(log_pf), np.asarray(log_pb), np.log(reward.sum()))
    np.testing.assert_allclose(expected, reward / reward.sum(), atol=1e-5)
    np.testing.assert_allclose(np.exp(log_flow[0]), reward.sum(), rtol=1e-5)
    assert worst < 1e-5


@given(SEEDS)
def test_log_path_counts_against_counting(seed):
    env = padded_dag(seed)
    counts = log_path_counts(padded_graph(env))
    children = np.asarray(env.children)
    expected = np.zeros(env.num_states)
    expected[0] = 1
    for state in range(env.num_states):  # in topological order
        for child in children[state][children[state] >= 0]:
            expected[child] += expected[state]
    np.testing.assert_allclose(np.exp(counts), expected, rtol=1e-5)


def test_log_path_counts_on_a_grid_are_binomials():
    env = Hypergrid(2, 5)
    counts = np.exp(exact.log_path_counts(build_graph(env)))[25:].reshape(5, 5)
    np.testing.assert_allclose(counts[4], [1, 5, 15, 35, 70], rtol=1e-5)


@pytest.mark.parametrize(("num_dims", "side"), [(2, 8), (4, 8)])
def test_mass_is_one(num_dims, side):
    graph = build_graph(Hypergrid(num_dims, side))
    log_pf, _ = random_tables(graph, 0)
    log_p = terminating(graph, log_pf)
    assert abs(float(np.exp(np.asarray(log_p, np.float64)).sum()) - 1) < 1e-6
    assert not np.exp(log_p[: side**num_dims]).any()


def test_policy_table_and_sampled_frequencies(key):
    env = Hypergrid(2, 4)
    graph, policy = build_graph(env), tabular_policy(env)
    log_pf, log_pb = random_tables(graph, 1)
    logits = {"forward_logits": log_pf + 3, "backward_logits": log_pb - 1}
    params = {"params": {**logits, "log_flow": jnp.arange(32.0)}}
    table = exact.policy_table(Model(env, policy), Params(params), batch_size=7)
    np.testing.assert_allclose(table.log_pf, log_pf, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(table.log_pb, log_pb, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(table.log_flow, np.arange(32))

    num_samples = 40_000
    gfn = GFlowNet(env, policy, TrajectoryBalance())
    sample = jax.jit(gfn.sample, static_argnums=2)
    trajectories = sample(Params(params, jnp.zeros(())), key, num_samples)
    index = np.asarray(jax.vmap(env.state_index)(terminal_states(trajectories)))
    frequency = np.bincount(index, minlength=32) / num_samples
    p = np.exp(terminating(graph, table.log_pf))
    standard_error = np.sqrt(p * (1 - p) / num_samples)
    assert (np.abs(frequency - p) <= 4.5 * standard_error + 1e-9).all()
    # The deviations are of the size of the standard error, not smaller: samples are independent.
    z = (frequency - p)[16:] / standard_error[16:]
    assert 0.4 < np.mean(z**2) < 2.0


def test_evaluate_by_hand():
    # P = (3/4, 1/4) over states 3 and 4, target (1/3, 2/3).
    graph = build_graph(diamond())
    log_pf = jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.5], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))
    metrics = exact.evaluate(graph, log_pf, log_z=1.0)
    p, q = np.array([0.75, 0.25]), np.array([1 / 3, 2 / 3])
    m = (p + q) / 2
    kl = lambda a, b: float((a * np.log(a / b)).sum())  # noqa: E731
    expected = {
        "total_variation": 5 / 12,
        "l1": 5 / 12,
        "kl": kl(p, q),
        "reverse_kl": kl(q, p),
        "jsd": (kl(p, m) + kl(q, m)) / 2,
        "log_z": np.log(3),
        "log_z_error": np.log(3) - 1,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(metrics, name), value, rtol=1e-5, err_msg=name)
    assert np.isnan(exact.evaluate(graph, log_pf).log_z_error)


def test_log_z_and_the_uniform_distribution_on_grids():
    # Reference values of the easy corners reward.
    for num_dims, side, log_z, uniform_tv in [(2, 8, 2.776581, 0.7470), (4, 8, 5.100452, 0.9141)]:
        graph = build_graph(Hypergrid(num_dims, side, corners("easy")))
        log_q, actual = exact.target_distribution(graph)
        np.testing.assert_allclose(actual, log_z, atol=2e-6)
        cells = side**num_dims
        tv = 0.5 * np.abs(np.exp(log_q[cells:]) - 1 / cells).sum()
        np.testing.assert_allclose(tv, uniform_tv, atol=6e-5)


def test_certificate_vanishes_at_the_optimum_and_bounds_total_variation():
    graph = build_graph(Hypergrid(2, 4))
    _, log_pb = random_tables(graph, 2)
    _, log_pf = exact.optimal_flow(graph, log_pb)
    log_q, log_z = exact.target_distribution(graph)
    assert certificate(graph, log_pf, log_pb, log_z) < 1e-5
    for scale in (0.01, 0.1):
        noise = scale * random_tables(graph, 3)[0]
        noisy = masking.log_softmax(log_pf + noise, graph.forward_mask)
        c = float(certificate(graph, noisy, log_pb, log_z))
        tv = 0.5 * np.abs(np.exp(terminating(graph, noisy)) - np.exp(log_q)).sum()
        assert 0 < tv <= 1 - np.exp(-2 * c)


def test_metrics_are_double_precision_on_request(x64):
    graph = build_graph(padded_dag(0))
    log_pf, _ = random_tables(graph, 0)
    log_p = exact.terminating_distribution(graph, log_pf)
    assert log_p.dtype == np.float64
    assert abs(float(np.exp(log_p).sum()) - 1) < 1e-14


def dead_branch():
    """0 -> 1, 2; 1 -> 3, 4; 2 -> 4, 5 with R = 0 at 3 and 4, R = 2 at 5: nothing below 1."""
    log_rewards = [0.0, 0.0, 0.0, -np.inf, -np.inf, np.log(2)]
    env = tabular_dag([[1, 2], [3, 4], [4, 5], [], [], []], log_rewards)
    graph = build_graph(env)
    log_pb = jnp.log(jnp.where(graph.backward_mask, 1 / graph.backward_mask.sum(1)[:, None], 1.0))
    return env, graph, log_pb


def test_flows_where_all_children_have_no_reward():
    _, graph, log_pb = dead_branch()
    log_flow, log_pf = optimal_flow(graph, log_pb)
    np.testing.assert_allclose(np.exp(log_flow), [2, 0, 2, 0, 0, 2], rtol=1e-6)
    assert log_flow[1] == log_flow[3] == log_flow[4] == -np.inf
    # Nothing is known of a state without flow; its policy is a distribution nevertheless.
    np.testing.assert_allclose(np.exp(log_pf[:3]), [[0, 1], [0.5, 0.5], [0, 1]], rtol=1e-6)
    metrics = exact.evaluate(graph, log_pf, np.log(2))
    for name in ("total_variation", "l1", "kl", "reverse_kl", "jsd", "log_z_error"):
        np.testing.assert_allclose(getattr(metrics, name), 0, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(metrics.log_z, np.log(2), rtol=1e-6)
    assert certificate(graph, log_pf, log_pb, jnp.log(2.0)) < 1e-5


def test_a_uniform_policy_against_rewards_of_zero_by_hand():
    # P = (1/4, 1/2, 1/4) over states 3, 4 and 5; the target is state 5.
    _, graph, log_pb = dead_branch()
    log_pf = masking.log_softmax(jnp.zeros((6, 2)), graph.forward_mask)
    metrics = exact.evaluate(graph, log_pf, 0.0)
    np.testing.assert_allclose(metrics.total_variation, 0.75, rtol=1e-6)
    np.testing.assert_allclose(metrics.l1, 0.5, rtol=1e-6)
    assert metrics.kl == np.inf
    np.testing.assert_allclose(metrics.reverse_kl, np.log(4), rtol=1e-6)
    # The mean is (1/8, 1/4, 5/8).
    jsd = (0.75 * np.log(2) + 0.25 * np.log(0.25 / 0.625) + np.log(1 / 0.625)) / 2
    np.testing.assert_allclose(metrics.jsd, jsd, rtol=1e-6)
    assert certificate(graph, log_pf, log_pb, jnp.zeros(())) == np.inf


@pytest.mark.long
@given(SEEDS)
def test_optimal_flow_with_rewards_of_zero_against_all_paths(seed):
    env = padded_dag(seed)
    terminal = ~np.asarray(env.children >= 0).any(axis=1)
    keep = np.flatnonzero(terminal)[np.random.default_rng(seed).integers(terminal.sum())]
    zero = np.random.default_rng(seed).random(env.num_states) < 0.7
    zero[keep] = False
    env = env.replace(log_rewards=jnp.where(zero, -jnp.inf, env.log_rewards))
    graph = padded_graph(env)
    _, log_pb = random_tables(graph, seed)
    log_flow, log_pf = optimal_flow(graph, log_pb)
    reward = np.where(terminal, np.exp(np.asarray(env.log_rewards, float)), 0)
    flow = np.zeros(env.num_states)
    for path in all_paths(env):  # F(s) = sum over x of R(x) P_B of the paths from s to x
        for start in range(len(path)):
            _, backward = path_log_probs(env, path[start:], log_pf, log_pb)
            _, before = path_log_probs(env, path[: start + 1], log_pf, log_pb)
            flow[path[start][0]] += reward[path[-1][0]] * np.exp(backward + before)
    np.testing.assert_allclose(np.exp(log_flow), flow, rtol=1e-4)
    np.testing.assert_allclose(np.exp(log_flow[0]), reward.sum(), rtol=1e-5)
    np.testing.assert_allclose(np.exp(terminating(graph, log_pf)), reward / reward.sum(), atol=1e-5)
    assert certificate(graph, log_pf, log_pb, jnp.log(reward.sum().astype(np.float32))) < 1e-4


@pytest.mark.parametrize("side", [8, 32])
def test_no_divergence_is_negative_at_the_optimum(side):
    graph = build_graph(Hypergrid(2, side))
    for seed in range(5):
        _, log_pb = random_tables(graph, seed)
        metrics = exact.evaluate(graph, optimal_flow(graph, log_pb)[1])
        for name in ("kl", "reverse_kl", "jsd"):
            assert 0 <= getattr(metrics, name) < 1e-9, name
