import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import DetailedBalance, TargetDetailedBalance
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.detailed_balance import detailed_balance
from gfnjax.objectives.regression import square


def test_residuals_by_hand(two):
    residuals = jax.vmap(DetailedBalance().residuals)(two)
    expected = [[0.2, 0.9, 0.0], [0.4, 0.15, 1.15]]
    np.testing.assert_allclose(residuals.values, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(residuals.weights, [[1, 1, 0], [1, 1, 1]])


def test_loss_averages_transitions_not_trajectories(two):
    expected = (0.2**2 + 0.9**2 + 0.4**2 + 0.15**2 + 1.15**2) / 5
    np.testing.assert_allclose(weighted_loss(DetailedBalance(), square, two), expected, rtol=1e-5)


def test_log_z_is_the_flow_of_the_source(two):
    np.testing.assert_allclose(resolve_log_z(DetailedBalance().log_z, two).log_z, [2.2, 1.0])


def test_next_flow_from_the_target_network(two):
    other = two._replace(log_flow=two.log_flow + jnp.array([[0.0, 0.1, 0.0, 0.0]]))
    residuals = jax.vmap(TargetDetailedBalance().residuals)(two._replace(target=other))
    # Only residuals that end in s_1 see the other flow.
    expected = [[0.1, 0.9, 0.0], [0.3, 0.15, 1.15]]
    np.testing.assert_allclose(residuals.values, expected, rtol=1e-5, atol=1e-7)


def test_no_gradient_reaches_the_next_flow(two):
    def loss(log_flow):
        residuals = jax.vmap(lambda s, f: detailed_balance(s, f))(
            two._replace(log_flow=log_flow), two.log_flow[:, 1:]
        )
        return (residuals.weights * residuals.values**2).sum() / 2

    grad = jax.grad(loss)(two.log_flow)
    # Each residual's gradient arrives at the flow it starts from.
    expected = [[0.2, 0.9, 0.0, 0.0], [0.4, 0.15, 1.15, 0.0]]
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-7)
