import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gfnjax import GFlowNet, Hypergrid, Hyperparameters, TrajectoryBalance, tabular_policy
from gfnjax.distributions.gaussian import Gaussian, Proposal, Step
from gfnjax.envs.diffusion import Diffusion
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.diffusion import diffusion_policy
from gfnjax.rewards.densities import gaussian

STEP = Step(jnp.array([0.5, -1.0]), jnp.array([0.2, -0.4]))
FREE = Proposal(jnp.array(True), jnp.array([1.0, 2.0]), jnp.array(0.3))
POINT = FREE._replace(scale=jnp.zeros(()))
MEAN = np.array([1.0, 2.0]) + 0.3 * np.array([0.5, -1.0])
STD = 0.3 * np.exp(np.array([0.1, -0.2]))
KIND = Gaussian(2)


def values(**numbers):
    given = Hyperparameters(epsilon=0.0, temperature=1.0, exploration_std=0.0)._replace(**numbers)
    return jax.tree.map(jnp.asarray, given)


def test_the_density_is_that_of_scipy():
    for x in ([1.0, 2.0], [0.3, -5.0], MEAN):
        expected = stats.norm.logpdf(np.asarray(x), MEAN, STD).sum()
        np.testing.assert_allclose(KIND.log_prob(STEP, FREE, jnp.asarray(x)), expected, rtol=1e-5)


def test_the_density_integrates_to_one():
    axes = [jnp.linspace(m - 8 * s, m + 8 * s, 161) for m, s in zip(MEAN, STD, strict=True)]
    grid = jnp.stack(jnp.meshgrid(*axes), -1).reshape(-1, 2)
    density = jnp.exp(jax.vmap(lambda x: KIND.log_prob(STEP, FREE, x))(grid))
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    np.testing.assert_allclose(density.sum() * cell, 1.0, atol=1e-4)


def test_samples_follow_the_density(key):
    noise = KIND.noise(key, (5_000,))
    x = np.asarray(jax.vmap(lambda u: KIND.sample(STEP, FREE, u))(noise))
    for d in range(2):
        assert stats.kstest(x[:, d], stats.norm(MEAN[d], STD[d]).cdf).pvalue > 0.01
    back = jax.vmap(lambda x: KIND.noise_of(STEP, FREE, x))(jnp.asarray(x))
    np.testing.assert_allclose(back, noise, atol=1e-4)


def test_a_point_mass_has_one_action_of_log_probability_zero(key):
    x = KIND.sample(STEP, POINT, KIND.noise(key, ()))
    np.testing.assert_array_equal(x, POINT.center)
    assert KIND.log_prob(STEP, POINT, x) == 0
    assert KIND.allows(POINT, x)
    assert not KIND.allows(POINT, x + 1e-3)
    assert KIND.allows(FREE, x + 1e-3)
    assert not KIND.allows(FREE, x * jnp.nan)
    assert not KIND.allows(FREE._replace(allowed=jnp.array(False)), x)
    np.testing.assert_array_equal(KIND.noise_of(STEP, POINT, x), 0.0)


@pytest.mark.parametrize("support", [FREE, POINT, FREE._replace(allowed=jnp.array(False))])
def test_gradients_are_finite_everywhere(support):
    wild = Step(jnp.array([jnp.inf, 1e30]), jnp.array([jnp.nan, 0.0]))
    step = STEP if support is FREE else wild
    grads = jax.grad(KIND.log_prob)(step, support, jnp.array([4.0, -3.0]))
    assert all(np.isfinite(x).all() for x in grads)


def test_exploration_adds_variance():
    wide = KIND.explore(STEP, FREE, values(exploration_std=0.4, temperature=2.0))
    variance = (0.3**2) * np.exp(wide.log_variance)
    np.testing.assert_allclose(variance, 2 * STD**2 + 0.4**2, rtol=1e-5)
    np.testing.assert_array_equal(wide.shift, STEP.shift)
    same = KIND.explore(STEP, FREE, values())
    np.testing.assert_allclose(same.log_variance, STEP.log_variance, rtol=1e-6)
    assert np.isfinite(KIND.explore(STEP, POINT, values(exploration_std=0.4)).log_variance).all()


def test_a_compiled_schedule_may_end_below_zero():
    same = KIND.explore(STEP, FREE, values(exploration_std=-3e-9))
    np.testing.assert_allclose(same.log_variance, STEP.log_variance, rtol=1e-6)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="size must be at least 1"):
        Gaussian(0)
    with pytest.raises(ValueError, match="shift must have shape"):
        Gaussian(3).log_prob(STEP, FREE, jnp.zeros(3))
    with pytest.raises(ValueError, match="action must have shape"):
        KIND.log_prob(STEP, FREE, jnp.zeros(()))


def describe(**numbers):
    env = Diffusion(gaussian(2), num_steps=3)
    given = Hyperparameters(**numbers)
    policy = diffusion_policy(env)
    return GFlowNet(env, policy, TrajectoryBalance(), UniformBackward(), hyperparameters=given)


def test_only_what_explores_is_taken():
    describe(temperature=1.5, exploration_std=0.1)
    with pytest.raises(ValueError, match=r"epsilon must be 0.*Gaussian actions explore by temper"):
        describe(epsilon=0.1)
    grid = Hypergrid(2, 4)
    noisy = Hyperparameters(exploration_std=0.1)
    with pytest.raises(ValueError, match=r"exploration_std must be 0.*Categorical actions"):
        GFlowNet(grid, tabular_policy(grid), TrajectoryBalance(), hyperparameters=noisy)
    with pytest.raises(ValueError, match="exploration_std must not be negative"):
        describe(exploration_std=-0.1)


@pytest.mark.slow
def test_exploration_is_not_scored(key):
    plain, noisy = describe(), describe(exploration_std=3.0)
    state = noisy.init(key)
    batch, _ = jax.jit(noisy.draw)(state)
    quiet, _ = jax.jit(plain.draw)(plain.init(key))
    assert np.std(batch.trajectories.states.x) > 2 * np.std(quiet.trajectories.states.x)
    scores = noisy.score(state.params, batch.trajectories)
    x = np.asarray(batch.trajectories.states.x)
    expected = stats.norm.logpdf(x[:, 1:], x[:, :-1], 3**-0.5).sum(axis=2)
    np.testing.assert_allclose(scores.log_pf, expected, rtol=1e-4)
