import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnjax import DetailedBalance, Residuals, Scores, SubTrajectoryBalance, TrajectoryBalance
from gfnjax.objectives.base import as_objective, resolve_log_z, weighted_loss
from gfnjax.objectives.regression import square


def loss_of(objective, scores):
    return weighted_loss(objective, square, resolve_log_z(objective.log_z, scores))


def double_loop(scores, lambda_):
    """Residuals and weights of all pairs of a batch, in plain Python."""
    residuals, weights = [], []
    for b, length in enumerate(scores.length):
        ratio = np.asarray(scores.log_pf[b], float) - np.asarray(scores.log_pb[b], float)
        flow = np.asarray(scores.log_flow[b], float)
        for i in range(length):
            for j in range(i + 1, length + 1):
                residuals.append(flow[i] + ratio[i:j].sum() - flow[j])
                weights.append(lambda_ ** (j - i))
    return np.array(residuals), np.array(weights)


def test_loss_by_hand(two):
    # Sums of squares by gap: 2.355 (five), 1.1^2 + .55^2 + 1.3^2 = 3.2025 (three), 1.7^2.
    expected = (0.5 * 2.355 + 0.25 * 3.2025 + 0.125 * 2.89) / (0.5 * 5 + 0.25 * 3 + 0.125)
    np.testing.assert_allclose(loss_of(SubTrajectoryBalance(0.5), two), expected, rtol=1e-5)


@pytest.mark.parametrize("lambda_", [0.1, 0.9, 1.0, 2.0])
def test_against_a_double_loop(random_scores, x64, lambda_):
    scores = random_scores(1)
    residuals, weights = double_loop(scores, lambda_)
    actual = jax.vmap(SubTrajectoryBalance(lambda_).residuals)(jax.tree.map(jnp.asarray, scores))
    live = np.asarray(actual.weights) > 0
    np.testing.assert_allclose(np.asarray(actual.values)[live], residuals, rtol=1e-10)
    shares = np.asarray(actual.weights)[live]
    np.testing.assert_allclose(shares / shares.sum(), weights / weights.sum(), rtol=1e-10)


@given(st.integers(0, 10_000), st.floats(0.05, 3.0))
def test_weights_normalise_to_one(random_scores, seed, lambda_):
    # Residuals that are all equal to c make a loss of c^2: contributions sum to one.
    scores = random_scores(seed)
    residuals, weights = jax.vmap(SubTrajectoryBalance(lambda_).residuals)(
        jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if x.dtype == float else x, scores)
    )
    assert residuals.shape == weights.shape == (4, 49)
    constant = lambda trajectory: Residuals(jnp.full(49, 1.5), trajectory)  # noqa: E731
    loss = weighted_loss(as_objective(constant), square, weights)
    np.testing.assert_allclose(loss, 1.5**2, rtol=1e-5)
    expected = double_loop(scores, lambda_)[1]
    shares = np.asarray(weights[weights > 0]) / float(weights.sum())
    np.testing.assert_allclose(np.sort(shares), np.sort(expected / expected.sum()), rtol=1e-4)


def test_small_lambda_is_detailed_balance(two):
    expected = loss_of(DetailedBalance(), two)
    np.testing.assert_allclose(loss_of(SubTrajectoryBalance(1e-9), two), expected, rtol=1e-5)


def test_large_lambda_is_trajectory_balance_with_the_flow_of_the_source(two):
    whole = jax.tree.map(lambda x: x[1:], two)
    expected = loss_of(TrajectoryBalance(), whole._replace(log_z=whole.log_flow[:, 0]))
    np.testing.assert_allclose(expected, 1.7**2, rtol=1e-5)
    np.testing.assert_allclose(loss_of(SubTrajectoryBalance(1e7), whole), expected, rtol=1e-5)


@pytest.mark.parametrize("lambda_", [0.9, 1.9])
def test_long_trajectories_stay_finite(lambda_):
    horizon = 150
    rng = np.random.default_rng(0)
    length = np.array([3, horizon], np.int32)
    mask = np.arange(horizon)[None] < length[:, None]
    draw = lambda n: rng.normal(size=(2, n)).astype(np.float32)  # noqa: E731
    scores = Scores(
        log_pf=np.where(mask, draw(horizon), 0),
        log_pb=np.where(mask, draw(horizon), 0),
        log_flow=np.where(
            np.pad(mask, ((0, 0), (1, 0)), constant_values=True), draw(horizon + 1), 0
        ),
        log_reward=draw(1)[:, 0],
        log_z=draw(1)[:, 0],
        mask=mask,
        length=length,
        complete=jnp.ones(length.shape, bool),
    )
    residuals, weights = double_loop(scores, lambda_)
    expected = (weights * residuals**2).sum() / weights.sum()
    value, grad = jax.value_and_grad(
        lambda x: loss_of(SubTrajectoryBalance(lambda_), scores._replace(log_flow=x))
    )(jnp.asarray(scores.log_flow))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert np.isfinite(grad).all()
    # A short trajectory alone, far below the horizon, keeps its weights.
    short = jax.tree.map(lambda x: x[:1], scores)
    residuals, weights = double_loop(short, lambda_)
    expected = (weights * residuals**2).sum() / weights.sum()
    np.testing.assert_allclose(loss_of(SubTrajectoryBalance(lambda_), short), expected, rtol=1e-4)


def test_lambda_must_be_positive():
    with pytest.raises(ValueError, match="lambda_ must be positive, got 0"):
        SubTrajectoryBalance(0)
