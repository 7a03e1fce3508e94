"""Log Z starts at the estimate of a batch of the untrained policy, flows there or at its log R."""

import dataclasses

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
    Hyperparameters,
    SubTrajectoryBalance,
    TargetDetailedBalance,
    TrajectoryBalance,
    UniformBackward,
    mlp_policy,
    random_dag,
    tabular_policy,
)
from gfnjax.algorithms import RewardPPO, Teacher
from gfnjax.learning import starting
from gfnjax.metrics import exact, state_graph
from gfnjax.objectives import (
    LEDGFN,
    GAFlowNet,
    PolicyGradient,
    RelativeTrajectoryBalance,
    SoftDQN,
    WeightedDetailedBalance,
)
from gfnjax.policies.base import FrozenPolicy
from gfnjax.policies.ensemble import ensemble_mlp_policy
from gfnjax.testing import diamond

ENV = diamond()
POLICY = tabular_policy(ENV)
TB, DB = TrajectoryBalance(), DetailedBalance()
FL_TB = gfnjax.ForwardLooking(TrajectoryBalance(log_z="flow"))
GRID = Hypergrid(2, 5)
# Its rewards are all near exp(-9), log Z is nearer to -6.
FAR = dataclasses.replace(GRID, reward=lambda x, side: -9.0 + 0.1 * x.sum().astype(float))
FAR_LOG_R = -9.0, -8.2


def describe(objective=TB, env=ENV, policy=POLICY, **options):
    return GFlowNet(env, policy, objective, backward=UniformBackward(), **options)


@pytest.mark.slow
def test_the_estimate_by_hand(key):
    # Uniform policies: log R + sum log P_B - sum log P_F is log 2 by 1 to 3, log 8 by 1 to 4, 0 by
    # 2 to 3, with probabilities 1/4, 1/4 and 1/2: log 2 on average, below log Z = log 3.
    gfn = describe(batch_size=4096)
    state = jax.jit(gfn.init)(key)
    np.testing.assert_allclose(state.params.log_z, np.log(2), atol=0.06)  # four standard errors
    np.testing.assert_array_equal(state.params.log_flow_start, state.params.log_z)
    paths = all_trajectories(ENV)
    found = starting.estimate(gfn.model, gfn.objective, state.params, paths)
    np.testing.assert_allclose(found, 4 / 3 * np.log(2), rtol=1e-6)


@pytest.mark.slow
def test_relative_to_a_prior_the_prior_takes_the_place_of_the_backward_policy(key):
    prior = FrozenPolicy(POLICY, POLICY.init(key, jnp.int32(0)))
    gfn = describe(RelativeTrajectoryBalance(), prior=prior)
    params = gfn.init(key).params  # policy and prior are uniform: what remains is log R
    found = starting.estimate(gfn.model, gfn.objective, params, all_trajectories(ENV))
    np.testing.assert_allclose(found, np.log(2) / 3, rtol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        DB,
        SubTrajectoryBalance(0.9),
        FlowMatching(),
        TargetDetailedBalance(),
        SoftDQN(),
        SoftDQN(alpha=0.15),
        LEDGFN(hidden_sizes=(4,)),
        GAFlowNet(DB, hidden_sizes=(4,)),
        WeightedDetailedBalance(),
        PolicyGradient("gae"),
        LEDGFN(TrajectoryBalance(log_z="flow"), hidden_sizes=(4,)),
        TrajectoryBalance(log_z="flow"),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_flows_start_at_log_r_where_they_are_learned_from_the_end_else_at_log_z(objective, key):
    # A table says 0 everywhere, so log F(s_0) is the start alone, log 2 from the logits apart.
    rate = 0.1 if "target" in objective.needs else None
    gfn = describe(objective, FAR, tabular_policy(FAR), target_rate=rate)
    started, plain = (jax.jit(g.init)(key) for g in (gfn, gfn.replace(log_z_init=0.0)))
    start = float(started.params.log_flow_start)
    if objective.bootstraps:
        assert FAR_LOG_R[0] < start < FAR_LOG_R[1] < float(started.params.log_z)
    else:
        assert start == started.params.log_z < -1
    assert float(plain.params.log_z) == float(plain.params.log_flow_start) == 0
    shift = gfn.log_z(started.params) - gfn.log_z(plain.params)
    np.testing.assert_allclose(shift, start, rtol=1e-5)
    paths = gfn.sample(started.params, key, 8)
    scores = gfn.score(started.params, paths, target=started.target)
    np.testing.assert_allclose(scores.log_flow[:, 0], gfn.log_z(started.params), rtol=1e-5)
    at_the_end = np.asarray(scores.log_flow)[np.arange(8), np.asarray(paths.length)]
    if not isinstance(objective, GAFlowNet):  # what is known stays what it is
        np.testing.assert_allclose(at_the_end, paths.log_reward, rtol=1e-5)
    if rate is not None:
        np.testing.assert_allclose(scores.target.log_flow, scores.log_flow, rtol=1e-5)
    if scores.log_inflow is not None:
        without = gfn.score(plain.params, paths).log_inflow
        moved = np.asarray(scores.log_inflow - without)
        np.testing.assert_allclose(moved[:, 1], start, rtol=1e-5)
        assert (moved[:, 0] == 0).all()


@pytest.mark.slow
def test_the_mean_log_reward_by_hand(key):
    # Uniform policies end in 3 with probability 3/4 and in 4 with 1/4, R = 1 and 2.
    gfn = describe(DB, batch_size=4096)
    params = jax.jit(gfn.init)(key).params
    np.testing.assert_allclose(params.log_flow_start, np.log(2) / 4, atol=0.02)
    np.testing.assert_allclose(params.log_z, np.log(2), atol=0.06)


def test_what_was_cut_or_is_not_finite_says_nothing_of_the_end():
    paths = all_trajectories(ENV)
    for nothing in (jnp.nan, -jnp.inf):
        ended = paths._replace(log_reward=jnp.array([2.0, nothing, 5.0]))
        np.testing.assert_allclose(starting.mean_log_reward(ended), 3.5)
        cut = ended._replace(cut=jnp.array([True, False, False]))
        np.testing.assert_allclose(starting.mean_log_reward(cut), 5.0)
        assert float(starting.mean_log_reward(ended._replace(cut=jnp.ones(3, bool)))) == 0


@pytest.mark.parametrize("objective", [DB, SubTrajectoryBalance(0.9)], ids=["DB", "SubTB"])
def test_flows_that_look_forward_start_at_the_partial_reward(objective, key):
    for wrapped in (gfnjax.ForwardLooking(objective), GAFlowNet(gfnjax.ForwardLooking(objective))):
        gfn = describe(wrapped, FAR, tabular_policy(FAR))
        params = gfn.init(key).params
        assert float(params.log_flow_start) == 0
        assert float(params.log_z) < -1
    known = FAR_LOG_R[0]  # in s_0, which a number is counted without
    for one in (gfn.replace(log_z_init=2.0), describe(FL_TB, FAR, tabular_policy(FAR))):
        params = one.init(key).params
        np.testing.assert_allclose(params.log_flow_start, params.log_z - known, rtol=1e-6)
        np.testing.assert_allclose(one.log_z(params), params.log_z, atol=1e-5)


def test_values_of_rewards_are_no_flows(key):
    assert float(describe(RewardPPO(), num_updates=2).init(key).params.log_flow_start) == 0


def test_the_start_of_the_flows_is_never_trained(key):
    gfn = describe(DB)
    state = gfn.init(key)
    after, _ = gfnjax.train(gfn, state, 20)
    np.testing.assert_array_equal(after.params.log_flow_start, state.params.log_flow_start)


@pytest.mark.parametrize("number", [0, -300.0, np.float32(25)])
def test_a_number_is_taken_as_it_is(number, key):
    for objective in (TB, DB):
        gfn = describe(objective, log_z_init=number)
        params = gfn.init(key).params
        assert float(params.log_z) == float(params.log_flow_start) == float(number)
        assert float(gfn.log_z(params)) == float(number)


@pytest.mark.parametrize("wrong", ["first", None, np.nan, np.inf, True, "0"])
def test_anything_else_is_refused(wrong):
    with pytest.raises(ValueError, match='log_z_init must be "batch" or a finite number, got'):
        describe(log_z_init=wrong)


def test_vmaps_over_seeds_and_hyperparameters(key):
    gfn = describe(TB, GRID, mlp_policy(GRID, (4,)))
    keys = jax.random.split(key, 3)
    rates = Hyperparameters.only(learning_rate=jnp.array([1e-3, 1e-2, 1e-1]))
    states = jax.jit(jax.vmap(gfn.init))(keys, rates)
    alone = [jax.jit(gfn.init)(k).params.log_z for k in keys]
    np.testing.assert_allclose(states.params.log_z, jnp.stack(alone), rtol=1e-5)
    assert len(set(np.asarray(states.params.log_z).tolist())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf])
def test_rewards_that_are_not_finite_are_left_out(value, key):
    rewards = np.log([1.0, 1.0, 1.0, 1.0, 2.0])
    rewards[4] = value
    env = dataclasses.replace(ENV, log_rewards=jnp.asarray(rewards, jnp.float32))
    model, params = describe(env=env).model, describe().init(key).params
    found = starting.estimate(model, TB, params, all_trajectories(env))
    np.testing.assert_allclose(found, np.log(2) / 2, rtol=1e-6)
    nothing = dataclasses.replace(ENV, log_rewards=jnp.full(5, value, jnp.float32))
    gfn = describe(env=nothing)
    assert float(gfn.init(key).params.log_z) == 0


@pytest.mark.long
def test_a_mixture_of_members_and_conditions_start_too(key):
    env = gfnjax.envs.temperature_conditional(GRID, 0.5, 2.0)
    for gfn in (
        describe(TrajectoryBalance(log_z="flow"), env, mlp_policy(env, (4,))),
        describe(DB, GRID, ensemble_mlp_policy(GRID, 2, (4,))),
    ):
        params = gfn.init(key).params
        assert abs(float(params.log_flow_start)) > 0.1
        np.testing.assert_allclose(gfn.log_z(params), params.log_flow_start, atol=0.1)


@pytest.mark.slow
def test_a_teacher_starts_at_its_own_reward(key):
    # The student's log Z is 300 more; the teacher's reward is about the student's residuals.
    rewards = np.log([1.0, 1.0, 1.0, 1.0, 2.0]) + 300
    env = dataclasses.replace(ENV, log_rewards=jnp.asarray(rewards, jnp.float32))
    taught = Teacher(describe(env=env, batch_size=64), POLICY)
    state = taught.init(key)
    np.testing.assert_allclose(state.params.log_z, 300 + np.log(2), atol=0.5)
    assert abs(float(state.teacher.params.log_z)) < 5
    np.testing.assert_array_equal(state.teacher.params.log_flow_start, state.teacher.params.log_z)
    untouched = taught.replace(student=taught.student.replace(log_z_init=0.0)).init(key)
    assert float(untouched.teacher.params.log_z) == 0


@pytest.mark.slow
@pytest.mark.parametrize("objective", [TB, DB, SubTrajectoryBalance(0.9)], ids=["TB", "DB", "Sub"])
def test_any_log_z_trains_as_well_as_another(objective):
    # The truth is moved by 0, 25, 305 and -300 nats in one vmapped run; from 0 none but the first
    # gets anywhere in as many steps.
    env = random_dag(seed=1)
    policy = tabular_policy(env)
    rates = Hyperparameters(learning_rate=0.03)

    def run(shift, log_z_init):
        moved = dataclasses.replace(env, log_rewards=env.log_rewards + shift)
        gfn = GFlowNet(
            moved,
            policy,
            objective,
            backward=UniformBackward(),
            hyperparameters=rates,
            log_z_init=log_z_init,
            batch_size=32,
        )
        state = gfn.init(jax.random.key(0))
        state = jax.lax.fori_loop(0, 300, lambda _, s: gfn.step(s)[0], state)
        table = exact.policy_table(gfn.model, state.params)
        return table.log_pf, gfn.log_z(state.params)

    shifts = jnp.array([0.0, 25.0, 305.0, -300.0])
    states = state_graph.build_graph(env)
    truth = exact.target_distribution(states)[1]
    log_pf, log_z = jax.jit(jax.vmap(run, (0, None)), static_argnums=1)(shifts, "batch")
    distances = jax.vmap(lambda x: exact.evaluate(states, x).total_variation)(log_pf)
    assert (distances < 0.05).all(), distances
    np.testing.assert_allclose(log_z - shifts, jnp.full(4, truth), atol=0.2)
