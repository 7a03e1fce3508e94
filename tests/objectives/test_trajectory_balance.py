import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import LogPartitionVariance, TrajectoryBalance
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.objectives.trajectory_balance import ContrastiveBalance


def test_gradient_of_log_z_is_twice_the_mean_residual(two):
    def loss(log_z):
        scores = two._replace(log_z=jnp.broadcast_to(log_z, (2,)))
        return weighted_loss(TrajectoryBalance(), square, scores)

    np.testing.assert_allclose(jax.grad(loss)(jnp.array(1.2)), 0.1 + 1.9, rtol=1e-5)


def variance_loss(scores):
    objective = LogPartitionVariance()
    return weighted_loss(objective, square, resolve_log_z(objective.log_z, scores))


def test_log_partition_variance_is_the_variance_of_the_estimate(random_scores, x64):
    scores = random_scores(0, batch=16)
    estimate = scores.log_reward + scores.log_pb.sum(axis=1) - scores.log_pf.sum(axis=1)
    scores = jax.tree.map(jnp.asarray, scores)
    np.testing.assert_allclose(variance_loss(scores), estimate.var(), rtol=1e-12)
    # d var / d estimate_i = 2 (estimate_i - mean) / n, and d estimate / d log P_F = -1.
    grad = jax.grad(lambda x: variance_loss(scores._replace(log_pf=x)))(scores.log_pf)
    expected = -2 * (estimate - estimate.mean()) / 16
    np.testing.assert_allclose(grad[:, 0], expected, rtol=1e-12)


def test_one_trajectory_has_no_variance(two):
    one = jax.tree.map(lambda x: x[:1], two)
    assert variance_loss(one) == pytest.approx(0, abs=1e-12)


def test_a_trajectory_of_length_zero_does_not_count(two):
    # Padding of a batch: only the second trajectory is left.
    scores = two._replace(length=jnp.array([0, 3], jnp.int32))
    loss = weighted_loss(TrajectoryBalance(), square, scores)
    np.testing.assert_allclose(loss, 1.9**2, rtol=1e-5)


def test_contrastive_balance_is_a_difference_of_residuals(random_scores, x64):
    scores = jax.tree.map(jnp.asarray, random_scores(1, batch=5))
    plain = jax.vmap(TrajectoryBalance().residuals)(scores).values[:, 0] - scores.log_z
    ours = resolve_log_z(ContrastiveBalance().log_z, scores)
    values = jax.vmap(ContrastiveBalance().residuals)(ours).values[:, 0]
    for i in range(5):
        np.testing.assert_allclose(values[i], plain[i] - plain[(i + 1) % 5], rtol=1e-12)
    one = jax.tree.map(lambda x: x[:1], scores)
    one = resolve_log_z(ContrastiveBalance().log_z, one)
    np.testing.assert_allclose(weighted_loss(ContrastiveBalance(), square, one), 0, atol=1e-24)
