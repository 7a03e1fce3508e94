"""A reward raised to a power: the same rules, swept and scheduled like a learning rate."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfnjax
from gfnjax import GFlowNet, Hypergrid, Hyperparameters, TrajectoryBalance, mlp_policy
from gfnjax.algorithms import Teacher
from gfnjax.envs import Enumerable, PartialReward, Stoppable, published_set, tempered
from gfnjax.envs.drawing import KnownTarget
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.replay import Fifo
from gfnjax.rollout import terminal_states
from gfnjax.samplers import Mixed
from gfnjax.testing import check_environment

GRID = Hypergrid(2, 4)
POLICY = mlp_policy(GRID, (8,))
STEPS = optax.piecewise_constant_schedule(1.0, {1: 3.0})  # 1 in the first step, then 3


def describe(env, **options):
    options = {"batch_size": 8, "log_z_init": 0.0} | options
    return GFlowNet(env, POLICY, TrajectoryBalance(), **options)


def test_it_keeps_the_promises_of_an_environment(key):
    check_environment(tempered(GRID, 2.5), key)


def test_the_distribution_is_the_power_of_the_reward():
    x, y = np.meshgrid(np.arange(4), np.arange(4))
    outer = np.abs(np.stack([x, y]) / 3 - 0.5)
    reward = 0.1 + 0.5 * (outer > 0.25).all(0) + 2.0 * ((outer > 0.3) & (outer < 0.4)).all(0)
    for beta in (0.5, 1.0, 3.0):
        graph = build_graph(tempered(GRID, beta))
        _, log_z = exact.target_distribution(graph)
        np.testing.assert_allclose(log_z, np.log((reward**beta).sum()), rtol=1e-5)


def test_it_can_do_what_the_environment_can():
    grid, subset = tempered(GRID, 2.0), tempered(published_set("small"), 2.0)
    assert isinstance(grid, Enumerable)
    assert isinstance(grid, Stoppable)
    assert isinstance(subset, PartialReward)
    assert grid.side == 4
    # What is known of R says nothing of its powers.
    assert not isinstance(subset, KnownTarget)
    state = subset.step(subset.initial_state(), jnp.int32(0))
    np.testing.assert_allclose(
        subset.log_partial_reward(state), 2 * subset.env.log_partial_reward(state), rtol=1e-6
    )
    with pytest.raises(AttributeError, match="has no target: ask its env"):
        subset.target()


def test_equal_and_pickled():
    assert describe(tempered(GRID, 2.0)) == describe(tempered(GRID, 2.0))
    assert describe(tempered(GRID, 2.0)) != describe(tempered(GRID, 3.0))
    scheduled = describe(tempered(GRID, STEPS))
    assert pickle.loads(pickle.dumps(scheduled)) == scheduled


def steps(gfn, key, overrides=None):
    """The rewards of the trajectories of three steps, over those of the grid itself."""
    state, ratios = gfn.init(key, overrides), []
    for _ in range(3):
        scores = gfn.seen(state)
        batch, _ = gfn.draw(state)
        plain = jax.vmap(GRID.log_reward)(terminal_states(batch.trajectories))
        ratios.append(scores.log_reward / plain)
        state, _ = gfn.step(state)
    return jnp.stack(ratios), state.params


@pytest.mark.long
def test_the_exponent_is_swept(key):
    gfn, betas = describe(tempered(GRID, 2.0)), jnp.array([0.5, 2.0])
    overrides = Hyperparameters.only(reward_exponent=betas)
    ratios, params = jax.jit(jax.vmap(steps, (None, None, 0)))(gfn, key, overrides)
    np.testing.assert_allclose(ratios, np.broadcast_to(betas[:, None, None], (2, 3, 8)), rtol=1e-5)
    alone = jax.jit(steps)
    for row, beta in enumerate(betas):
        _, expected = alone(describe(tempered(GRID, float(beta))), key)
        for x, y in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x[row], y, rtol=2e-4, atol=1e-5)
    assert alone._cache_size() == 1


@pytest.mark.long
def test_the_exponent_is_scheduled(key):
    gfn = describe(tempered(GRID, STEPS))
    ratios, _ = jax.jit(steps)(gfn, key)
    expected = np.broadcast_to(np.array([1.0, 3.0, 3.0])[:, None], ratios.shape)
    np.testing.assert_allclose(ratios, expected, rtol=1e-5)
    state, _ = gfnjax.train(gfn, key, 2)
    later = gfn.at(state)
    np.testing.assert_allclose(later.env.reward_exponent, 3.0)
    paths = later.model.sample(state.params, key, 4)
    plain = jax.vmap(GRID.log_reward)(terminal_states(paths))
    np.testing.assert_allclose(paths.log_reward, 3 * plain, rtol=1e-5)
    np.testing.assert_allclose(gfn.sample(state.params, key, 4).log_reward, plain, rtol=1e-5)


@pytest.mark.slow
def test_a_teachers_trajectories_have_the_students_exponent(key):
    taught = Teacher(describe(tempered(GRID, STEPS)), POLICY)
    state, _ = gfnjax.train(taught, key, 2)
    paths = taught.draw(state).trajectories
    plain = jax.vmap(GRID.log_reward)(terminal_states(paths))
    np.testing.assert_allclose(paths.log_reward, 3 * plain, rtol=1e-5)


def test_what_does_not_go_is_said():
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="reward_exponent must be positive"):
            tempered(GRID, wrong)
    for other in (3, Hypergrid):
        with pytest.raises(TypeError, match="env must be an environment such as Hypergrid"):
            tempered(other, 2.0)
    with pytest.raises(ValueError, match="must not say reward_exponent, which is for overrides"):
        describe(GRID, hyperparameters=Hyperparameters(reward_exponent=2.0))
    with pytest.raises(ValueError, match="a buffer replays rewards whose exponent has changed"):
        describe(tempered(GRID, STEPS), sampler=Mixed(Fifo(100)))
    describe(tempered(GRID, 2.0), sampler=Mixed(Fifo(100)))
    with pytest.raises(ValueError, match="reward_exponent cannot be overridden"):
        describe(GRID).init(jax.random.key(0), Hyperparameters.only(reward_exponent=2.0))
