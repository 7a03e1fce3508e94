"""Training where states come again: what is cut is reported, counts rightly, or is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hyperparameters,
    SubTrajectoryBalance,
    TrajectoryBalance,
    UniformBackward,
    tabular_policy,
)
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.algorithms.markov_chains import metropolis_hastings
from gfnjax.algorithms.teacher import Teacher
from gfnjax.envs.cyclic_hypergrid import CyclicHypergrid, UniformSourceHypergrid
from gfnjax.envs.permutations import Permutations
from gfnjax.envs.tabular import tabular_graph
from gfnjax.learning import scores as learning
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives import EntropyPPO, LogPartitionVariance, MaximumLikelihood, PolicyGradient
from gfnjax.objectives.cyclic_balance import RegularisedDetailedBalance
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.objectives.modified_subtrajectory_balance import ModifiedSubTrajectoryBalance
from gfnjax.policies.backward import MaximumEntropyBackward
from gfnjax.policies.likelihood import LikelihoodBackward
from gfnjax.replay import Fifo
from gfnjax.samplers import Mixed, Windows
from gfnjax.samplers.back_and_forth import back_and_forth
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.testing import check_objective, exact_optimum

# 0 -> 1 -> 2 -> {3, 4} with 2 -> 1: a uniform policy takes 2 k + 3 steps in (2/3) / 3^k of all.
AROUND = tabular_graph([[1], [2], [1, 3, 4], [], []], [0.0, 0.0, 0.0, 1.0, -1.0], 5)


def gflownet(env=AROUND, objective=None, **given):
    return GFlowNet(env, tabular_policy(env), objective or DetailedBalance(), **given)


@pytest.fixture(scope="module")
def uniform():
    gfn = gflownet()
    params = gfn.model.init(jax.random.key(0), jax.random.key(1))
    return gfn, params, gfn.sample(params, jax.random.key(2), 2_000)


def test_rollouts_are_cut_and_say_so(uniform):
    _, _, paths = uniform
    assert set(np.unique(paths.length)) == {3, 5}
    np.testing.assert_allclose(paths.cut.mean(), 1 / 9, atol=0.02)
    ended = np.asarray(paths.states.index[:, -1]) >= 3
    np.testing.assert_array_equal(ended, ~np.asarray(paths.cut))


def test_transitions_of_what_was_cut_are_scored_to_the_last(uniform):
    gfn, params, paths = uniform
    flow = jnp.array([0.5, 1.0, 2.0, 0.0, 0.0])
    table = params.policy["params"] | {"log_flow": flow}
    params = params._replace(policy={"params": table})
    scores = gfn.score(params, paths)
    row = int(np.argmax(paths.cut))
    np.testing.assert_allclose(scores.log_flow[row], [0.5, 1.0, 2.0, 1.0, 2.0, 1.0])
    residuals = DetailedBalance().residuals(jax.tree.map(lambda x: x[row], scores))
    np.testing.assert_array_equal(residuals.weights, np.ones(5))
    # log P_F: 0, 0, log 1/3, 0, log 1/3; log P_B: log 1/2 into 1, 0 into 2.
    third, half = np.log(1 / 3), np.log(1 / 2)
    by_hand = [-0.5 - half, -1.0, 1.0 + third - half, -1.0, 1.0 + third - half]
    np.testing.assert_allclose(residuals.values, by_hand, rtol=1e-5)
    assert not scores.whole[row]
    assert scores.from_source.all()


@pytest.mark.long
def test_trajectory_balance_leaves_out_what_was_cut(uniform):
    _, params, paths = uniform
    gfn = gflownet(objective=TrajectoryBalance())
    ended = np.flatnonzero(~np.asarray(paths.cut))
    alone = jax.tree.map(lambda x: x[ended], paths)
    np.testing.assert_allclose(gfn.loss(params, paths), gfn.loss(params, alone), rtol=1e-5)
    grads = jax.grad(gfn.loss)(params, paths), jax.grad(gfn.loss)(params, alone)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), *grads)
    given = gfn.model, gfn.objective, gfn.regression, params, paths
    _, _, errors = learning.loss(*given, key=None)
    np.testing.assert_array_equal(np.asarray(errors == 0), np.asarray(paths.cut))
    cut = jax.tree.map(lambda x: x[np.asarray(paths.cut)], paths)
    assert gfn.loss(params, cut) == 0


def test_backward_walks_that_are_cut_do_not_count_as_whole(uniform):
    gfn, params, _ = uniform
    ends = AROUND.state_at(jnp.full(500, 3, jnp.int32))
    paths = gfn.sample_backward(params, jax.random.key(3), ends)
    # From 1 half of the walks go on to s_0: two steps more for each other one.
    np.testing.assert_allclose(paths.cut.mean(), 1 / 4, atol=0.06)
    scores = gfn.score(params, paths)
    np.testing.assert_array_equal(scores.from_source, ~paths.cut)
    assert scores.complete.all()
    tb = gflownet(objective=TrajectoryBalance())
    alone = jax.tree.map(lambda x: x[~np.asarray(paths.cut)], paths)
    np.testing.assert_allclose(tb.loss(params, paths), tb.loss(params, alone), rtol=1e-5)


@pytest.mark.long
def test_the_share_that_was_cut_is_in_the_history(key):
    state, history = gfnjax.train(gflownet(batch_size=200), key, 2, chunk_size=2)
    np.testing.assert_allclose(history.info.cut[0], 1 / 9, atol=0.08)
    assert np.isfinite(history.info.log_reward).all()
    np.testing.assert_allclose(history.info.log_z[-1], gflownet().log_z(state.params), rtol=1e-5)
    _, history = gfnjax.train(gflownet(sampler=Windows(2)), key, 2, chunk_size=2)
    assert history.info.cut is None
    _, history = gfnjax.train(gflownet(gfnjax.Hypergrid(2, 3)), key, 1)
    assert history.info.cut is None


def test_no_trajectory_that_ends_is_no_failure(key):
    env = tabular_graph([[1], [2], [3, 1], []], [0.0] * 4, 1)
    state, history = gfnjax.train(gflownet(env, TrajectoryBalance()), key, 2)
    np.testing.assert_array_equal(history.info.cut, 1.0)
    np.testing.assert_array_equal(history.info.loss, 0.0)
    assert state.params.log_z == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [SubTrajectoryBalance(), RegularisedDetailedBalance(0.0)],
    ids=["subtb", "reg-db"],
)
def test_learns_the_target_from_trajectories_that_are_mostly_cut(objective, key):
    env = AROUND.replace(max_steps=3)
    gfn = gflownet(env, objective, backward=UniformBackward(), batch_size=64)
    gfn = gfn.replace(hyperparameters=Hyperparameters(0.03, 0.03))
    state, _ = gfnjax.train(gfn, key, 600)
    graph = build_graph(env)
    table = exact.policy_table(gfn.model, state.params)
    found = exact.evaluate(graph, table.log_pf, gfn.log_z(state.params))
    assert found.total_variation < 0.02
    assert found.log_z_error < 0.05


@pytest.mark.parametrize(
    "objective",
    [
        LogPartitionVariance(),
        MaximumLikelihood(),
        PolicyGradient(),
        EntropyPPO(),
        ModifiedSubTrajectoryBalance(),
    ],
)
def test_objectives_of_whole_trajectories_refuse_cycles(objective):
    name = type(objective).__name__
    words = f"{name} needs an environment without cycles, TabularGraph has some.* use Detailed"
    with pytest.raises(ValueError, match=words):
        gflownet(objective=objective, backward=UniformBackward())


def test_another_way_than_one_that_is_refused_is_named():
    env = Permutations(3)
    message = r"s_0 of this Permutations may not stop: use RegularisedDetailedBalance\(\)$"
    with pytest.raises(ValueError, match=message):
        GFlowNet(env, tabular_policy(env), ModifiedDetailedBalance())
    GFlowNet(env, tabular_policy(env), RegularisedDetailedBalance())


def test_backward_policies_that_have_no_meaning_are_refused():
    for backward in (
        MaximumEntropyBackward(jnp.zeros(5)),
        LikelihoodBackward(tabular_policy(AROUND)),
    ):
        with pytest.raises(ValueError, match="needs an environment without cycles"):
            gflownet(backward=backward)
    env = UniformSourceHypergrid(2, 3)
    with pytest.raises(ValueError, match="UniformBackward cannot be fixed where the first step is"):
        gflownet(env, backward=UniformBackward())
    gflownet(CyclicHypergrid(2, 3), backward=UniformBackward())


def test_algorithms_that_count_on_an_end_refuse_cycles():
    refused = pytest.raises(ValueError, match="needs an environment without cycles")
    with refused:
        Teacher(gflownet(), tabular_policy(AROUND))
    with refused:
        metropolis_hastings(AROUND, 4, 2)
    with refused:
        EnergyGFlowNet(gflownet(), AROUND, None)


@pytest.mark.long
def test_log_z_is_the_flow_of_a_random_source(key):
    env = Permutations(3)
    gfn = gflownet(env)
    params = gfn.init(key).params._replace(log_z=jnp.asarray(1.25))
    paths = gfn.sample(params, jax.random.key(1), 5)
    scores = gfn.score(params, paths)
    np.testing.assert_allclose(scores.log_flow[:, 0], 1.25)
    np.testing.assert_allclose(scores.log_pf[:, 0], -np.log(6), rtol=1e-6)
    np.testing.assert_allclose(gfn.log_z(params), 1.25)
    grads = jax.grad(gfn.loss)(params, paths)
    residual = scores.log_flow[:, :-1] + scores.log_pf - scores.log_flow[:, 1:] - scores.log_pb
    expected = 2 * float(residual[:, 0].sum()) / int(paths.length.sum())
    np.testing.assert_allclose(grads.log_z, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [TrajectoryBalance(), DetailedBalance()])
def test_check_objective_takes_environments_with_cycles(objective, key):
    check_objective(objective, key, AROUND)


def test_the_start_of_log_z_is_near(key):
    # R / (1/6) is 1/E of the weight of one that stops at once: log Z to within a nat.
    gfn = gflownet(Permutations(3), TrajectoryBalance(), batch_size=256)
    params = gfn.init(key).params
    assert abs(float(params.log_z) - gfn.env.target().log_z) < 0.5
    np.testing.assert_allclose(params.log_flow_start, params.log_z - np.log(6), rtol=1e-5)


def test_weights_of_what_was_cut_are_zero(x64):
    params = exact_optimum(AROUND, jax.random.key(0))
    gfn = gflownet(objective=TrajectoryBalance())
    paths = gfn.sample(params, jax.random.key(1), 4_000)
    weights = sampled.log_weights(gfn.model, params, paths)
    np.testing.assert_array_equal(np.isneginf(weights), paths.cut)
    # At the optimum all others are Z: the mean is Z less the share of longer trajectories.
    share = 1 - float(paths.cut.mean())
    np.testing.assert_allclose(weights[~np.asarray(paths.cut)], params.log_z, rtol=1e-6)
    lower = sampled.mean_log_weight(gfn.model, weights)
    np.testing.assert_allclose(lower, params.log_z + np.log(share), rtol=1e-6)
    ends = AROUND.state_at(jnp.full(300, 3, jnp.int32))
    upper = sampled.eubo(gfn.model, params, jax.random.key(2), ends)
    assert upper > params.log_z
    found = sampled.log_likelihood(gfn.model, params, jax.random.key(3), ends, 40)
    back = gfn.sample_backward(params, jax.random.key(4), ends)
    truth = float(exact.target_distribution(build_graph(AROUND))[0][3])
    truth += np.log(1 - float(back.cut.mean()))
    np.testing.assert_allclose(np.logaddexp.reduce(found) - np.log(300), truth, atol=0.1)


@pytest.mark.slow
def test_chains_refuse_what_is_cut_and_keep_the_target(key):
    env = AROUND.replace(max_steps=7)
    gfn = gflownet(env)
    params = gfn.model.init(key, jax.random.key(1))
    states = env.state_at(jnp.tile(jnp.array([3, 4], jnp.int32), 1_000))
    move = jax.jit(lambda key, states: back_and_forth(gfn.model, params, key, states, 3))
    for step in jax.random.split(jax.random.key(2), 12):
        found = move(step, states)
        states = found.states
        assert (np.asarray(states.index) >= 3).all()
        assert not (found.accepted & found.trajectories.cut).any()
    share = float((states.index == 3).mean())
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-2.0)), atol=0.04)


@pytest.mark.long
@pytest.mark.parametrize("env", [AROUND, UniformSourceHypergrid(2, 3, max_steps=12)])
def test_replayed_and_searched_trajectories_are_what_they_were(env, key):
    sampler = Mixed(Fifo(64), local_search=LocalSearch(1), search_share=0.25, replay_share=0.5)
    gfn = gflownet(env, sampler=sampler, batch_size=32)
    state = gfn.init(key)
    for _ in range(4):
        state, info = jax.jit(gfn.step)(state)
    assert np.isfinite(info.loss)
    batch, _ = gfn.draw(state)
    paths = batch.trajectories
    live = np.arange(env.max_steps)[None] < np.asarray(paths.length)[:, None]
    before = jax.tree.map(lambda x: x[:, :-1], paths.states)
    after = jax.vmap(jax.vmap(env.step))(before, paths.actions)
    allowed = jax.vmap(jax.vmap(env.forward_mask))(before)
    allowed = np.take_along_axis(np.asarray(allowed), np.asarray(paths.actions)[..., None], -1)
    assert allowed[..., 0][live].all()
    for found, stepped in zip(jax.tree.leaves(paths.states), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(np.asarray(found)[:, 1:][live], np.asarray(stepped)[live])
