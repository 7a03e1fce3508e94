"""`Model`: what samples and scores, without training, alone and as the part of a `GFlowNet`."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_trajectories

import gfnjax
from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hypergrid,
    LearnedBackward,
    MaximumEntropyBackward,
    Params,
    TrajectoryBalance,
    UniformBackward,
    mlp_policy,
    tabular_policy,
    terminal_states,
)
from gfnjax.metrics import exact, state_graph
from gfnjax.model import Model
from gfnjax.objectives import RelativeTrajectoryBalance
from gfnjax.policies import (
    LikelihoodBackward,
    causal_transformer_policy,
    ensemble_mlp_policy,
    ensemble_tabular_policy,
)
from gfnjax.policies.base import Behaviour, FrozenPolicy
from gfnjax.testing import diamond

ENV = diamond()
POLICY = tabular_policy(ENV)
GRID = Hypergrid(2, 4)
NETWORK = mlp_policy(GRID, (8,))


def table(**entries):
    """Parameters of the diamond's table: P_F(1 | 0) = 3/4, P_F(3 | 1) = 1/5, P_B(1 | 3) = 2/3."""
    given = {
        "forward_logits": jnp.log(jnp.array([[3.0, 1], [1, 4], [6, 9], [9, 9], [9, 9]])),
        "backward_logits": jnp.log(jnp.array([[9.0, 9], [2, 9], [2, 9], [2, 1], [7, 9]])),
        "log_flow": jnp.log(jnp.array([7.0, 5, 3, 99, 99])),
    }
    return Params({"params": given | entries})


# ---------------------------------------------------------------- by hand


def test_scores_of_the_diamond_by_hand():
    paths = all_trajectories(ENV)  # 0-1-3, 0-1-4, 0-2-3
    scores = Model(ENV, POLICY).score(table(), paths)
    expected = np.log([[3 / 4, 1 / 5], [3 / 4, 4 / 5], [1 / 4, 1]])
    np.testing.assert_allclose(scores.log_pf, expected, atol=1e-6)
    np.testing.assert_allclose(scores.log_pb, np.log([[1, 2 / 3], [1, 1], [1, 1 / 3]]), atol=1e-6)
    # At the end the flow is the reward.
    flows = np.log([[7, 5, 1], [7, 5, 2], [7, 3, 1]])
    np.testing.assert_allclose(scores.log_flow, flows, atol=1e-6)
    np.testing.assert_allclose(scores.log_z, 0)
    uniform = Model(ENV, POLICY, UniformBackward()).score(table(), paths)
    np.testing.assert_allclose(uniform.log_pb[:, 1], np.log([1 / 2, 1, 1 / 2]), atol=1e-6)


def test_log_z_is_the_flow_of_the_source(key):
    model = Model(ENV, POLICY)
    np.testing.assert_allclose(model.log_z(table()), np.log(7), rtol=1e-6)
    # Not the number that is learned; where flows started counts.
    params = table()._replace(log_z=jnp.float32(4.0), log_flow_start=jnp.float32(0.5))
    np.testing.assert_allclose(model.log_z(params), np.log(7) + 0.5, rtol=1e-6)
    paths = all_trajectories(ENV)
    moved = model.score(params, paths)
    np.testing.assert_allclose(moved.log_flow[:, 0], np.log(7) + 0.5, rtol=1e-6)
    np.testing.assert_allclose(moved.log_flow[:, 2], np.log([1, 2, 1]), atol=1e-6)
    np.testing.assert_allclose(moved.log_z, 4.0)
    np.testing.assert_allclose(
        exact.policy_table(model, params).log_flow[:3], np.log([7, 5, 3]) + 0.5, rtol=1e-6
    )
    # An objective whose log Z is a flow says the same, one that learns a number does not.
    for objective in (DetailedBalance(), TrajectoryBalance("flow")):
        gfn = GFlowNet(ENV, POLICY, objective)
        np.testing.assert_allclose(gfn.log_z(params), np.log(7) + 0.5, rtol=1e-6)
    assert float(GFlowNet(ENV, POLICY, TrajectoryBalance()).log_z(params)) == 4.0


def test_the_flow_into_a_state_by_hand():
    # Into 1: 7 x 3/4, into 2: 7 x 1/4; into 3: 5 x 1/5 + 3 x 1, into 4: 5 x 4/5.
    needs = frozenset({"log_inflow"})
    scores = Model(ENV, POLICY).score(table(), all_trajectories(ENV), needs=needs)
    expected = np.log([[1, 7 * 3 / 4, 4], [1, 7 * 3 / 4, 4], [1, 7 / 4, 4]])
    np.testing.assert_allclose(scores.log_inflow, expected, atol=1e-5)


def test_a_prior_by_hand():
    # A prior of a table of zeros: 1/2 for every choice.
    zeros = jax.tree.map(jnp.zeros_like, table().policy)
    model = Model(ENV, POLICY, prior=FrozenPolicy(POLICY, zeros))
    needs = frozenset({"log_prior"})
    scores = model.score(table(), all_trajectories(ENV), needs=needs)
    expected = np.log([[1 / 2, 1 / 2], [1 / 2, 1 / 2], [1 / 2, 1]])
    np.testing.assert_allclose(scores.log_prior, expected, atol=1e-6)
    assert model.score(table(), all_trajectories(ENV)).log_prior is None


def test_both_ways_of_sampling_follow_the_table(key):
    model, n = Model(ENV, POLICY), 4000
    index = np.asarray(model.sample(table(), key, n).states.index)
    five_errors = 5 * np.sqrt(1 / 4 / n)
    assert abs((index[:, 1] == 1).mean() - 3 / 4) < five_errors
    assert abs((index[:, 2] == 4).mean() - 3 / 4 * 4 / 5) < five_errors
    ends = ENV.initial_state()._replace(index=jnp.full(n, 3, jnp.int32))
    back = np.asarray(model.sample_backward(table(), key, ends).states.index)
    assert (back[:, [0, 2]] == [0, 3]).all()
    assert abs((back[:, 1] == 1).mean() - 2 / 3) < five_errors


def test_a_behaviour_acts_in_the_policys_place(key):
    def always_the_second(state, output):
        return jnp.where(
            ENV.forward_mask(state)[1], jnp.array([-50.0, 50.0]), output.forward_logits
        )

    model = Model(ENV, POLICY)
    behaviour = Behaviour(always_the_second, frozenset())
    trajectories, rows = model.explore(table(), key, 16, behaviour)
    np.testing.assert_array_equal(trajectories.states.index, [[0, 2, 3]] * 16)
    # What is recorded is what the policy says, not what acted: 1/4 to go to the second child.
    np.testing.assert_allclose(rows.log_pf[:, 0], np.log(1 / 4), rtol=1e-5)
    scores = model.score(table(), trajectories)
    np.testing.assert_allclose(rows.log_pf[:, :2], scores.log_pf[:, :2], rtol=1e-5, atol=1e-6)
    nothing = model.explore(table(), key, 16, Behaviour())[1]
    assert nothing is None


# ---------------------------------------------------------------- as part of a GFlowNet

PARTS = {
    "plain": {},
    "uniform": {"backward": UniformBackward()},
    "trained": {"backward": LikelihoodBackward(NETWORK, target_rate=0.5)},
    "ensemble": {"policy": ensemble_mlp_policy(GRID, 2, (8,))},
    "chunks": {"chunk_size": 5},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_gflownet_samples_and_scores_as_its_model_does(name, key):
    parts = {"env": GRID, "policy": NETWORK} | PARTS[name]
    model = Model(**parts)
    gfn = GFlowNet(**parts, objective=TrajectoryBalance(), log_z_init=0.0)
    assert gfn.model == model
    params = gfn.init(key).params
    ours, theirs = model.sample(params, key, 8), gfn.sample(params, key, 8)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    ends = terminal_states(ours)
    back = [g.sample_backward(params, key, ends) for g in (model, gfn)]
    jax.tree.map(np.testing.assert_array_equal, *back)
    scores, expected = model.score(params, ours), gfn.score(params, ours)
    for x, y in zip(jax.tree.leaves(scores), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    dense = model.score(params, ours, dense=True)
    np.testing.assert_allclose(dense.log_pf, scores.log_pf, rtol=1e-5, atol=1e-5)


def test_untrained_parameters_are_those_of_a_gflownet(key):
    gfn = GFlowNet(GRID, NETWORK, TrajectoryBalance(), LikelihoodBackward(NETWORK))
    keys = gfnjax.state.InitKeys(*jax.random.split(key, 6))
    params, expected = gfn.model.init(keys.policy, keys.backward), gfn.init(key).params
    jax.tree.map(np.testing.assert_array_equal, params.policy, expected.policy)
    jax.tree.map(np.testing.assert_array_equal, params.backward, expected.backward)
    assert float(params.log_z) == 0
    assert params.log_flow_start is None


def test_the_prior_is_part_of_the_model_where_the_objective_is_relative_to_it(key):
    prior = FrozenPolicy(POLICY, table().policy)
    given = {"env": ENV, "policy": POLICY, "prior": prior}
    assert GFlowNet(**given, objective=RelativeTrajectoryBalance()).model.prior == prior
    assert GFlowNet(**given, objective=TrajectoryBalance()).model.prior is None
    gfn = GFlowNet(**given, objective=RelativeTrajectoryBalance())
    ours = gfn.model.score(table(), all_trajectories(ENV), needs=frozenset({"log_prior"}))
    theirs = gfn.score(table(), all_trajectories(ENV))
    np.testing.assert_array_equal(ours.log_prior, theirs.log_prior)


def test_inflow_is_that_of_a_gflownet():
    params = table()._replace(log_flow_start=jnp.float32(0.5))
    gfn = GFlowNet(ENV, POLICY, FlowMatching())
    ours = gfn.model.score(params, all_trajectories(ENV), needs=frozenset({"log_inflow"}))
    theirs = gfn.score(params, all_trajectories(ENV))
    np.testing.assert_allclose(ours.log_inflow, theirs.log_inflow, rtol=1e-6)


# ---------------------------------------------------------------- what does not fit


class Rules:
    """An environment that is no pytree."""


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"env": Rules()}, TypeError, "env must be a pytree: decorate Rules with"),
        ({"policy": "mlp"}, TypeError, "policy must be a gfnjax.Policy .*, got str"),
        ({"policy": gfnjax.Policy}, TypeError, "policy must be a gfnjax.Policy .*, got type"),
        ({"backward": "uniform"}, TypeError, "backward must be a backward policy such as"),
        ({"backward": UniformBackward}, TypeError, "backward must be a backward policy such as"),
        ({"prior": NETWORK}, TypeError, r"prior must be a FrozenPolicy\(policy, params\), got P"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1 or None, got 0"),
        ({"chunk_size": 2.5}, (TypeError, ValueError), "chunk_size"),
        ({"env": Hypergrid(2, 5)}, ValueError, "^policy was made for an environment with num_f"),
        (
            {"backward": LikelihoodBackward(mlp_policy(Hypergrid(2, 5), (4,)))},
            ValueError,
            "^backward was made for an environment with num_features = 10",
        ),
        (
            {"backward": MaximumEntropyBackward(jnp.zeros(5))},
            ValueError,
            "^backward was made for an environment with num_states = 5",
        ),
        (
            {"prior": FrozenPolicy(mlp_policy(Hypergrid(2, 5), (4,)), None)},
            ValueError,
            "^prior was made for an environment with num_features = 10",
        ),
        (
            {"policy": causal_transformer_policy(gfnjax.envs.left_to_right_bits(8, 2, 2))},
            ValueError,
            "a CausalPolicy needs an environment with one path to each state",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(parts, error, message):
    given = {"env": GRID, "policy": NETWORK}
    with pytest.raises(error, match=message):
        Model(**given | parts)
    with pytest.raises(error, match=message):
        Model(**given).replace(**parts)
    with pytest.raises(error, match=message):
        GFlowNet(**given | parts, objective=TrajectoryBalance())


def test_outputs_of_another_shape_are_named(key):
    def apply(params, observation):
        return gfnjax.PolicyOutput(jnp.zeros(4), jnp.zeros(3), jnp.zeros(()))

    model = Model(GRID, gfnjax.Policy(lambda key, observation: {}, apply))
    with pytest.raises(ValueError, match=r"forward_logits of shape \(3,\) .* got \(4,\)"):
        model.init(key, key)


def test_a_key_and_a_number_of_samples_are_checked():
    model = Model(ENV, POLICY)
    with pytest.raises(TypeError, match="key"):
        model.sample(table(), 0, 4)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        model.sample(table(), jax.random.key(0), 0)


# ---------------------------------------------------------------- a pytree


def test_jax_rebuilds_it_without_checks():
    model = Model(ENV, POLICY, MaximumEntropyBackward(jnp.zeros(5)))
    leaves, structure = jax.tree.flatten(model)
    assert leaves
    for stand_in in (object(), "x", 0, None, jax.ShapeDtypeStruct((), float)):
        again = jax.tree.unflatten(structure, [stand_in] * len(leaves))
        assert type(again) is Model
        assert again.env.log_rewards is stand_in
    assert jax.eval_shape(lambda m: m, model).env.log_rewards.shape == (5,)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.unflatten(structure, leaves), model)


def test_compiled_it_is_an_argument_like_any_other(key):
    traces = []

    @jax.jit
    def call(model, params):
        traces.append(1)
        trajectories = model.sample(params, key, 8)
        return model.score(params, trajectories).log_reward, trajectories

    found, paths = call(Model(ENV, POLICY), table())
    moved, _ = call(Model(ENV.replace(log_rewards=ENV.log_rewards + 1), POLICY), table())
    np.testing.assert_allclose(moved, found + 1, rtol=1e-6)
    assert len(traces) == 1
    eager = Model(ENV, POLICY).sample(table(), key, 8)
    np.testing.assert_array_equal(eager.states.index, paths.states.index)


def test_vmaps_over_parameters_and_over_rewards(key):
    model, paths = Model(ENV, POLICY), all_trajectories(ENV)
    flows = jnp.log(jnp.array([[7.0, 5, 3, 9, 9], [2, 1, 1, 9, 9]]))
    tables = jax.vmap(lambda flow: table(log_flow=flow).policy)(flows)
    many = Params(tables, jnp.zeros(2))
    np.testing.assert_allclose(jax.vmap(model.log_z)(many), np.log([7, 2]), rtol=1e-6)
    scores = jax.vmap(model.score, (0, None))(many, paths)
    assert scores.log_pf.shape == (2, 3, 2)
    np.testing.assert_allclose(scores.log_flow[1, 0, :2], np.log([2, 1]), atol=1e-6)
    samples = jax.vmap(model.sample, (0, 0, None))(many, jax.random.split(key, 2), 4)
    assert samples.actions.shape == (2, 4, 2)

    def worth(shift):
        moved = model.replace(env=ENV.replace(log_rewards=ENV.log_rewards + shift))
        return moved.sample(table(), jax.random.key(1), 4).log_reward

    by_hand = jax.vmap(worth)(jnp.array([0.0, 10.0]))
    np.testing.assert_allclose(by_hand[1], by_hand[0] + 10, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Model(ENV, tabular_policy(ENV)),
        lambda: Model(GRID, mlp_policy(GRID, (8,)), UniformBackward(), chunk_size=7),
        lambda: Model(ENV, ensemble_tabular_policy(ENV, 2)),
        lambda: Model(ENV, POLICY, prior=FrozenPolicy(POLICY, table().policy)),
        lambda: Model(GRID, NETWORK, LikelihoodBackward(NETWORK)),
        lambda: GFlowNet(GRID, mlp_policy(GRID, (8,)), TrajectoryBalance()).model,
    ],
    ids=["table", "chunks", "ensemble", "prior", "trained", "of-a-gflownet"],
)
def test_pickles_and_equality(make):
    model = make()
    for other in (make(), pickle.loads(pickle.dumps(model))):
        assert (model == other) is True
        assert hash(model) == hash(other)
    assert (model == Model(ENV, POLICY, MaximumEntropyBackward(jnp.zeros(5)))) is False
    assert (model == model.replace(chunk_size=3)) is False


def test_equal_but_for_the_rewards_is_not_equal():
    shifted = ENV.replace(log_rewards=ENV.log_rewards + 1)
    assert Model(ENV, POLICY) != Model(shifted, POLICY)
    assert Model(ENV, POLICY, LearnedBackward()) == Model(ENV, POLICY)
    assert Model(ENV, POLICY) != GFlowNet(ENV, POLICY, TrajectoryBalance())


@pytest.mark.parametrize(
    ("batch", "given", "expected"), [(1, None, 3), (100, None, 300), (2000, None, 1000), (9, 5, 5)]
)
def test_all_rows_at_once_or_in_equal_chunks(batch, given, expected):
    paths = jax.tree.map(lambda x: jnp.repeat(x[:1], batch, axis=0), all_trajectories(ENV))
    assert Model(ENV, POLICY, chunk_size=given).chunk_size_for(paths) == expected


def test_exact_metrics_take_a_model(key):
    # P(3) = 3/4 x 1/5 + 1/4, P(4) = 3/4 x 4/5.
    found = exact.policy_table(Model(ENV, POLICY), table())
    graph = state_graph.build_graph(ENV)
    ends = np.exp(exact.terminating_distribution(graph, found.log_pf))
    np.testing.assert_allclose(ends[3:], [0.4, 0.6], rtol=1e-6)
