import dataclasses

import numpy as np
import pytest

from gfnjax.envs.sets import additive_set
from gfnjax.gflownet import GFlowNet
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.policies.mlp import mlp_policy
from gfnjax.rollout import terminal_states
from gfnjax.run.build import build
from gfnjax.run.choices import configure
from gfnjax.run.config import Training, UsageError
from gfnjax.run.evaluation import (
    ChainEvaluator,
    ConditionalEvaluator,
    ExactEvaluator,
    SampledEvaluator,
    base,
    make,
    make_evaluator,
)
from gfnjax.samplers import Windows
from gfnjax.state import StepInfo
from gfnjax.training import init


def described(side=8, num_dims=2, **settings):
    sizes = {"side": side, "num_dims": num_dims, "hidden_sizes": (8,), "batch_size": 4}
    config = configure("hypergrid", **sizes, **settings)
    return config, build(config)


def target_of(side):
    """R / Z on the grid of the corners reward, from its definition."""
    a = np.abs(np.arange(side) / (side - 1) - 0.5)
    corner, ring = a > 1 / 4, (a > 3 / 10) & (a < 2 / 5)
    reward = 0.1 + 0.5 * np.outer(corner, corner) + 2.0 * np.outer(ring, ring)
    return reward, reward / reward.sum()


def test_exact_metrics_are_those_of_the_distributions(key):
    config, gfn = described(log_z_init=0.0)
    state = gfn.init(key)
    evaluator = make_evaluator(config, gfn)
    assert isinstance(evaluator, ExactEvaluator)

    found = evaluator.evaluate(state, None)
    states, learned, target = evaluator.distributions(state)

    reward, expected = target_of(8)
    index = states.position[:, 0], states.position[:, 1]
    np.testing.assert_allclose(target, expected[index], rtol=1e-4)
    assert learned.sum() == pytest.approx(1, abs=1e-5)
    assert found["total_variation"] == pytest.approx(np.abs(learned - target).sum() / 2, rel=1e-4)
    assert found["true_log_z"] == pytest.approx(np.log(reward.sum()), abs=1e-5)
    assert found["log_z"] == 0.0
    assert found["log_z_error"] == pytest.approx(3.109061, abs=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(("objective", "relative"), [("rtb", True), ("flowrl", False)])
def test_a_prior_is_a_factor_of_the_target_where_the_objective_says_so(
    objective, relative, key, monkeypatch
):
    config, gfn = described(side=3, num_dims=1, objective=objective)
    assert gfn.model.prior is not None
    state = gfn.init(key)
    exact = make_evaluator(config, gfn)
    found = exact.evaluate(state, None)
    reward = 0.1 + 0.5 * np.array([1.0, 0.0, 1.0])
    prior = np.array([1 / 2, 1 / 4, 1 / 4])  # uniform among going on and stopping
    # At the far end nothing but the stop is left.
    expected = np.log((reward * prior if relative else reward).sum())
    assert found["true_log_z"] == pytest.approx(expected, abs=1e-5)
    position = exact.distributions(state).states.position[:, 0]
    target = reward * prior if relative else reward
    found = exact.distributions(state).target
    np.testing.assert_allclose(found, (target / target.sum())[position], rtol=1e-4)
    monkeypatch.setattr(make, "MAX_STATES", 1)
    sampled = make_evaluator(config, gfn)
    assert isinstance(sampled, SampledEvaluator)
    found = sampled.evaluate(state, None)
    assert found["importance_log_z"] == pytest.approx(expected, abs=0.1)


def test_log_z_is_estimated_the_way_the_objective_does(key):
    info = StepInfo(*(np.arange(200, dtype=np.float32),) * 5)
    estimates = {}
    for objective in ("tb", "db", "vargrad"):
        config, gfn = described(objective=objective, log_z_init=0.0)
        state = gfn.init(key)
        learned = state.params._replace(log_z=state.params.log_z + 1.5)
        state = state._replace(params=learned)
        estimates[objective] = make_evaluator(config, gfn).evaluate(state, info)["log_z"]
        if objective == "db":
            source = gfn.policy.evaluate(learned.policy, gfn.env, gfn.env.initial_state())
    assert estimates["tb"] == 1.5
    assert estimates["db"] == pytest.approx(float(source.log_flow), abs=1e-6)
    assert estimates["vargrad"] == np.arange(100, 200).mean()
    assert np.isnan(make_evaluator(config, gfn).evaluate(state, None)["log_z"])


@pytest.mark.slow
def test_samples_stand_in_where_states_are_too_many(key, monkeypatch):
    config, gfn = described(side=4)
    state = gfn.init(key)
    exact = make_evaluator(config, gfn)
    monkeypatch.setattr(make, "MAX_STATES", 31)
    sampled = make_evaluator(config, gfn)
    assert isinstance(sampled, SampledEvaluator)

    found, truth = sampled.evaluate(state, None), exact.evaluate(state, None)
    # log of an average of 2,000 weights of bounded variance.
    assert found["importance_log_z"] == pytest.approx(truth["true_log_z"], abs=0.15)
    assert found["elbo"] < found["importance_log_z"]
    assert found == sampled.evaluate(state, None)
    later = state._replace(step=state.step + 1)
    assert found["elbo"] != sampled.evaluate(later, None)["elbo"]

    states, weights, target = sampled.distributions(state)
    assert target is None
    frequency, probability = np.zeros((4, 4)), np.zeros((4, 4))
    np.add.at(frequency, tuple(states.position.T), weights)
    expected = exact.distributions(state)
    np.add.at(probability, tuple(expected.states.position.T), expected.learned)
    error = np.sqrt(probability * (1 - probability) / base.NUM_SAMPLES)
    assert (np.abs(frequency - probability) < 5 * error).all()


@pytest.mark.slow
def test_an_evaluation_samples_as_many_as_it_is_told(key):
    config, gfn = described(side=64, num_dims=4, evaluation_samples=24)
    evaluator = make_evaluator(config, gfn)
    states, weights, _ = evaluator.distributions(gfn.init(key))
    assert states.position.shape == (24, 4)
    np.testing.assert_allclose(weights, 1 / 24)
    longer = make_evaluator(described(side=64, num_dims=4)[0], gfn)
    assert longer.num_samples == base.NUM_SAMPLES == Training.evaluation_samples
    with pytest.raises(ValueError, match="evaluation_samples must be at least 1"):
        Training(evaluation_samples=0)


def test_a_total_variation_that_cannot_be_computed_cannot_be_waited_for():
    config, gfn = described(side=64, num_dims=4, stop_at_tv=0.1)
    with pytest.raises(UsageError, match="stop_at_tv needs exact evaluation"):
        make_evaluator(config, gfn)
    patient = dataclasses.replace(config, training=Training())
    assert isinstance(make_evaluator(patient, gfn), SampledEvaluator)


@pytest.mark.long
def test_errors_of_marginals_exact_and_sampled(key):
    config = configure("dag", num_nodes=3, batch_size=4, hidden_sizes=(8,), objective="tb")
    gfn = build(config)
    state = gfn.init(key)
    evaluator = make_evaluator(config, gfn)
    states, learned, target = evaluator.distributions(state)
    expected = np.abs(np.einsum("n,nuv->uv", learned - target, states.adjacency)).max()
    assert evaluator.evaluate(state, None)["part_error"] == pytest.approx(expected, abs=1e-5)

    env = additive_set(np.array([0.0, 1.0, -1.0]), 2)
    gfn = GFlowNet(env, mlp_policy(env, (8,)), DetailedBalance())
    found = SampledEvaluator(gfn, env.target()).evaluate(gfn.init(key), None)
    weights = np.exp([0.0, -1.0, 1.0])
    pairs = np.array([weights[0] * weights[1], weights[0] * weights[2], weights[1] * weights[2]])
    assert found["true_log_z"] == pytest.approx(np.log(pairs.sum()), abs=1e-6)
    # A new network is close to uniform: each element in two sets out of three.
    marginals = np.array([pairs[0] + pairs[1], pairs[0] + pairs[2], pairs[1] + pairs[2]])
    expected = np.abs(2 / 3 - marginals / pairs.sum()).max()
    assert found["part_error"] == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_learned_couplings_are_compared_with_the_truth_and_with_data(key):
    sizes = {"side": 2, "num_data": 40, "batch_size": 4, "hidden_sizes": (8,)}
    config = configure("ising-learned", **sizes)
    model = build(config)
    evaluator = make_evaluator(config, model)
    state = model.init(key)
    # Couplings start at 0; the truth is .2 in 8 of 16 places.
    found = evaluator.evaluate(state, None)
    assert found["neg_log_rmse"] == pytest.approx(-np.log(0.2 * np.sqrt(0.5)), abs=1e-5)
    assert {"elbo", "log_z"} <= found.keys()
    learned, target = evaluator.views(state)
    np.testing.assert_array_equal(learned[0].values, np.zeros((4, 4)))
    np.testing.assert_allclose(target[0].values, model.truth.couplings)
    up = (np.asarray(model.data.spins) == 1).sum(axis=1)
    np.testing.assert_allclose(target[1].values, np.bincount(up, minlength=5) / 40, atol=1e-6)
    waiting = dataclasses.replace(config.training, stop_at_tv=0.1)
    with pytest.raises(UsageError, match="stop_at_tv needs exact evaluation"):
        make_evaluator(dataclasses.replace(config, training=waiting), model)


@pytest.mark.long
def test_chains_are_compared_with_the_target_by_what_they_visit(key):
    config, chains = described(side=3, objective="mh")
    evaluator = make_evaluator(config, chains)
    assert isinstance(evaluator, ChainEvaluator)
    state = init(chains, key)
    found = evaluator.evaluate(state, None)
    # The picture has draws of its own.
    assert evaluator.distributions(state).target is None
    keys = base.evaluation_keys(state)
    visited = terminal_states(chains.sample(state, keys.metrics, evaluator.num_samples))
    frequency = np.zeros((3, 3))
    np.add.at(frequency, tuple(np.asarray(visited.position).T), 1 / evaluator.num_samples)
    distance = np.abs(frequency - target_of(3)[1]).sum() / 2
    assert found["sampled_tv"] == pytest.approx(distance, abs=1e-5)
    assert found["noise_floor"] < found["sampled_tv"] < 0.1  # the grid is small: chains mix
    assert np.isnan(found["log_z"])
    assert found == pytest.approx(evaluator.evaluate(state, None), nan_ok=True)

    config = configure("set", objective="mh", batch_size=4)
    chains = build(config)
    state = init(chains, key)
    evaluator = make_evaluator(config, chains)
    found = evaluator.evaluate(state, None)
    keys = base.evaluation_keys(state)
    visited = terminal_states(chains.sample(state, keys.metrics, evaluator.num_samples))
    members = np.asarray(visited.members)
    expected = np.abs(members.mean(axis=0) - chains.proposal.env.target().parts).max()
    assert found["part_error"] == pytest.approx(expected, abs=1e-5)
    assert found["true_log_z"] == pytest.approx(11.892389, abs=1e-5)
    assert "sampled_tv" not in found


def test_samples_of_a_run_on_windows_are_scored_whole(key):
    env = additive_set(np.array([0.0, 1.0, -1.0]), 2)
    model = env, mlp_policy(env, (8,)), DetailedBalance()
    found = [
        SampledEvaluator(gfn, env.target()).evaluate(gfn.init(key), None)
        for gfn in (GFlowNet(*model), GFlowNet(*model, sampler=Windows(1)))
    ]
    assert found[0] == pytest.approx(found[1])


def test_several_conditions_are_evaluated_one_by_one(key):
    config, gfn = described(side=4, condition="temperature", objective="tb-flow")
    state = gfn.init(key)
    evaluator = make_evaluator(config, gfn)
    assert isinstance(evaluator, ConditionalEvaluator)
    found = evaluator.evaluate(state, None)
    # A new network hardly sees its condition; the distance to the target depends on it.
    distances = []
    for share in (0.5, 0.05, 0.95):
        beta = 0.5 * 4**share
        target = target_of(4)[0] ** beta
        learned = evaluator.distributions(state).learned
        index = tuple(evaluator.distributions(state).states.inner.position.T)
        distances.append(np.abs(learned - (target / target.sum())[index]).sum() / 2)
    assert found["total_variation"] == pytest.approx(np.mean(distances), abs=0.01)
    assert found["worst_total_variation"] == pytest.approx(max(distances), abs=0.01)
    assert max(distances) > np.mean(distances) + 0.05
