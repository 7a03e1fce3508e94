"""Beta and von Mises mixtures: densities against SciPy, draws against the densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gfnjax.distributions import beta, von_mises

ONE = np.float64(1.0)
SHAPES = [(1, 1), (0.1001, 0.1001), (0.1001, 99), (99, 99), (3, 7), (0.5, 2)]


def raw(concentration):
    """What stands for a concentration: the inverse of `beta.concentration`."""
    share = np.log(concentration / 0.1) / np.log(1_000)
    return np.log(share / (1 - share)) + np.log(2)


def components(*shapes, weights=None):
    a, b = np.array(shapes, float).T
    logits = np.zeros(len(shapes)) if weights is None else np.log(weights)
    return np.stack([logits, raw(a), raw(b)])


def circles(*z, weights=None):
    """Parameters of von Mises components with natural parameters z, a complex number each."""
    z = np.array(z, complex)
    z = z / (1 - np.abs(z) / von_mises.MOST)
    logits = np.zeros(len(z)) if weights is None else np.log(weights)
    return np.stack([logits, z.real, z.imag])


@jax.jit
def draw_beta(params, temperature, noise):
    return jax.vmap(beta.sample, (None, None, 0))(params, temperature, noise)


@jax.jit
def draw_circle(params, temperature, noise):
    return jax.vmap(von_mises.sample, (None, None, 0))(params, temperature, noise)


beta_density = jax.jit(jax.vmap(beta.log_density, (None, 0)))
circle_density = jax.jit(jax.vmap(von_mises.log_density, (None, 0)))


@pytest.mark.parametrize("shape", SHAPES)
def test_beta_density(shape, x64):
    truth = stats.beta(*shape)
    u = np.concatenate([np.geomspace(2e-6, 0.5, 50), 1 - np.geomspace(2e-6, 0.5, 50)])
    params = components(shape)
    np.testing.assert_allclose(beta_density(params, u), truth.logpdf(u), rtol=1e-6, atol=1e-6)
    # At the ends it is level, with what mass there is.
    ends = beta_density(params, np.array([0.0, 5e-7, 1 - 5e-7, 1.0]))
    masses = np.exp(np.asarray(ends)) * beta.EDGE
    below, above = truth.cdf(1e-6), truth.sf(1 - 1e-6)
    np.testing.assert_allclose(masses, [below, below, above, above], rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_beta_draws(shape):
    noise = jax.random.uniform(jax.random.key(1), (50_000, beta.NUM_NOISE))
    params = components(shape).astype(np.float32)
    u = np.asarray(draw_beta(params, np.float32(1), noise), np.float64)
    truth = stats.beta(*shape)
    # Mass at the ends, four standard errors; of the rest the distribution function.
    for share, mass in ((u < 1e-6, truth.cdf(1e-6)), (u > 1 - 1e-6, truth.sf(1 - 1e-6))):
        assert abs(share.mean() - mass) < 4 * np.sqrt(mass / u.size) + 1e-9
    inside = u[(u > 1e-6) & (u < 1 - 1e-6)]
    low, high = truth.cdf(1e-6), truth.cdf(1 - 1e-6)
    assert stats.kstest(inside, lambda x: (truth.cdf(x) - low) / (high - low)).pvalue > 1e-3


def test_beta_mixtures(x64):
    params = components((2, 5), (30, 4), weights=[0.2, 0.8])
    u = np.linspace(0.01, 0.99, 99)
    density = 0.2 * stats.beta.pdf(u, 2, 5) + 0.8 * stats.beta.pdf(u, 30, 4)
    np.testing.assert_allclose(np.exp(beta_density(params, u)), density, rtol=1e-6)
    drawn = draw_beta(params, ONE, jax.random.uniform(jax.random.key(0), (20_000, beta.NUM_NOISE)))
    mixture = lambda x: 0.2 * stats.beta.cdf(x, 2, 5) + 0.8 * stats.beta.cdf(x, 30, 4)  # noqa: E731
    assert stats.kstest(np.asarray(drawn), mixture).pvalue > 1e-3


def test_a_temperature_is_a_power_of_each_component(x64):
    noise = jax.random.uniform(jax.random.key(2), (20_000, beta.NUM_NOISE))
    hot = draw_beta(components((9, 3)), 4 * ONE, noise)
    assert stats.kstest(np.asarray(hot), stats.beta(3, 1.5).cdf).pvalue > 1e-3
    noise = jax.random.uniform(jax.random.key(3), (20_000, von_mises.NUM_NOISE))
    hot = draw_circle(circles(8.0), 4 * ONE, noise)
    assert stats.kstest(np.asarray(hot), stats.vonmises(2.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("kappa", "mean"), [(1e-3, 0.0), (1.0, 2.0), (30.0, -3.0), (400.0, 0.5)])
def test_von_mises(kappa, mean, x64):
    params = circles(kappa * np.exp(1j * mean))
    x = np.linspace(-np.pi, np.pi, 101)
    truth = stats.vonmises(kappa)
    found = circle_density(params, x)
    np.testing.assert_allclose(found, truth.logpdf(x - mean), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(circle_density(params, x + 6 * np.pi), found, rtol=1e-9)
    noise = jax.random.uniform(jax.random.key(0), (20_000, von_mises.NUM_NOISE))
    drawn = np.asarray(draw_circle(params, ONE, noise))
    assert (np.abs(drawn) <= np.pi).all()
    away = (drawn - mean + np.pi) % (2 * np.pi) - np.pi
    assert stats.kstest(away, truth.cdf).pvalue > 1e-3


def test_von_mises_mixtures(x64):
    params = circles(5.0, -2j, weights=[0.3, 0.7])
    x = np.linspace(-np.pi, np.pi, 101)
    one, other = (stats.vonmises.pdf(x, k, m) for k, m in ((5, 0), (2, -np.pi / 2)))
    np.testing.assert_allclose(np.exp(circle_density(params, x)), 0.3 * one + 0.7 * other, 1e-4)
    # Zeros are uniform, with a gradient.
    zeros = jnp.zeros((3, 2))
    assert circle_density(zeros, x) == pytest.approx(-np.log(2 * np.pi), abs=1e-6)
    slope = jax.jit(jax.grad(von_mises.log_density))(zeros, jnp.asarray(0.3))
    np.testing.assert_allclose(slope[1:, 0], [np.cos(0.3) / 2, np.sin(0.3) / 2], rtol=1e-4)


@pytest.mark.parametrize("density", [beta.log_density, von_mises.log_density])
def test_gradients_are_finite_everywhere(density):
    both = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(density), (None, 0)), (0, None)))
    params = jnp.array([0.0, 50.0, -50.0])[:, None, None] * jnp.ones((1, 3, 2))
    found = both(params, jnp.array([0.0, 1e-6, 0.5, 1 - 1e-6, 1.0, -3.0, 7.0]))
    assert all(np.isfinite(x).all() for x in found)


def test_the_undecided_are_uniform():
    assert beta.concentration(jnp.zeros(())) == pytest.approx(1.0, abs=1e-6)
    ends = beta.concentration(jnp.array([-100.0, 100.0]))
    np.testing.assert_allclose(ends, [0.1, 100.0], rtol=1e-5)
