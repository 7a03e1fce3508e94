import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gfnjax import GFlowNet, TrajectoryBalance, train
from gfnjax.envs import Diffusion
from gfnjax.envs.base import Euclidean, Measurable, PartialReward
from gfnjax.envs.drawing import KnownTarget, Renderable
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.diffusion import diffusion_policy
from gfnjax.rewards.densities import Funnel, ManyWell, gaussian, grid_mixture
from gfnjax.testing import check_environment


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(grid_mixture, marks=pytest.mark.slow, id="gmm25"),
        pytest.param(lambda: Funnel(3), marks=pytest.mark.slow, id="funnel"),
        pytest.param(lambda: ManyWell(4), marks=pytest.mark.slow, id="many-well"),
        pytest.param(lambda: gaussian(1, 1.0, 0.25), id="gaussian"),
    ],
)
def test_conformance(make, key):
    check_environment(Diffusion(make(), num_steps=4), key, num_trajectories=8)


@pytest.mark.slow
def test_conformance_in_double_precision(key, x64):
    check_environment(Diffusion(ManyWell(4), num_steps=4), key, num_trajectories=8)


def own_reward(x):
    return -jnp.abs(x - 1.0).sum()


@pytest.mark.slow
def test_any_function_is_a_reward(key):
    env = Diffusion(own_reward, dim=2, num_steps=5)
    assert env.target() is None
    assert env.render_target() is None
    policy = diffusion_policy(env, width=8, langevin=True)
    gfn = GFlowNet(env, policy, TrajectoryBalance(), UniformBackward(), batch_size=8)
    _, history = train(gfn, key, 3)
    assert np.isfinite(history.info.loss).all()


@pytest.mark.slow
def test_paths_are_taken_back_exactly(key):
    env = Diffusion(gaussian(3), num_steps=6, variance=2.0)
    policy = diffusion_policy(env, width=8)
    gfn = GFlowNet(env, policy, TrajectoryBalance(), UniformBackward())
    params = gfn.model.init(*jax.random.split(key))
    x = jnp.array([[1.0, 2.0, 3.0], [-4.0, 0.5, 0.25]])
    paths = gfn.sample_backward(params, jax.random.key(1), jax.vmap(env.at_point)(x))
    np.testing.assert_array_equal(paths.states.x[:, 0], 0.0)
    np.testing.assert_array_equal(paths.states.x[:, -1], x)
    np.testing.assert_array_equal(paths.actions, paths.states.x[:, 1:])
    np.testing.assert_array_equal(paths.length, 6)
    scores = gfn.score(params, paths)
    x = np.asarray(paths.states.x, float)
    t = np.arange(1, 7)
    kept = ((t - 1) / t)[None, :, None]
    std = np.sqrt(kept * 2 / 6)
    expected = stats.norm.logpdf(x[:, 1:-1], kept[:, 1:] * x[:, 2:], std[:, 1:]).sum(axis=2)
    np.testing.assert_allclose(scores.log_pb[:, 1:], expected, rtol=1e-4)
    np.testing.assert_array_equal(scores.log_pb[:, 0], 0.0)


def test_backward_paths_are_brownian_bridges(key):
    env = Diffusion(gaussian(1), num_steps=4)
    policy = diffusion_policy(env, width=8)
    gfn = GFlowNet(env, policy, TrajectoryBalance(), UniformBackward())
    params = gfn.model.init(*jax.random.split(key))
    ends = jax.vmap(env.at_point)(jnp.full((20_000, 1), 3.0))
    x = np.asarray(gfn.sample_backward(params, jax.random.key(1), ends).states.x[:, :, 0])
    t = np.arange(5) / 4
    np.testing.assert_allclose(x.mean(axis=0), 3 * t, atol=0.02)
    np.testing.assert_allclose(x.var(axis=0), t * (1 - t), atol=0.01)


def test_the_partial_reward_by_hand():
    env = Diffusion(gaussian(2, 1.0, 0.25), num_steps=4, variance=2.0)
    x = np.array([0.3, -0.6])
    for t in range(1, 5):
        state = env.initial_state()._replace(x=jnp.asarray(x), t=jnp.asarray(t))
        brownian = stats.norm.logpdf(x, 0.0, np.sqrt(2 * t / 4)).sum()
        reward = stats.norm.logpdf(x, 1.0, 0.5).sum()
        expected = (1 - t / 4) * brownian + t / 4 * reward
        np.testing.assert_allclose(env.log_partial_reward(state), expected, rtol=1e-5)
    assert env.log_partial_reward(env.initial_state()) == 0


def test_abilities():
    env = Diffusion(grid_mixture())
    for ability in (Euclidean, Measurable, PartialReward, KnownTarget, Renderable):
        assert isinstance(env, ability)
    assert env.target().log_z == 0
    assert env.max_steps == 100
    states = jax.vmap(env.at_point)(jnp.asarray(env.reward.means))
    assert env.measure(states)["modes_found"] == 25
    (panel,) = env.render(states, np.full(25, 1 / 25))
    assert panel.values.sum() == pytest.approx(1)
    (target,) = env.render_target()
    assert target.bounds == panel.bounds
    assert Diffusion(own_reward, dim=2).measure(states) == {}


def test_observations_are_of_order_one():
    env = Diffusion(gaussian(2), num_steps=4, variance=25.0)
    state = env.initial_state()._replace(x=jnp.array([5.0, -10.0]), t=jnp.asarray(2))
    np.testing.assert_allclose(env.observe(state), [1.0, -2.0, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Diffusion(own_reward), "dim must be given"),
        (lambda: Diffusion(gaussian(2), dim=3), "dim must be 2, that of the reward"),
        (lambda: Diffusion(gaussian(2), num_steps=0), "num_steps must be at least 1"),
        (lambda: Diffusion(gaussian(2), variance=0.0), "variance must be positive"),
        (lambda: Diffusion(3.0, dim=1), "reward must be a function"),
        (lambda: Diffusion(gaussian(2), variance=np.inf), "variance must be positive and finite"),
        (lambda: Diffusion(gaussian(2), variance=lambda t: 1.0), "variance must be one number"),
        (lambda: Diffusion(gaussian(2), variance=np.ones(2)), "variance must be one number"),
        (lambda: Diffusion(gaussian(2)).at_point(jnp.zeros(3)), "x must have shape"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
