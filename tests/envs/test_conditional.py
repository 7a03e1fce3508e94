"""Conditional environments: rules kept, conditions kept, exact answers for every condition."""

import copy
import dataclasses
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    Params,
    Policy,
    PolicyOutput,
    SubTrajectoryBalance,
    TrajectoryBalance,
    UniformBackward,
    corners,
    mlp_policy,
    terminal_states,
    train,
)
from gfnjax.envs import additive_set
from gfnjax.envs.base import Conditioned, Enumerable, PartialReward, SparselyObserved, Stoppable
from gfnjax.envs.condition_distributions import Uniform, choice
from gfnjax.envs.conditional import (
    conditional,
    preference_conditional,
    temperature_conditional,
)
from gfnjax.envs.drawing import Renderable
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.regression import square
from gfnjax.rewards.scalarisation import Temperature, WeightedProduct
from gfnjax.rewards.sets import SetEnergy
from gfnjax.testing import ConformanceError, check_environment, diamond, exact_optimum
from gfnjax.training import init

ENERGIES = np.array([0.1, -0.4, 0.3, 1.0])


sample = jax.jit(GFlowNet.sample, static_argnums=3)
log_z_of = jax.jit(GFlowNet.log_z)
elbo = jax.jit(sampled.elbo, static_argnums=3)


def slope(position, side):
    return position[0].astype(float) - 0.5 * position[1].astype(float)


def grid(low=0.5, high=4.0):
    return temperature_conditional(Hypergrid(2, 3, slope), low, high)


def two_goals():
    env = additive_set(ENERGIES, 2)
    return preference_conditional(env, env.reward, SetEnergy(-jnp.asarray(ENERGIES)))


@pytest.mark.parametrize("make", [grid, two_goals])
def test_conformance(make, key):
    check_environment(make(), key, num_trajectories=4)


@pytest.mark.parametrize(
    ("make", "condition"),
    [(grid, 0.5), (grid, 4.0), (two_goals, [0.9, 0.1])],
    ids=["cold", "hot", "preferences"],
)
def test_conformance_at_a_condition(make, condition, key):
    check_environment(make().at(condition), key, num_trajectories=4)


def test_conformance_notices_a_condition_that_is_lost(key):
    class Forgetful(type(grid())):
        def backward_step(self, state, backward_action):
            return super().backward_step(state, backward_action)._replace(condition=jnp.ones(1))

    env = grid()
    broken = jax.tree_util.register_dataclass(
        Forgetful, ["envs", "conditions", "reward", "condition"], []
    )(env.envs, env.conditions, env.reward, None)
    with pytest.raises(ConformanceError, match=r"backward_step"):
        check_environment(broken, key, num_trajectories=4)


def test_it_can_do_what_the_inner_environment_can():
    env, fixed = grid(), grid().at(2.0)
    for able in (env, fixed):
        assert isinstance(able, PartialReward)
        assert isinstance(able, Stoppable)
        assert isinstance(able, Renderable)
        assert not isinstance(able, SparselyObserved)
    assert isinstance(env, Conditioned)
    assert not isinstance(env, Enumerable)
    assert isinstance(fixed, Enumerable)
    assert not isinstance(fixed, Conditioned)
    assert isinstance(two_goals(), PartialReward)
    assert not isinstance(two_goals(), Stoppable)
    bare = temperature_conditional(diamond(), 0.5, 2.0)
    assert not isinstance(bare, PartialReward)
    assert not hasattr(type(bare), "stop_action")
    assert isinstance(bare.at(1.0), Enumerable)
    assert type(fixed) is type(grid(1.0, 2.0).at(3.0))


def test_it_survives_copying_and_pickling():
    env = temperature_conditional(Hypergrid(2, 3), 0.5, 4.0).at(2.0)
    for other in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        assert type(other) is type(env)
        assert other.condition.tolist() == [2.0]


def test_rewards_by_hand():
    env = grid()
    state = env.rules.state_at(jnp.int32(9 + 5))  # cell (1, 2), stopped: log R = 1 - 1 = 0
    far = env.rules.state_at(jnp.int32(9 + 6))  # cell (2, 0): log R = 2
    for beta in (0.5, 3.0):
        source = env.at(beta).initial_state()
        assert float(env.log_reward(source._replace(inner=state))) == 0.0
        assert float(env.log_reward(source._replace(inner=far))) == pytest.approx(2 * beta)
        assert float(env.log_partial_reward(source._replace(inner=far))) == pytest.approx(2 * beta)
    goals = two_goals()
    members = goals.rules.initial_state()._replace(members=jnp.array([True, False, False, True]))
    state = goals.at([0.25, 0.75]).initial_state()._replace(inner=members)
    np.testing.assert_allclose(goals.log_rewards(state), [-1.1, 1.1], rtol=1e-6)
    expected = np.log(0.25 * np.exp(-1.1) + 0.75 * np.exp(1.1))
    np.testing.assert_allclose(goals.log_reward(state), expected, rtol=1e-6)
    env = additive_set(ENERGIES, 2)
    goals = preference_conditional(
        env, env.reward, SetEnergy(-jnp.asarray(ENERGIES)), reward=WeightedProduct()
    )
    np.testing.assert_allclose(goals.log_reward(state), 0.5 * 1.1, rtol=1e-6)


def test_exact_log_z_for_every_condition():
    # A plain environment with the powered reward is the independent answer.
    for beta in (0.5, 3.0):
        fixed = build_graph(grid().at(beta))
        cells = np.arange(3)
        log_r = cells[:, None] - 0.5 * cells[None]
        log_z = np.log(np.exp(beta * log_r).sum())
        np.testing.assert_allclose(exact.target_distribution(fixed)[1], log_z, rtol=1e-6)


def test_conditions_are_kept_along_trajectories(key):
    env = grid()
    gfn = GFlowNet(env, mlp_policy(env, (8,)), DetailedBalance(), backward=UniformBackward())
    params = init(gfn, key).params
    forward = sample(gfn, params, key, 32)
    backward = jax.jit(GFlowNet.sample_backward)(gfn, params, key, terminal_states(forward))
    for trajectories in (forward, backward):
        condition = np.asarray(trajectories.states.condition)
        np.testing.assert_array_equal(condition, condition[:, :1] + np.zeros_like(condition))
        inner = jax.tree.map(lambda x: x[:, -1], trajectories.states.inner)
        log_r = jax.vmap(env.rules.log_reward)(inner)
        np.testing.assert_allclose(trajectories.log_reward, condition[:, 0, 0] * log_r, rtol=1e-5)
    assert np.unique(forward.states.condition[:, 0]).size == 32
    np.testing.assert_array_equal(forward.states.condition[:, 0], backward.states.condition[:, 0])
    fixed = sample(dataclasses.replace(gfn, env=env.at(2.5)), params, key, 32)
    assert (np.asarray(fixed.states.condition) == 2.5).all()


def test_the_policy_sees_the_condition(key):
    env = grid()
    policy = mlp_policy(env, (8,))
    params = policy.init(key, policy.observe(env, env.initial_state()))
    params = jax.tree.map(lambda x: x + 1.0, params)  # away from the small heads
    outputs = [policy.evaluate(params, env, env.at(b).initial_state()) for b in (0.5, 4.0)]
    for low, high in zip(*outputs, strict=True):
        assert not np.allclose(low, high)


class Everything(TrajectoryBalance):
    """Asks for all that the objectives below need."""

    needs = frozenset({"log_partial_reward"})


PLAIN = (TrajectoryBalance(log_z="flow"), DetailedBalance(), SubTrajectoryBalance(0.9))
FORWARD_LOOKING = tuple(map(ForwardLooking, PLAIN))
VALUES = (0.5, 2.0)


def _observe(env, state):
    which = jnp.argmin(jnp.abs(env.conditions.values[:, 0] - state.condition[0]))
    return which, env.rules.state_index(state.inner)


def _look_up(params, observation):
    return PolicyOutput(**jax.tree.map(lambda x: x[observation], params))


TABLES = Policy(lambda key, observation: None, _look_up, _observe)


@partial(jax.jit, static_argnames="objectives")
def losses(env, tables, trajectories, objectives):
    gfn = GFlowNet(env, TABLES, Everything(log_z="flow"))
    scores = gfn.score(gfn_params(tables), trajectories, dense=True)
    found = []
    for objective in objectives:
        seen = resolve_log_z(objective.log_z, jax.vmap(objective.adapt)(scores))
        found.append(weighted_loss(objective, square, seen))
    return jnp.stack(found)


def gfn_params(tables):
    return Params(tables, jnp.zeros((), jnp.result_type(float)))


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [PLAIN, FORWARD_LOOKING], ids=["plain", "forward-looking"])
def test_objectives_vanish_at_the_optimum_of_every_condition(objectives, key, x64):
    env = conditional(Hypergrid(2, 3, slope), choice(VALUES), Temperature())
    rows = []
    for i, beta in enumerate(VALUES):
        fixed = env.at(beta)
        looks_forward = objectives is FORWARD_LOOKING
        optimum = exact_optimum(fixed, jax.random.key(i), looks_forward=looks_forward)
        rows.append(optimum.policy["params"])
    tables = jax.tree.map(lambda *x: jnp.stack(x), *rows)
    gfn = GFlowNet(env, TABLES, DetailedBalance())
    trajectories = sample(gfn, gfn_params(jax.tree.map(jnp.zeros_like, tables)), key, 64)
    assert np.unique(trajectories.states.condition).tolist() == list(VALUES)
    assert (np.asarray(losses(env, tables, trajectories, objectives)) < 1e-20).all()
    swapped = jax.tree.map(lambda x: x[::-1], tables)
    assert (np.asarray(losses(env, swapped, trajectories, objectives)) > 1e-3).all()


def test_objectives_with_one_log_z_are_refused():
    env = grid()
    with pytest.raises(ValueError, match='use an objective whose log_z is "flow"'):
        GFlowNet(env, mlp_policy(env, (8,)), TrajectoryBalance())
    GFlowNet(env.at(2.0), mlp_policy(env, (8,)), TrajectoryBalance())


@pytest.mark.long
def test_training_finds_log_z_and_the_target_of_every_condition(key):
    env = temperature_conditional(diamond(), 0.5, 2.0)
    gfn = GFlowNet(
        env,
        mlp_policy(env, (32,)),
        DetailedBalance(),
        backward=UniformBackward(),
        hyperparameters=Hyperparameters(learning_rate=1e-2),
        batch_size=32,
    )
    state, _ = train(gfn, key, 800, chunk_size=800)
    for beta in (0.5, 1.0, 2.0):
        fixed = dataclasses.replace(gfn, env=env.at(beta))
        log_z = np.log(1 + 2**beta)  # R = 1 and 2, by hand
        assert abs(float(log_z_of(fixed, state.params)) - log_z) < 0.06
        assert abs(float(elbo(fixed.model, state.params, key, 64)) - log_z) < 0.06
        metrics = evaluate(fixed, build_graph(fixed.env), state.params)
        assert float(metrics.total_variation) < 0.04
        np.testing.assert_allclose(metrics.log_z, log_z, rtol=1e-6)
    # Untrained, the policy ignores beta and is far off: P(3) = 3/4 instead of 1/5 at beta = 2.
    start = init(gfn, key).params
    assert float(evaluate(fixed, build_graph(fixed.env), start).total_variation) > 0.3


@jax.jit
def evaluate(gfn, graph, params):
    table = exact.policy_table(gfn.model, params)
    return exact.evaluate(graph, table.log_pf)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: conditional((), Uniform(0, 1), Temperature()), ValueError, "at least one"),
        (
            lambda: conditional((Hypergrid(2, 3), Hypergrid(2, 4)), Uniform(0, 1), Temperature()),
            ValueError,
            "envs must have the same rules",
        ),
        (lambda: temperature_conditional(diamond(), 2.0, 1.0), ValueError, "low must be less"),
        (lambda: preference_conditional(diamond(), 1, 2), TypeError, "a field reward, got Tabular"),
        (
            lambda: preference_conditional(Hypergrid(), corners()),
            ValueError,
            "needs at least 2 rewards, got 1",
        ),
        (lambda: two_goals().at(0.5), ValueError, r"condition must be of shape \(2,\), got \(1,\)"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
