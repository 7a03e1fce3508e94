import jax.numpy as jnp
import numpy as np

from gfnjax.rewards.scalarisation import Temperature, WeightedProduct, WeightedSum

REWARDS = jnp.log(jnp.array([2.0, 8.0]))
WEIGHTS = jnp.array([0.25, 0.75])


def test_temperature_is_a_power_of_the_reward():
    np.testing.assert_allclose(Temperature()(REWARDS[1:], jnp.array([0.5])), np.log(8) / 2)


def test_weighted_sum():
    # .25 * 2 + .75 * 8 = 6.5
    np.testing.assert_allclose(WeightedSum()(REWARDS, WEIGHTS), np.log(6.5), rtol=1e-6)
    np.testing.assert_allclose(WeightedSum(3.0)(REWARDS, WEIGHTS), 3 * np.log(6.5), rtol=1e-6)
    np.testing.assert_allclose(WeightedSum()(REWARDS, jnp.array([1.0, 0.0])), np.log(2), rtol=1e-6)


def test_weighted_product():
    # 2^.25 8^.75 = 2^2.5
    np.testing.assert_allclose(WeightedProduct()(REWARDS, WEIGHTS), 2.5 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(WeightedProduct(2.0)(REWARDS, WEIGHTS), 5 * np.log(2), rtol=1e-6)
