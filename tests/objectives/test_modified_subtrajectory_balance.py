"""Modified sub-trajectory balance: by hand, against detailed balance, and where nothing stops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import masking
from gfnjax.objectives.base import loss_and_errors, resolve_log_z
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.objectives.modified_subtrajectory_balance import (
    ModifiedSubTrajectoryBalance,
    modified_subtrajectory_balance,
)
from gfnjax.objectives.regression import square

VALUES = jnp.array([[0.1, 0.4, 0.3, 0.0], [0.2, -0.3, 0.5, -1.0]])
STOPS = jnp.array([[-1.0, -2.0, 0.0, 0.0], [-0.5, -1.5, -0.7, 0.0]])


@pytest.fixture
def seen(two):
    """Two trajectories of 2 and 3 steps, the last of which stops."""
    return two._replace(log_partial_reward=VALUES, log_stop=STOPS)


def by_hand(scores, log_flow, lambda_):
    """sum w r^2 and sum w of one trajectory, pair by pair; `log_flow` is None where unknown."""
    ratio = np.asarray(scores.log_pf - scores.log_pb, np.float64)
    total = weight = 0.0
    for i in range(len(log_flow)):
        for j in range(i + 1, len(log_flow)):
            if log_flow[i] is None or log_flow[j] is None:
                continue
            residual = log_flow[i] + ratio[i:j].sum() - log_flow[j]
            total += lambda_ ** (j - i - 1) * residual**2
            weight += lambda_ ** (j - i - 1)
    return total, weight


def one(scores, i):
    return jax.tree.map(lambda x: x[i], scores)


@pytest.mark.parametrize("lambda_", [1.0, 0.5, 2.0])
def test_pairs_of_a_batch_by_hand(seen, lambda_):
    objective = ModifiedSubTrajectoryBalance(lambda_)
    flows = [[1.1, 2.4], [0.7, 1.2, 1.2]]
    rows = [by_hand(one(seen, i), flows[i], lambda_) for i in range(2)]
    total, weight = np.sum(rows, axis=0)
    loss, errors = loss_and_errors(objective, square, resolve_log_z("group", seen))
    np.testing.assert_allclose(loss, total / weight, rtol=1e-5)
    np.testing.assert_allclose(errors, [a / b for a, b in rows], rtol=1e-5)


def test_states_that_may_not_stop_have_no_flow_but_the_first(seen):
    forbidden = jnp.array([[True, False, False, False], [True, True, False, False]])
    seen = seen._replace(log_stop=jnp.where(forbidden, masking.FILL, seen.log_stop))
    scores = resolve_log_z("group", seen)
    weights = seen.log_reward + (seen.log_pb - seen.log_pf).sum(axis=1)
    log_z = float(weights.mean())
    np.testing.assert_allclose(scores.log_z, [log_z] * 2, rtol=1e-6)
    flows = [[log_z, 2.4], [log_z, None, 1.2]]
    rows = [by_hand(one(seen, i), flows[i], 1.0) for i in range(2)]
    total, weight = np.sum(rows, axis=0)
    loss, _ = loss_and_errors(ModifiedSubTrajectoryBalance(), square, scores)
    np.testing.assert_allclose(loss, total / weight, rtol=1e-5)
    gradient = jax.grad(
        lambda s: loss_and_errors(ModifiedSubTrajectoryBalance(), square, s)[0], allow_int=True
    )(scores)
    assert jnp.isfinite(gradient.log_stop).all()
    assert not gradient.log_stop[forbidden].any()


def test_groups_have_log_z_of_their_own(seen):
    apart = seen._replace(group=jnp.array([0, 1], jnp.int32))
    weights = seen.log_reward + (seen.log_pb - seen.log_pf).sum(axis=1)
    np.testing.assert_allclose(resolve_log_z("group", apart).log_z, weights, rtol=1e-6)
    prior = jnp.array([[-1.0, -2.0, 0.0], [-0.5, -0.25, -0.25]])
    found = resolve_log_z("group", apart._replace(log_prior=prior)).log_z
    # The prior in the place of P_B.
    expected = weights + jnp.array([-3.0, -1.0]) - seen.log_pb.sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_small_lambda_is_modified_detailed_balance(seen):
    mdb = ModifiedDetailedBalance()
    expected = jax.vmap(lambda s: mdb.residuals(mdb.adapt(s)))(seen)
    loss, _ = loss_and_errors(ModifiedSubTrajectoryBalance(1e-8), square, seen)
    values, weights = expected
    np.testing.assert_allclose(loss, (weights * values**2).sum() / weights.sum(), rtol=1e-5)


def test_the_step_that_stops_leaves_no_residual(seen):
    weights = modified_subtrajectory_balance(one(seen, 0), 1.0).weights.reshape(4, 4)
    assert weights.sum() == weights[0, 1] == 1


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("inf")])
def test_lambda_is_positive(wrong):
    with pytest.raises(ValueError, match="lambda_ must be positive and finite"):
        ModifiedSubTrajectoryBalance(wrong)
