"""The box: its paths both ways, what is known of its target, and an optimum in closed form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hyperparameters,
    LogPartitionVariance,
    Policy,
    PolicyOutput,
    SubTrajectoryBalance,
    TrajectoryBalance,
    mlp_policy,
    train,
)
from gfnjax.distributions.box import BoxAction, CartesianStep
from gfnjax.envs.box import Box, BoxState
from gfnjax.metrics import distances, exact, sampled
from gfnjax.objectives.base import resolve_log_z
from gfnjax.policies import UniformBackward, uniform_policy
from gfnjax.pytree import pytree
from gfnjax.rewards.box import BoxCorners
from gfnjax.state import Params
from gfnjax.testing import ConformanceError, check_environment

LOG_Z = -1.187444
KINDS = "cartesian", "polar"


def stopped(points):
    count = len(points)
    yes = jnp.ones(count, bool)
    return BoxState(jnp.asarray(points, jnp.result_type(float)), yes, yes)


def random_points(count, seed=0):
    return np.random.default_rng(seed).random((count, 2))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_conformance(kind, key):
    check_environment(Box(delta=0.25, kind=kind), key)


@pytest.mark.long
def test_conformance_of_other_boxes(key, x64):
    check_environment(Box(3, 0.1, reward=BoxCorners(3)), key, 16)


@pytest.mark.slow
def test_a_box_that_forgets_its_limits_is_found_out(key):
    @pytree
    class Endless(Box):
        def forward_mask(self, state):
            found = super().forward_mask(state)
            return found._replace(high=jnp.ones_like(found.high))

    with pytest.raises(ConformanceError, match="must be s"):
        check_environment(Endless(), key)


# ---------------------------------------------------------------- steps by hand


def test_cartesian_steps_by_hand():
    env = Box(delta=0.25)
    assert env.max_steps == 6
    source = env.initial_state()
    first = env.step(source, BoxAction(np.array(False), jnp.array([0.3, 0.1])))
    np.testing.assert_allclose(first.position, [0.3, 0.1])
    second = env.step(first, BoxAction(np.array(False), jnp.array([0.5, 0.3])))
    np.testing.assert_allclose(second.position, [0.8, 0.4])
    support = env.forward_mask(first)
    np.testing.assert_allclose(support.low, [0.25, 0.25])
    np.testing.assert_allclose(support.high, [0.7, 0.9])
    assert not support.choice.must_leap
    assert support.choice.may_leap
    assert env.forward_mask(second).choice.must_leap  # .8 is above 1 - delta
    assert env.backward_mask(first).choice.must_leap  # .1 is below delta
    support = env.backward_mask(second)
    assert not support.choice.must_leap
    np.testing.assert_allclose(support.high, [0.8, 0.4])
    end = env.step(second, BoxAction(np.array(True), jnp.zeros(2)))
    assert env.is_terminal(end)
    assert not env.forward_mask(end).choice.possible
    assert env.backward_mask(end).choice.must_leap
    back = env.backward_step(end, BoxAction(np.array(True), jnp.zeros(2)))
    assert jax.tree.all(jax.tree.map(lambda x, y: (x == y).all(), back, second))
    # Back to the source from anywhere, exactly, and forward again by the same jump.
    leap = BoxAction(np.array(True), jnp.zeros(2))
    assert jax.tree.all(
        jax.tree.map(lambda x, y: (x == y).all(), env.backward_step(second, leap), source)
    )
    again = env.forward_action(second, leap)
    assert not again.leap
    np.testing.assert_allclose(again.move, [0.8, 0.4])


def test_polar_steps_by_hand():
    env = Box(delta=0.1, kind="polar")
    assert env.max_steps == 22
    assert Box(delta=0.25, kind="polar").max_steps == 10
    support = env.forward_mask(env.initial_state())
    assert support.any_length
    assert not support.choice.may_leap
    yes, no = np.array(True), np.array(False)
    inside = BoxState(jnp.array([0.06, 0.07]), yes, no)
    assert env.backward_mask(inside).choice.must_leap  # |x| = .092
    outside = BoxState(jnp.array([0.08, 0.07]), yes, no)
    found = env.backward_mask(outside).choice
    assert not found.must_leap  # |x| = .106
    assert not found.may_leap


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_backward_trajectories_come_from_the_source(kind, key):
    env = Box(delta=0.2, kind=kind)
    gfn = GFlowNet(env, uniform_policy(env), TrajectoryBalance(), backward=UniformBackward())
    edges = [[0, 0.5], [1, 1], [1e-7, 1e-7], [0.2, 0.2], [1, 0], [0.8, 0.8], [0.1, 0.999999]]
    points = np.concatenate([edges, random_points(249)])
    params = Params({}, jnp.zeros(()))
    paths = jax.jit(gfn.sample_backward)(params, key, stopped(points))
    assert not np.asarray(paths.cut).any()
    np.testing.assert_array_equal(paths.states.position[:, 0], 0.0)
    assert not np.asarray(paths.states.started[:, 0]).any()
    scores = jax.jit(gfn.score)(params, paths)
    assert np.isfinite(scores.log_pf).all()
    assert np.isfinite(scores.log_pb).all()
    # The moves of a path lead to its end.
    moved = np.asarray(paths.actions.move).sum(axis=1)
    np.testing.assert_allclose(moved, points, atol=2e-6)
    ends = jnp.take_along_axis(
        paths.actions.leap, paths.length[:, None] - 1, axis=1, mode="promise_in_bounds"
    )
    assert np.asarray(ends).all()


# ---------------------------------------------------------------- the target


@pytest.mark.parametrize(("r0", "log_z"), [(0.1, LOG_Z), (0.01, -1.537117), (1e-3, -1.579879)])
def test_log_z(r0, log_z):
    reward = BoxCorners(r0=r0)
    assert Box(reward=reward).target().log_z == pytest.approx(log_z, abs=1e-6)
    # By quadrature, of a function that does not say it.
    plain = Box(reward=lambda x: reward(x))
    assert plain.target().log_z == pytest.approx(log_z, abs=1e-5)
    assert Box(3, reward=lambda x: x.sum()).target() is None
    counted = Box(reward=lambda x: (x > 0.5).sum())
    assert counted.target().log_z == pytest.approx(2 * np.log((1 + np.e) / 2), abs=1e-5)


def test_rewards_that_are_none_are_refused():
    with pytest.raises(ValueError, match="reward must be a function of x"):
        Box(reward=3.0)
    with pytest.raises(TypeError, match="log_reward must return one"):
        Box(reward=lambda x: x[:1]).target()
    with pytest.raises(ValueError, match="x must have shape"):
        Box().at_point(jnp.zeros(3))


def test_the_uniform_density_beside_the_target(x64):
    density = np.asarray(Box()._density()).reshape(-1) / 100**2
    log_q, log_p = jnp.log(density), jnp.full(density.size, -np.log(density.size))
    assert distances.total_variation(log_p, log_q) == pytest.approx(0.504098, abs=1e-6)
    assert distances.jsd(log_p, log_q) == pytest.approx(0.151748, abs=1e-6)


def test_measures(key):
    env, measure = Box(), jax.jit(Box().measure)
    keys = jax.random.split(key, 2)
    points = env.reward.sample(keys[0], 10_000)
    good = measure(stopped(points))
    assert good["kernel_jsd"] == pytest.approx(0.0146, abs=0.002)
    assert float(good["sampled_tv"]) == pytest.approx(float(good["noise_floor"]), rel=0.1)
    poor = measure(stopped(jax.random.uniform(keys[1], (10_000, 2))))
    assert poor["kernel_jsd"] == pytest.approx(0.155, abs=0.002)
    assert 0.504 - 0.01 < poor["sampled_tv"] < 0.56
    assert Box(3, reward=BoxCorners(3)).measure(stopped(np.zeros((4, 3)))) == {}


def test_exact_samples_of_the_reward(key):
    points = np.asarray(BoxCorners().sample(key, 40_000))
    frame = ((np.abs(points - 0.5) > 0.3) & (np.abs(points - 0.5) < 0.4)).all(axis=1)
    corner = (np.abs(points - 0.5) > 0.25).all(axis=1)
    assert frame.mean() == pytest.approx(2.6 * 0.04 / 0.305, abs=0.01)
    assert corner.mean() == pytest.approx((0.1 / 4 + 0.5 / 4 + 2 / 25) / 0.305, abs=0.01)


# ---------------------------------------------------------------- one jump and out


@dataclass(frozen=True)
class Jump(CartesianStep):
    """From s_0 to x with density R(x) / Z, and out: what a policy says does not count."""

    def log_prob(self, params, support, action):
        reward = BoxCorners()
        jumps = ~support.choice.may_leap & support.choice.possible
        leaps = jnp.where(action.leap, 0.0, -50.0)
        return jnp.where(jumps, reward(action.move) - reward.log_z, leaps)


@pytree
class JumpBox(Box):
    @property
    def actions(self):
        return Jump(self.dim, self.num_components)


def optimal_output(params, observation):
    """F(x) = R(x), F(s_0) = Z; back to the source with probability 1."""
    at_source, step = observation[2] > 0, CartesianStep(2).neutral()
    flow = jnp.where(at_source, BoxCorners().log_z, BoxCorners()(observation[:2]))
    back = step._replace(leap=jnp.asarray(200.0, flow.dtype))
    return PolicyOutput(step, back, flow + params)


OPTIMUM = Policy(lambda key, observation: jnp.zeros(()), optimal_output)


@pytest.mark.slow
def test_residuals_vanish_at_the_optimum_of_one_jump(key, x64):
    scored = {}
    for env in (JumpBox(), Box()):  # a uniform jump is no optimum
        gfn = GFlowNet(env, OPTIMUM, TrajectoryBalance())
        params = Params(jnp.zeros(()), jnp.asarray(BoxCorners().log_z))
        paths = jax.jit(gfn.sample_backward)(params, key, stopped(random_points(64)))
        np.testing.assert_array_equal(paths.length, 2)
        scored[env] = jax.jit(gfn.score)(params, paths)
    for objective in (
        TrajectoryBalance(),
        TrajectoryBalance(log_z="flow"),
        DetailedBalance(),
        SubTrajectoryBalance(0.9),
        LogPartitionVariance(),
    ):
        worst = []
        for scores in scored.values():
            found = jax.vmap(objective.residuals)(resolve_log_z(objective.log_z, scores))
            worst.append(float(jnp.abs(jnp.where(found.weights > 0, found.values, 0.0)).max()))
        assert worst[0] < 1e-9, objective
        assert worst[1] > 0.1, objective


# ---------------------------------------------------------------- training


@pytest.mark.slow
def test_exploration_is_not_scored(key):
    env = Box()
    rates = Hyperparameters(epsilon=1.0, temperature=3.0)
    gfn = GFlowNet(env, mlp_policy(env, (8,)), TrajectoryBalance(), hyperparameters=rates)
    plain = GFlowNet(env, mlp_policy(env, (8,)), TrajectoryBalance())
    params = gfn.init(key).params
    paths = plain.sample(params, key, 16)
    np.testing.assert_array_equal(
        gfn.score(params, paths).log_pf, plain.score(params, paths).log_pf
    )


@pytest.mark.long
def test_training_raises_the_bound(key):
    env = Box()
    rates = Hyperparameters(learning_rate=3e-3)
    policy = mlp_policy(env, (32,))
    gfn = GFlowNet(env, policy, TrajectoryBalance(), hyperparameters=rates, batch_size=64)
    bound = jax.jit(lambda params: sampled.elbo(gfn.model, params, jax.random.key(5), 2_000))
    before = float(bound(jax.jit(gfn.init)(key).params))
    state, history = train(gfn, key, 100)
    assert np.isfinite(history.info.loss).all()
    assert before + 0.2 < float(bound(state.params)) < LOG_Z + 0.02


def test_what_cannot_work_is_refused(key):
    env = Box()
    with pytest.raises(TypeError, match=r"FlowMatching sums over all actions.*CartesianStep"):
        GFlowNet(env, mlp_policy(env), FlowMatching())
    with pytest.raises(TypeError, match="Categorical"):
        mlp_policy(env, num_members=2)
    with pytest.raises(TypeError, match="must be Enumerable"):
        exact.policy_table(GFlowNet(env, mlp_policy(env), TrajectoryBalance()).model, None)
    for arguments, words in (
        ({"delta": 0}, "delta must be in"),
        ({"delta": 1.0}, "delta must be in"),
        ({"kind": "round"}, "kind must be cartesian or polar, got round"),
        ({"dim": 3}, "dim must be 2, that of the reward, got 3"),
        ({"dim": 3, "reward": abs, "kind": "polar"}, "dim must be 2 with kind polar"),
        ({"num_components": 0}, "num_components must be at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            Box(**arguments)
    with pytest.raises(ValueError, match="r0 must be positive"):
        BoxCorners(r0=0.0)
    policy = mlp_policy(Box(num_components=3))
    with pytest.raises(ValueError, match="must return forward_logits of shape"):
        GFlowNet(env, policy, TrajectoryBalance()).init(key)


def test_sizes_may_be_numpy_numbers():
    env = Box(np.int64(2), np.float32(0.25), num_components=np.int32(2))
    assert (env.dim, env.max_steps, env.num_components) == (2, 6, 2)
    assert env == Box()
