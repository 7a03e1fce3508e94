import jax
import numpy as np

from gfnjax import DetailedBalance
from gfnjax.objectives.base import resolve_log_z
from gfnjax.objectives.detailed_balance import detailed_balance


def test_log_z_is_the_flow_of_the_source(two):
    np.testing.assert_allclose(resolve_log_z(DetailedBalance().log_z, two).log_z, [2.2, 1.0])


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
