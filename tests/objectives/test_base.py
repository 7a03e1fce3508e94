"""The reduction every loss goes through, and functions as objectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import Residuals, TrajectoryBalance
from gfnjax.objectives.base import FunctionObjective, as_objective, resolve_log_z, weighted_loss
from gfnjax.objectives.regression import chi_square, square


def uneven(scores):
    return Residuals(scores.log_flow, jnp.array([1.0, 2.0, 0.0, 0.0]))


def test_weighted_mean_over_the_batch(two):
    # (2.2^2 + 2 1.5^2 + 1 + 2 .5^2) / 6
    loss = weighted_loss(as_objective(uneven), square, two)
    np.testing.assert_allclose(loss, (4.84 + 4.5 + 1 + 0.5) / 6, rtol=1e-6)


def test_residuals_without_weight_do_not_reach_the_regression(two):
    # An overflow in padding must not turn 0 * inf into NaN, neither in value nor gradient.
    def loss(padding):
        scores = two._replace(log_flow=two.log_flow.at[:, 3].set(padding))
        return weighted_loss(as_objective(uneven), lambda r: jnp.exp(r) - r - 1, scores)

    value, grad = jax.value_and_grad(loss)(jnp.array(1e4))
    assert np.isfinite(value)
    assert grad == 0


def test_no_weight_at_all_gives_zero(two):
    nothing = as_objective(lambda s: Residuals(s.log_flow, jnp.zeros(4)))
    assert weighted_loss(nothing, chi_square, two) == 0


def test_functions_become_objectives():
    assert as_objective(uneven) == FunctionObjective(uneven)
    assert as_objective(uneven).log_z == "learned"
    objective = TrajectoryBalance()
    assert as_objective(objective) is objective


@pytest.mark.parametrize("wrong", [TrajectoryBalance, "tb", None, 3])
def test_what_is_no_objective(wrong):
    with pytest.raises(TypeError, match="objective must be an Objective"):
        as_objective(wrong)


def test_wrong_return_type(two):
    with pytest.raises(TypeError, match="an objective must return Residuals, got tuple"):
        weighted_loss(as_objective(lambda s: (s.log_pf, s.mask)), square, two)


def test_shapes_that_do_not_agree(two):
    wrong = as_objective(lambda s: Residuals(s.log_pf, s.log_flow))
    with pytest.raises(ValueError, match=r"same shape, got \(3,\) and \(4,\)"):
        weighted_loss(wrong, square, two)


def test_sources_of_log_z(two):
    np.testing.assert_allclose(resolve_log_z("learned", two).log_z, [1.2, 1.2])
    np.testing.assert_allclose(resolve_log_z("flow", two).log_z, [2.2, 1.0])
    # log R + log P_B - log P_F = 1.1 and -.7
    np.testing.assert_allclose(resolve_log_z("batch", two).log_z, [0.2, 0.2], rtol=1e-5)
