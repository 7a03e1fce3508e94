"""Sampled metrics against exact ones, SciPy, simulation and reference values."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from path_enumeration import all_paths, padded_dag, path_log_probs

from gfnjax import (
    FlowMatching,
    GFlowNet,
    Hypergrid,
    TargetDetailedBalance,
    TrajectoryBalance,
    corners,
    masking,
    tabular_policy,
)
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import exact_optimum

ENV = padded_dag(3)
GFN = GFlowNet(ENV, tabular_policy(ENV), TrajectoryBalance())

elbo = jax.jit(sampled.elbo, static_argnames="num_samples")
eubo = jax.jit(sampled.eubo)
log_likelihood = jax.jit(sampled.log_likelihood, static_argnames="num_trajectories")
noise_floor = jax.jit(sampled.noise_floor, static_argnames="num_samples")


policy_table = exact.policy_table


@cache
def graph_of_env():
    return build_graph(ENV)


@cache
def optimum():
    return exact_optimum(ENV, jax.random.key(0))


def noisy(params, scale):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return structure.unflatten(
        [x + scale * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


def path_table(params):
    """log P_F, log P_B and log R of every path, in plain Python."""
    graph = graph_of_env()
    table = policy_table(GFN.model, params)
    paths = all_paths(ENV)
    pairs = [
        path_log_probs(ENV, p, np.asarray(table.log_pf), np.asarray(table.log_pb)) for p in paths
    ]
    ends = np.array([p[-1][0] for p in paths])
    return graph, np.array(pairs), ends, np.asarray(graph.log_reward)[ends]


def test_bounds_meet_at_the_optimum(key):
    params = optimum()
    graph = graph_of_env()
    _, log_z = exact.target_distribution(graph)
    states = sampled.sample_target(ENV, graph, key, 64)
    np.testing.assert_allclose(elbo(GFN.model, params, key, num_samples=64), log_z, atol=1e-5)
    np.testing.assert_allclose(eubo(GFN.model, params, key, states), log_z, atol=1e-5)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_bounds_against_enumeration(key, scale):
    params = noisy(optimum(), scale)
    graph, pairs, _, log_reward = path_table(params)
    forward, backward = pairs.T
    log_w = log_reward + backward - forward
    log_z = float(exact.target_distribution(graph)[1])
    lower = (np.exp(forward) * log_w).sum()
    upper = (np.exp(log_reward + backward - log_z) * log_w).sum()
    assert lower < log_z < upper
    n = 20_000
    states = sampled.sample_target(ENV, graph, key, n)
    error = 5 * log_w.std() / np.sqrt(n)
    assert abs(elbo(GFN.model, params, key, num_samples=n) - lower) < error
    assert abs(eubo(GFN.model, params, key, states) - upper) < error


def test_log_likelihood_against_the_exact_terminating_distribution(key):
    params = noisy(optimum(), 1.0)
    _, pairs, ends, _ = path_table(params)
    terminal = np.unique(ends)
    expected = np.log([np.exp(pairs[ends == x, 0]).sum() for x in terminal])
    states = jax.vmap(ENV.state_at)(jnp.asarray(terminal, jnp.int32))
    estimate = log_likelihood(GFN.model, params, key, states, num_trajectories=4000)
    np.testing.assert_allclose(estimate, expected, atol=0.1)
    # One trajectory a state gives one term of the average, P_F / P_B of some path to x.
    single = np.asarray(log_likelihood(GFN.model, params, key, states, num_trajectories=1))
    for x, value in zip(terminal, single, strict=True):
        assert np.abs(pairs[ends == x, 0] - pairs[ends == x, 1] - value).min() < 1e-4


def test_log_likelihood_is_exact_at_the_optimum_and_correlates(key):
    params = optimum()
    graph = graph_of_env()
    terminal = jnp.asarray(np.flatnonzero(graph.terminal), jnp.int32)
    log_q, _ = exact.target_distribution(graph)
    estimate = log_likelihood(
        GFN.model, params, key, jax.vmap(ENV.state_at)(terminal), num_trajectories=2
    )
    np.testing.assert_allclose(estimate, log_q[terminal], atol=1e-5)
    correlation = sampled.correlation(estimate, graph.log_reward[terminal])
    np.testing.assert_allclose(correlation, [1, 1], atol=1e-5)


@pytest.mark.parametrize("objective", [FlowMatching(), TargetDetailedBalance()])
def test_objectives_with_further_needs_are_measured_alike(key, objective):
    params = noisy(optimum(), 0.5)
    gfn = GFlowNet(ENV, GFN.policy, objective, target_rate=0.1)
    expected = elbo(GFN.model, params, key, num_samples=32)
    np.testing.assert_allclose(elbo(gfn.model, params, key, num_samples=32), expected, rtol=1e-6)


def test_correlation_against_scipy():
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=60), 1).astype(np.float32)  # rounding makes ties
    y = np.round(0.5 * x + rng.normal(size=60), 1).astype(np.float32)
    assert len(np.unique(x)) < 60
    actual = jax.jit(sampled.correlation)(x, y)
    np.testing.assert_allclose(actual.pearson, scipy.stats.pearsonr(x, y)[0], rtol=1e-5)
    np.testing.assert_allclose(actual.spearman, scipy.stats.spearmanr(x, y)[0], rtol=1e-5)
    monotone = sampled.correlation(x, np.exp(3 * x))
    np.testing.assert_allclose(monotone.spearman, 1, rtol=1e-6)
    assert monotone.pearson < 0.9


def test_sample_target_against_its_probabilities(key):
    graph = graph_of_env()
    log_q, _ = exact.target_distribution(graph)
    n = 20_000
    index = np.asarray(sampled.sample_target(ENV, graph, key, n).index)
    frequency = np.bincount(index, minlength=ENV.num_states) / n
    q = np.exp(log_q)
    assert (np.abs(frequency - q) <= 5 * np.sqrt(q * (1 - q) / n)).all()


def test_empirical_distribution_by_counting():
    states = jax.vmap(ENV.state_at)(jnp.array([8, 3, 8, 8], jnp.int32))
    log_p = sampled.empirical_distribution(ENV, states)
    np.testing.assert_allclose(np.exp(log_p), [0, 0, 0, 0.25, 0, 0, 0, 0, 0.75], rtol=1e-6)
    assert log_p[0] == np.float32(masking.FILL)


def test_empirical_total_variation_of_a_perfect_and_a_poor_sampler(key):
    env = Hypergrid(2, 8, corners("easy"))
    graph = build_graph(env)
    n = 5000
    compare = jax.jit(partial(sampled.empirical_total_variation, env, graph))
    good = compare(sampled.sample_target(env, graph, key, n))
    assert 0.7 * good.noise_floor < good.total_variation < 1.3 * good.noise_floor
    cells = jax.random.randint(key, (n,), 64, 128, jnp.int32)
    poor = compare(jax.vmap(env.state_at)(cells))
    # The uniform distribution is .7470 away from the target.
    np.testing.assert_allclose(poor.total_variation, 0.7470, atol=2 * float(poor.noise_floor))
    np.testing.assert_allclose(poor.noise_floor, good.noise_floor)


@pytest.mark.parametrize("n", [1, 7, 100, 200_000])
def test_noise_floor_against_the_binomial_distribution(n):
    p = np.random.default_rng(n).dirichlet(np.full(50, 0.3))
    p[0] = 0
    p /= p.sum()
    expected = 0.0
    for x in p:
        spread = int(12 * np.sqrt(n * x) + 12)
        counts = np.arange(max(0, int(n * x) - spread), min(n, int(n * x) + spread) + 1)
        expected += (np.abs(counts - n * x) * scipy.stats.binom.pmf(counts, n, x)).sum() / (2 * n)
    with np.errstate(divide="ignore"):
        log_p = np.maximum(np.log(p), masking.FILL).astype(np.float32)
    np.testing.assert_allclose(noise_floor(log_p, num_samples=n), expected, rtol=2e-4)


def test_noise_floor_by_hand():
    # Two samples of a fair coin: counts 0, 1, 2 with 1/4, 1/2, 1/4, TV 1/2, 0, 1/2.
    log_half = np.log(np.full(2, 0.5, np.float32))
    np.testing.assert_allclose(noise_floor(log_half, num_samples=2), 0.25, rtol=1e-6)
    # A certain outcome is always reproduced.
    certain = np.array([0.0, masking.FILL], np.float32)
    assert noise_floor(certain, num_samples=10) == 0


def test_noise_floor_against_simulation():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(200, 0.5))
    tvs = [0.5 * np.abs(rng.multinomial(300, p) / 300 - p).sum() for _ in range(400)]
    actual = noise_floor(np.log(p).astype(np.float32), num_samples=300)
    np.testing.assert_allclose(actual, np.mean(tvs), atol=4 * np.std(tvs) / np.sqrt(400))


@pytest.mark.parametrize(
    ("num_dims", "side", "observed"),
    [(2, 8, 0.0033), (2, 20, 0.0095), (4, 8, 0.0220), (4, 16, 0.0826), (4, 20, 0.1112)],
)
def test_noise_floor_of_the_reference_grids(num_dims, side, observed):
    # Observed with one perfect sample of 2e5 objects, whose own spread is 7e-4.
    env = Hypergrid(num_dims, side, corners("easy"))
    cells = jnp.arange(side**num_dims, dtype=jnp.int32)
    log_reward = jax.jit(jax.vmap(lambda i: env.log_reward(env.state_at(i))))(cells)
    log_p = jax.nn.log_softmax(log_reward)
    np.testing.assert_allclose(noise_floor(log_p, num_samples=200_000), observed, atol=1.5e-3)


@pytest.mark.slow
def test_a_gflownet_in_place_of_its_model_is_told_so(key):
    params = GFN.init(key).params
    for call in (
        lambda: sampled.elbo(GFN, params, key, 8),
        lambda: exact.policy_table(GFN, params),
    ):
        with pytest.raises(TypeError, match=r"model must be a Model, such as gfn\.model, got GFl"):
            call()
