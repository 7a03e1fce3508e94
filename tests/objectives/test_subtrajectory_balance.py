import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Residuals,
    Scores,
    SubTrajectoryBalance,
    TrajectoryBalance,
    mlp_policy,
)
from gfnjax.objectives import LEDGFN, ForwardLooking, GAFlowNet
from gfnjax.objectives.base import (
    as_objective,
    loss_and_errors,
    resolve_log_z,
    weighted_loss,
)
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


@pytest.mark.parametrize("lambda_", [0.1, 0.9, 1.0, 2.0])
def test_against_a_double_loop(random_scores, x64, lambda_):
    scores = random_scores(1)
    residuals, weights = double_loop(scores, lambda_)
    actual = jax.vmap(SubTrajectoryBalance(lambda_).residuals)(jax.tree.map(jnp.asarray, scores))
    live = np.asarray(actual.weights) > 0
    np.testing.assert_allclose(np.asarray(actual.values)[live], residuals, rtol=1e-10)
    shares = np.asarray(actual.weights)[live]
    np.testing.assert_allclose(shares / shares.sum(), weights / weights.sum(), rtol=1e-10)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.floats(0.05, 3.0))
def test_weights_normalise_to_one(random_scores, seed, lambda_):
    # Residuals that are all equal to c make a loss of c^2: contributions sum to one.
    scores = random_scores(seed)
    residuals, weights = jax.vmap(SubTrajectoryBalance(lambda_).residuals)(
        jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if x.dtype == float else x, scores)
    )
    assert residuals.shape == weights.shape == (4, 49)
    constant = lambda scores: Residuals(jnp.full(49, 1.5), scores.auxiliary)  # noqa: E731
    loss = weighted_loss(as_objective(constant), square, scores._replace(auxiliary=weights))
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


def long_scores(horizon, lengths, seed=0):
    """Scores in single precision, padded with zeros."""
    rng = np.random.default_rng(seed)
    length = np.array(lengths, np.int32)
    mask = np.arange(horizon)[None] < length[:, None]
    visited = np.arange(horizon + 1)[None] <= length[:, None]
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    log_flow = np.where(visited, draw(length.size, horizon + 1), np.float32(0))
    return Scores(
        log_pf=np.where(mask, draw(length.size, horizon), np.float32(0)),
        log_pb=np.where(mask, draw(length.size, horizon), np.float32(0)),
        log_flow=log_flow,
        log_reward=log_flow[np.arange(length.size), length],
        log_z=log_flow[:, 0],
        mask=mask,
        length=length,
        complete=np.ones(length.size, bool),
    )


def exact_loss_and_gradient(scores, lambda_):
    """The loss, its gradient in log F and each trajectory's own mean: pairs one by one.

    Weights are relative to lambda^L of the longest trajectory, or to lambda, to stay in range.
    """
    longest = int(max(scores.length))
    reference = longest if lambda_ > 1 else 1
    total = size = 0.0
    gradient = np.zeros(scores.log_flow.shape)
    own = []
    for b, length in enumerate(int(n) for n in scores.length):
        ratio = np.asarray(scores.log_pf[b], float) - np.asarray(scores.log_pb[b], float)
        flow = np.asarray(scores.log_flow[b], float)
        pairs = [(i, j) for i in range(length) for j in range(i + 1, length + 1)]
        residuals = np.array([flow[i] + ratio[i:j].sum() - flow[j] for i, j in pairs])
        gaps = np.array([j - i for i, j in pairs], float)
        weights = np.exp((gaps - reference) * np.log(lambda_))
        total, size = total + (weights * residuals**2).sum(), size + weights.sum()
        for (i, j), weight, residual in zip(pairs, weights, residuals, strict=True):
            gradient[b, i] += 2 * weight * residual
            gradient[b, j] -= 2 * weight * residual
        weights = np.exp((gaps - (length if lambda_ > 1 else 1)) * np.log(lambda_))
        own.append((weights * residuals**2).sum() / weights.sum())
    return total / size, gradient / size, np.array(own)


@pytest.mark.parametrize(
    ("horizon", "lengths"),
    [(20, (3, 20)), (200, (3, 5, 10)), (200, (1, 199)), (400, (2, 7)), (400, (390, 400))],
)
@pytest.mark.parametrize("lambda_", [1e-30, 0.01, 0.9, 1.0, 1.01, 1.9, 1e6, 1e30])
def test_any_lambda_on_any_horizon(lambda_, horizon, lengths):
    scores = long_scores(horizon, lengths)
    objective = SubTrajectoryBalance(lambda_)

    def loss(log_flow):
        return loss_and_errors(objective, square, scores._replace(log_flow=log_flow))

    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    (value, errors), gradient = value_and_grad(jnp.asarray(scores.log_flow))
    expected, expected_gradient, own = exact_loss_and_gradient(scores, lambda_)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    scale = np.abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-4 * scale)
    # What each trajectory costs on its own does not vanish beside a longer one.
    np.testing.assert_allclose(errors, own, rtol=1e-4)


@pytest.mark.parametrize("horizon", [20, 200, 400])
@pytest.mark.parametrize("length", [1, 10, 20])
def test_limits_do_not_depend_on_the_horizon(horizon, length):
    scores = long_scores(horizon, (length,) * 3, seed=1)
    ratio = (scores.log_pf - scores.log_pb).astype(float)
    flow = scores.log_flow.astype(float)
    balance = (flow[:, :-1] + ratio - flow[:, 1:])[:, :length]
    whole = flow[:, 0] + ratio.sum(axis=1) - flow[:, length]
    near_zero = loss_of(SubTrajectoryBalance(1e-9), scores)
    np.testing.assert_allclose(near_zero, (balance**2).mean(), rtol=1e-5)
    near_infinity = loss_of(SubTrajectoryBalance(1e9), scores)
    np.testing.assert_allclose(near_infinity, (whole**2).mean(), rtol=1e-5)


def test_trajectories_that_are_left_out_do_not_set_the_scale():
    scores = long_scores(300, (3, 300))
    keep = jnp.array([True, False])
    loss = loss_and_errors(SubTrajectoryBalance(1.9), square, scores, keep)[0]
    short = jax.tree.map(lambda x: x[:1], scores)
    np.testing.assert_allclose(loss, exact_loss_and_gradient(short, 1.9)[0], rtol=1e-5)
    assert loss_and_errors(SubTrajectoryBalance(1.9), square, scores, keep & False)[0] == 0


@pytest.mark.long
def test_an_untrained_grid_of_130_cells_a_side(key):
    env = Hypergrid(2, 130)
    gfn = GFlowNet(env, mlp_policy(env, (8,)), SubTrajectoryBalance(1.9))
    params = gfn.init(key).params
    trajectories = gfn.sample(params, jax.random.key(1), 16)
    expected = exact_loss_and_gradient(gfn.score(params, trajectories), 1.9)[0]
    np.testing.assert_allclose(gfn.loss(params, trajectories), expected, rtol=1e-4)


@pytest.mark.parametrize("wrap", [ForwardLooking, LEDGFN, GAFlowNet])
def test_objectives_built_on_it_keep_the_scale(wrap):
    scores = jax.tree.map(jnp.asarray, long_scores(300, (3, 300)))
    base = SubTrajectoryBalance(1.9)
    scales = jax.vmap(wrap(base).log_scale)(scores)
    np.testing.assert_allclose(scales[1] - scales[0], 297 * np.log(1.9), rtol=1e-6)


@pytest.mark.parametrize("lambda_", [0, -1.0, float("inf"), float("nan")])
def test_lambda_must_be_positive_and_finite(lambda_):
    with pytest.raises(ValueError, match=f"lambda_ must be positive and finite, got {lambda_}"):
        SubTrajectoryBalance(lambda_)
