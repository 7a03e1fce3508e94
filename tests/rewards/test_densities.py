import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from gfnjax.rewards import densities
from gfnjax.rewards.densities import (
    Funnel,
    GaussianMixture,
    KnownDensity,
    ManyWell,
    Modal,
    gaussian,
    grid_mixture,
    modes_found,
    wide_mixture,
)


def integral(reward, half_width, points=801):
    axis = np.linspace(-half_width, half_width, points)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    values = np.exp(np.asarray(jax.jit(jax.vmap(reward))(jnp.asarray(grid)), float))
    return values.sum() * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize(
    ("make", "half_width"),
    [
        (grid_mixture, 14.0),
        (lambda: gaussian(2, 1.0, 0.25), 5.0),
        (lambda: Funnel(2, 1.0), 30.0),
        (lambda: ManyWell(2), 7.0),
    ],
    ids=["gmm25", "gaussian", "funnel", "well"],
)
def test_log_z_is_the_integral(make, half_width, x64):
    reward = make()
    found = np.log(integral(reward, half_width))
    np.testing.assert_allclose(found, reward.log_z, atol=3e-3)


@pytest.mark.parametrize(
    ("dim", "log_z"), [(8, 41.173919), (32, 164.695675), (128, 658.782701), (512, 2635.130805)]
)
def test_log_z_of_many_wells(dim, log_z):
    assert ManyWell(dim).log_z == pytest.approx(log_z, abs=5e-6)


def test_a_double_well_by_quadrature():
    def density(x):
        return np.exp(-(x**4) + 6 * x**2 + x / 2)

    mass = integrate.quad(density, -6, 6)[0]
    assert mass == pytest.approx(11784.509265, rel=1e-8)
    left = integrate.quad(density, -6, 0)[0] / mass
    assert left == pytest.approx(0.155693, abs=1e-6)
    assert -16 * np.log(ManyWell(32).shares[-1]) == pytest.approx(2.7078, abs=1e-4)
    assert ManyWell(32).shares[0] == pytest.approx(0.155693, abs=1e-6)
    x = np.asarray(ManyWell(2).sample(jax.random.key(0), 200_000))[:, 0]
    for power, moment in ((1, 1.187961), (2, 2.959806)):
        error = (x**power).std() / len(x) ** 0.5
        assert (x**power).mean() == pytest.approx(moment, abs=5 * float(error))
    assert (x < 0).mean() == pytest.approx(left, abs=5 * (left / len(x)) ** 0.5)


def test_exact_samples_have_the_moments_of_the_target(key):
    x = np.asarray(Funnel(3, 1.0).sample(key, 100_000))
    np.testing.assert_allclose(x[:, 0].std(), 1.0, atol=0.02)
    scaled = x[:, 1:] * np.exp(-x[:, :1] / 2)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=0.02)
    x = np.asarray(grid_mixture().sample(jax.random.key(1), 100_000))
    np.testing.assert_allclose(x.var(axis=0), 50.3, atol=1.0)


def test_values_by_hand():
    x = jnp.array([0.5, -2.0, 1.0])
    normal = -0.5 * np.log(2 * np.pi)
    expected = 3 * normal - 0.25 / 18 - np.log(3) - 5 / 2 * np.exp(-0.5) - 0.5
    np.testing.assert_allclose(Funnel(3, 3.0)(x), expected, rtol=1e-6)
    expected = -(0.5**4) + 6 * 0.25 + 0.25 - 2.0 + (-1.0 + 6 + 0.5 - 4.5)
    np.testing.assert_allclose(ManyWell(4)(jnp.array([0.5, -2.0, 1.0, 3.0])), expected, rtol=1e-6)
    mixture = GaussianMixture(np.array([[0.0], [4.0]]), 2.0)
    expected = np.log(np.mean(np.exp([-1 / 8, -9 / 8]) / (2 * np.sqrt(2 * np.pi))))
    np.testing.assert_allclose(mixture(jnp.array([1.0])), expected, rtol=1e-6)


def test_modes_are_counted():
    reward = grid_mixture()
    inside = jax.vmap(reward.in_modes)(jnp.asarray(reward.means[:5]))
    assert inside.sum() == 5
    assert modes_found(reward, jnp.asarray(reward.means[:5])) == 5
    assert not reward.in_modes(jnp.array([2.5, 2.5])).any()
    # One in a thousand is less than a tenth of 1/25.
    few = jnp.asarray(reward.means)[jnp.array([0] + 999 * [1])]
    assert modes_found(reward, few) == 1
    wells = jnp.array([[1.7, 0, -1.7, 0], [1.7, 0, -1.7, 0.0]])
    assert modes_found(ManyWell(4), wells) == 2
    for known in (reward, ManyWell(4)):
        assert isinstance(known, Modal)
        assert isinstance(known, KnownDensity)
        np.testing.assert_allclose(known.shares.sum(), 1 if known is reward else 2)
    assert len(wide_mixture().shares) == 40
    assert np.abs(wide_mixture().means).max() < 40


def test_wells_are_found_by_who_samples_them(key):
    reward = ManyWell(32)
    exact = reward.sample(key, 4_000)
    assert modes_found(reward, exact) == 32
    right = exact.at[:, ::2].set(jnp.abs(exact[:, ::2]))
    assert modes_found(reward, right) == 16
    # A left well with less than a tenth of its .156 is missed, though a hundredth would be .01.
    assert modes_found(reward, jnp.where(jnp.arange(4_000)[:, None] < 300, exact, right)) == 16
    assert modes_found(reward, jax.random.normal(key, (4_000, 32))) == 0


def test_places_may_be_integers():
    place = jnp.array([0, 0])
    for reward in (GaussianMixture(np.array([[0.5, 0.5]]), 0.1), Funnel(2), ManyWell(2)):
        np.testing.assert_allclose(reward(place), reward(place.astype(float)), rtol=1e-6)
    assert not grid_mixture().in_modes(jnp.array([2, 2])).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ManyWell(3), "dim must be even"),
        (lambda: Funnel(1), "dim must be at least 2"),
        (lambda: GaussianMixture(np.zeros(3)), r"means must be \[k, d\]"),
        (lambda: GaussianMixture(np.zeros((1, 2)), 0.0), "std must be positive"),
        (lambda: gaussian(2, 0.0, -1.0), "variance must be positive"),
        (lambda: GaussianMixture(np.zeros((2, 1)), np.array([-1.0, 1.0])), "std must have shape"),
        (lambda: densities.Funnel(3)(jnp.zeros(2)), "x must have shape"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
