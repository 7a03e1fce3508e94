"""Flow consistency in sub-graphs: by hand, against all sets, zero at the optimum alone."""

from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import padded_dag

from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, masking, mlp_policy, tabular_policy
from gfnjax.envs import temperature_conditional
from gfnjax.envs.tabular import TabularState, tabular_graph
from gfnjax.metrics import exact
from gfnjax.metrics.flow_consistency import of_policy, of_table, restricted_distance
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.policies.base import FrozenPolicy
from gfnjax.testing import binary_tree, exact_optimum


def noisy(params):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return structure.unflatten(
        [x + jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


@cache
def problem(make, scale=0.0):
    """Model, parameters, and log P, log R of all states."""
    env = make()
    model = GFlowNet(env, tabular_policy(env), TrajectoryBalance()).model
    params = exact_optimum(env, jax.random.key(0))
    params = noisy(params) if scale else params
    graph = build_graph(env)
    log_p = exact.terminating_distribution(graph, exact.policy_table(model, params).log_pf)
    return model, params, log_p, jnp.where(graph.terminal, graph.log_reward, masking.FILL)


def dag():
    return padded_dag(3)


def test_by_hand():
    # P = .2, .3, .5, R = 1, 1, 2: of the first two .4, .6 and .5, .5; of all .2, .3, .5 and
    # .25, .25, .5.
    log_p, log_r = jnp.log(jnp.array([0.2, 0.3, 0.5])), jnp.log(jnp.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(restricted_distance(log_p[:2], log_r[:2]), 0.1, rtol=1e-6)
    np.testing.assert_allclose(restricted_distance(log_p, log_r), 0.05, rtol=1e-5)
    some = jnp.array([True, False, True])
    # 2/7, 5/7 and 1/3, 2/3.
    np.testing.assert_allclose(restricted_distance(log_p, log_r, some), 1 / 21, rtol=1e-5)


def test_what_has_no_mass():
    nothing, one = jnp.array([masking.FILL, -jnp.inf]), jnp.array([-jnp.inf, 0.0])
    assert jnp.isnan(restricted_distance(nothing, one))
    assert jnp.isnan(restricted_distance(one, one, jnp.array([False, True])))
    assert restricted_distance(one, one) == 0
    np.testing.assert_allclose(restricted_distance(one, jnp.zeros(2)), 0.5)
    # No number is too large or too small.
    np.testing.assert_allclose(restricted_distance(jnp.zeros(2) - 1e4, one + 1e4), 0.5)


def test_all_pairs(key):
    log_p = jax.nn.log_softmax(jnp.array([0.0, 1.0, -1.0, 2.0, 0.5]))
    log_r = jnp.array([1.0, 0.0, 0.3, 1.5, -jnp.inf])
    p, r = np.exp(log_p), np.exp(log_r)
    expected = np.array(
        [
            np.abs(p[list(s)] / p[list(s)].sum() - r[list(s)] / r[list(s)].sum()).sum() / 2
            for s in combinations(range(5), 2)
        ]
    )
    # Rows that are no objects are never drawn.
    padded = [jnp.append(x, masking.FILL) for x in (log_p, log_r)]
    found = of_table(*padded, key, num_sets=20_000, set_size=2)
    np.testing.assert_allclose(found.mean, expected.mean(), atol=4 * float(found.standard_error))
    np.testing.assert_allclose(found.standard_error, expected.std() / np.sqrt(2e4), rtol=0.05)
    assert found.noise == 0


def test_objects_may_be_drawn_by_weight(key):
    # Only the first two can be drawn.
    log_p, log_r = jnp.log(jnp.array([0.2, 0.3, 0.5])), jnp.log(jnp.array([1.0, 1.0, 2.0]))
    weights = jnp.array([0.0, -3.0, -jnp.inf])
    found = of_table(log_p, log_r, key, 8, 2, weights)
    np.testing.assert_allclose(found.mean, 0.1, rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)


def test_sets_of_all_objects_give_the_total_variation(key):
    _, _, log_p, log_r = problem(dag, 1.0)
    graph = build_graph(dag())
    log_q, _ = exact.target_distribution(graph)
    truth = np.abs(np.exp(log_p) - np.exp(log_q)).sum() / 2
    assert truth > 0.1
    np.testing.assert_allclose(of_table(log_p, log_r, key, 4, 50).mean, truth, rtol=1e-5)


def test_zero_at_the_optimum_and_there_alone(key):
    model, params, log_p, log_r = problem(dag)
    exactly, estimated = of_table(log_p, log_r, key, 16, 3), of_policy(model, params, key, 4, 8, 2)
    np.testing.assert_allclose(exactly.mean, 0, atol=1e-5)
    np.testing.assert_allclose([estimated.mean, estimated.noise], 0, atol=1e-5)
    model, params, log_p, log_r = problem(dag, 1.0)
    assert of_table(log_p, log_r, key, 16, 3).mean > 0.03
    assert of_policy(model, params, key, 4, 8, 2).mean > 0.03


def test_estimates_are_exact_where_objects_have_one_trajectory(key):
    model, params, log_p, log_r = problem(binary_tree, 1.0)
    index = np.flatnonzero(np.asarray(log_r) > masking.FILL / 2).astype(np.int32)
    objects = TabularState(jnp.asarray(index))
    found = of_policy(model, params, key, 2, 50, 2, objects)
    truth = restricted_distance(log_p[index], log_r[index])
    assert truth > 0.05
    np.testing.assert_allclose(found.mean, truth, rtol=1e-4)
    np.testing.assert_allclose(found.noise, 0, atol=1e-5)
    # Equal objects count once.
    twice = TabularState(jnp.concatenate([objects.index, objects.index]))
    np.testing.assert_allclose(
        of_policy(model, params, key, 2, 50, 2, twice).mean, truth, rtol=1e-4
    )


def test_noise_falls_with_more_trajectories(key):
    model, params, log_p, log_r = problem(dag, 1.0)
    index = np.flatnonzero(np.asarray(log_r) > masking.FILL / 2).astype(np.int32)
    objects = TabularState(jnp.asarray(index))
    few, many = (of_policy(model, params, key, 16, 50, k, objects) for k in (2, 256))
    assert many.noise < few.noise / 3
    truth = restricted_distance(log_p[index], log_r[index])
    assert abs(many.mean - truth) < many.noise
    assert many.mean < few.mean


def test_what_is_cut_is_no_object(key):
    env = tabular_graph([[1], [2], [3, 1], [4, 2, 5], [], []], [0.0] * 4 + [0.3, -1.0], 8)
    model = Model(env, tabular_policy(env))
    params = exact_optimum(env, key)
    assert bool(model.sample(params, key, 32).cut.any())
    found = of_policy(model, params, key, 4, 32, 64)
    # Longer trajectories are missing from p, in the same proportion of both objects.
    assert found.mean < 0.1


def test_refusals(key):
    model, params, log_p, log_r = problem(dag)
    with pytest.raises(ValueError, match="num_trajectories must be even, for two halves, got 3"):
        of_policy(model, params, key, num_trajectories=3)
    with pytest.raises(ValueError, match="set_size must be at least 2, got 1"):
        of_table(log_p, log_r, key, set_size=1)
    with pytest.raises(ValueError, match="num_sets must be at least 2, got 1"):
        of_policy(model, params, key, num_sets=1)
    with pytest.raises(ValueError, match="log_reward"):
        of_table(log_p, log_r[:-1], key)
    with pytest.raises(ValueError, match="objects must be a batch"):
        of_policy(model, params, key, objects=TabularState(jnp.zeros((), jnp.int32)))
    prior = FrozenPolicy(model.policy, params.policy)
    with pytest.raises(ValueError, match="model has a prior"):
        of_policy(model.replace(prior=prior), params, key)
    with pytest.raises(ValueError, match="objects must be two or more, got 1"):
        of_policy(model, params, key, objects=TabularState(jnp.zeros(1, jnp.int32)))
    with pytest.raises(ValueError, match="log_p must have two entries or more, got 1"):
        of_table(log_p[:1], log_r[:1], key)
    conditional = temperature_conditional(Hypergrid(2, 3), 0.5, 2.0)
    gfn = GFlowNet(conditional, mlp_policy(conditional), TrajectoryBalance("flow"))
    with pytest.raises(ValueError, match=r"draws a condition .* give model.replace\(env=env.at"):
        of_policy(gfn.model, gfn.init(key).params, jax.random.key(1))


def test_sets_that_do_not_count_are_told(key):
    # The policy ends in two of 40 objects: most sets of 8 have none of them, some have one.
    log_p = jnp.full(40, -jnp.inf).at[:2].set(jnp.log(jnp.array([0.7, 0.3])))
    found = of_table(log_p, jnp.zeros(40), key, 200, 8)
    assert 0 < found.num_sets < 100
    lists = of_table([-1.0, -2.0, -3.0], [0.0, 0.0, 0.0], jax.random.key(1), 5, 2)
    assert lists.num_sets == 5
    spoiled = of_table(jnp.array([-1.0, jnp.nan, -1.0]), jnp.zeros(3), jax.random.key(2), 20, 2)
    assert jnp.isnan(spoiled.mean)
    nothing = of_table(jnp.full(3, -jnp.inf), jnp.zeros(3), jax.random.key(3), 20, 2)
    assert jnp.isnan(nothing.mean)
    assert nothing.num_sets == 0


def test_what_is_not_terminal_does_not_count(key):
    model, params, *_ = problem(dag)
    everything = jax.vmap(model.env.state_at)(jnp.arange(model.env.num_states))
    found = of_policy(model, params, key, 8, 32, 16, everything)
    np.testing.assert_allclose(found.mean, 0, atol=1e-5)
