"""Every g: its shape, and the divergence its on-policy gradient belongs to, by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_trajectories, padded_dag

from gfnjax import GFlowNet, TrajectoryBalance, tabular_policy
from gfnjax.objectives import regression
from gfnjax.objectives.regression import EXPONENT_LIMIT, REGRESSIONS
from gfnjax.testing import diamond, exact_optimum


def reverse_kl(p, q):
    return (p * jnp.log(p / q)).sum()


def forward_kl(p, q):
    return (q * jnp.log(q / p)).sum()


def squared_hellinger(p, q):
    return 1 - jnp.sqrt(p * q).sum()


def chi_square(p, q):
    return (p**2 / q).sum() - 1


def jensen_shannon(p, q):
    m = (p + q) / 2
    return (p * jnp.log(p / m) + q * jnp.log(q / m)).sum() / 2


def alpha_divergence(p, q):
    return ((p**-0.5 * q**1.5).sum() - 1) / (0.5 * 1.5)


DIVERGENCES = [
    (regression.square, reverse_kl, 2.0),
    (regression.forward_kl, forward_kl, 1.0),
    (regression.hellinger, squared_hellinger, 4.0),
    (regression.chi_square, chi_square, 0.5),
    (regression.jensen_shannon, jensen_shannon, 4.0),
    (regression.Alpha(-0.5), alpha_divergence, 1.0),
]


@pytest.mark.parametrize("env", [diamond, lambda: padded_dag(3)], ids=["diamond", "random"])
@pytest.mark.parametrize(("g", "divergence", "factor"), DIVERGENCES)
def test_on_policy_gradient_is_that_of_a_divergence(g, divergence, factor, env, x64, key):
    env = env()
    gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
    paths = all_trajectories(env)
    optimum = exact_optimum(env, key)
    table = optimum.policy["params"]

    def residuals_and_probabilities(forward_logits):
        policy = {"params": {**table, "forward_logits": forward_logits}}
        scores = gfn.score(optimum._replace(policy=policy), paths)
        residuals = jax.vmap(gfn.objective.residuals)(scores).values[:, 0]
        return residuals, jnp.exp(scores.log_pf.sum(axis=1))

    _, target = jax.jit(residuals_and_probabilities)(table["forward_logits"])
    np.testing.assert_allclose(target.sum(), 1, rtol=1e-12)

    def expected_loss(forward_logits):
        # Sampling is not differentiated: the probabilities of the trajectories are constants.
        residuals, p = residuals_and_probabilities(forward_logits)
        return (jax.lax.stop_gradient(p) * g(residuals)).sum()

    def exact_divergence(forward_logits):
        return divergence(residuals_and_probabilities(forward_logits)[1], target)

    start = jax.random.normal(key, table["forward_logits"].shape, jnp.float64)
    actual = jax.jit(jax.grad(expected_loss))(start)
    expected = factor * jax.jit(jax.grad(exact_divergence))(start)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("g", REGRESSIONS.values(), ids=REGRESSIONS)
def test_zero_and_flat_at_zero_and_positive_elsewhere(g, x64):
    assert g(jnp.array(0.0)) == 0
    assert jax.grad(g)(jnp.array(0.0)) == 0
    residuals = jnp.array([-60.0, -5.0, -1.0, -0.1, 0.1, 1.0, 5.0, 60.0])
    assert (g(residuals) > 0).all()
    slope = jax.vmap(jax.grad(g))(residuals)
    np.testing.assert_array_equal(jnp.sign(slope), jnp.sign(residuals))


@pytest.mark.parametrize("g", REGRESSIONS.values(), ids=REGRESSIONS)
def test_far_out_everything_is_finite_and_points_home(g):
    for residual in (-1e3, -100.0, 100.0, 1e3):
        value, slope = jax.value_and_grad(g)(jnp.array(residual))
        assert np.isfinite(value)
        assert np.isfinite(slope**2)
        assert np.sign(slope) == np.sign(residual)


@pytest.mark.parametrize(
    ("g", "residual", "value"),
    [
        (regression.square, -3.0, 9.0),
        (regression.huber, 0.5, 0.25),
        (regression.huber, -3.0, 5.0),
        (regression.forward_kl, 1.0, np.exp(-1.0)),
        (regression.forward_kl, -2.0, np.exp(2.0) - 3),
        (regression.hellinger, 2.0, 4 * np.exp(-1.0)),
        (regression.hellinger, -2.0, 4 * np.e - 8),
        (regression.chi_square, 2.0, np.exp(2.0) - 3),
        (regression.chi_square, -1.0, np.exp(-1.0)),
        # Li_2(-1/2) = -.448414, Li_2(-2) = -pi^2 / 6 - log(2)^2 / 2 + .448414.
        (regression.jensen_shannon, np.log(2), 2 * (np.log(2) ** 2 + 0.4484142 - np.pi**2 / 12)),
        (
            regression.jensen_shannon,
            -np.log(2),
            2 * (-(np.log(2) ** 2) / 2 + np.pi**2 / 12 - 0.4484142),
        ),
        (regression.Alpha(3.0), 1.0, (np.exp(2.0) - 3) / 4),
        (regression.Alpha(1.0), 3.0, 4.5),
    ],
)
def test_by_hand(g, residual, value):
    np.testing.assert_allclose(g(jnp.array(residual)), value, rtol=1e-6)


def test_exponentials_continue_by_their_tangent(x64):
    inside, outside = jnp.array(EXPONENT_LIMIT - 1e-9), jnp.array(EXPONENT_LIMIT + 2.0)
    slope = jax.grad(regression.chi_square)
    np.testing.assert_allclose(slope(outside), slope(inside), rtol=1e-6)
    rise = regression.chi_square(outside) - regression.chi_square(inside)
    np.testing.assert_allclose(rise, 2 * np.exp(EXPONENT_LIMIT), rtol=1e-6)


def test_alpha_divergences_are_the_named_ones(x64):
    residual = jnp.linspace(-40.0, 40.0, 801)
    known = {0.0: regression.forward_kl, 0.5: regression.hellinger, 2.0: regression.chi_square}
    for alpha, g in (known | {1.0: lambda x: x**2 / 2}).items():
        np.testing.assert_allclose(regression.Alpha(alpha)(residual), g(residual), rtol=1e-9)
    with pytest.raises(ValueError, match="alpha must be finite"):
        regression.Alpha(np.nan)


SMALL = [regression.forward_kl, regression.hellinger, regression.chi_square]


@pytest.mark.parametrize("g", [*SMALL, regression.jensen_shannon, regression.Alpha(0.2)])
def test_small_residuals_are_not_lost_in_rounding(g):
    # g(D) = D^2 / 2 + O(D^3) of each.
    residual = jnp.array([1e-3, -1e-3, 1e-4, -1e-4, 1e-5, -1e-5], jnp.float32)
    np.testing.assert_allclose(g(residual), residual**2 / 2, rtol=0.02)
