import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import FlowMatching
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.regression import square


@pytest.mark.parametrize("epsilon", [0.0, 2.5e-5, 0.5])
def test_residuals_against_numpy(random_scores, x64, epsilon):
    scores = random_scores(2)
    inflow, outflow = np.exp(scores.log_inflow[:, 1:]), np.exp(scores.log_flow[:, 1:])
    expected = np.log(epsilon + inflow) - np.log(epsilon + outflow)
    residuals = jax.vmap(FlowMatching(epsilon=epsilon).residuals)(jax.tree.map(jnp.asarray, scores))
    np.testing.assert_allclose(residuals.values, np.where(scores.mask, expected, 0), atol=1e-12)
    np.testing.assert_array_equal(residuals.weights, scores.mask)


def test_epsilon_forgives_small_flows(two):
    tiny = two._replace(log_inflow=two.log_inflow - 40, log_flow=two.log_flow - 45)
    assert weighted_loss(FlowMatching(), square, tiny) > 10
    assert weighted_loss(FlowMatching(epsilon=1e-3), square, tiny) < 1e-10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon": -1.0}, "epsilon must not be negative, got -1.0"),
        ({"terminal_weight": 0.0}, "terminal_weight must be positive, got 0.0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        FlowMatching(**arguments)
