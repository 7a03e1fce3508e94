"""Distances against SciPy, and at their ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from gfnjax import masking
from gfnjax.metrics import distances

SEEDS = st.integers(0, 10_000)


def two_distributions(seed, size=12):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(size, 0.3)), rng.dirichlet(np.full(size, 0.3))


def log(p):
    with np.errstate(divide="ignore"):
        return np.where(p > 0, np.log(p), masking.FILL).astype(np.float32)


@given(SEEDS)
def test_against_scipy(seed):
    p, q = (np.maximum(x, 1e-6) / np.maximum(x, 1e-6).sum() for x in two_distributions(seed))
    args = log(p), log(q)
    np.testing.assert_allclose(distances.l1(*args), np.abs(p - q).sum(), atol=2e-6)
    np.testing.assert_allclose(distances.total_variation(*args), np.abs(p - q).sum() / 2, atol=1e-6)
    np.testing.assert_allclose(distances.kl(*args), entropy(p, q), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(distances.jsd(*args), jensenshannon(p, q) ** 2, rtol=1e-4, atol=1e-6)


def test_zero_probabilities():
    p, q = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.25, 0.75, 0.0])
    args = log(p), log(q)
    assert distances.total_variation(*args) == pytest.approx(0.75)
    assert distances.jsd(*args) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-5)
    assert distances.kl(*args) > 1e20
    assert distances.kl(log(np.array([0.0, 1.0, 0.0, 0.0])), log(q)) == pytest.approx(np.log(4))


def test_extremes():
    p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert distances.total_variation(log(p), log(p)) == 0
    assert distances.kl(log(p), log(p)) == 0
    assert distances.total_variation(log(p), log(q)) == 1
    assert distances.l1(log(p), log(q)) == 2
    assert distances.jsd(log(p), log(q)) == pytest.approx(np.log(2))


@given(SEEDS)
def test_divergences_are_never_negative(seed):
    # Single precision, close to each other: sums that cancel go below zero.
    rng = np.random.default_rng(seed)
    log_p = rng.normal(size=2000).astype(np.float32)
    log_q = log_p + np.float32(10.0 ** -rng.integers(1, 9)) * rng.normal(size=2000)
    log_p, log_q = (np.asarray(x - np.log(np.exp(x).sum()), np.float32) for x in (log_p, log_q))
    p, q = (np.exp(x.astype(float)) / np.exp(x.astype(float)).sum() for x in (log_p, log_q))
    expected = (p * np.log(p / q)).sum()
    assert distances.kl(log_p, log_q) >= 0
    np.testing.assert_allclose(distances.kl(log_p, log_q), expected, rtol=0.1, atol=1e-12)
    assert 0 <= distances.jsd(log_p, log_q) <= np.log(2)


def test_probabilities_of_zero_as_logarithms_minus_infinity():
    p, q = np.log(np.float32([0.5, 0.5, 1e-30])), np.log(np.float32([0.25, 0.75, 1e-30]))
    p[2] = q[2] = -np.inf
    np.testing.assert_allclose(distances.kl(p, q), 0.5 * np.log(4 / 3), rtol=1e-6)
    np.testing.assert_allclose(distances.total_variation(p, q), 0.25, rtol=1e-6)
    q[:2] = 0, -np.inf
    assert distances.kl(p, q) == np.inf
    np.testing.assert_allclose(distances.kl(q, p), np.log(2), rtol=1e-6)
    mixture = 0.25 * np.log(0.5 / 0.75) + 0.25 * np.log(2) + 0.5 * np.log(1 / 0.75)
    np.testing.assert_allclose(distances.jsd(p, q), mixture, rtol=1e-6)


def test_far_apart_and_at_their_bounds():
    p, q = np.float32([0, -90]), np.float32([-90, 0])
    np.testing.assert_allclose(distances.kl(p, q), 90, rtol=1e-6)
    spread = np.full((2, 3000), -1e30, np.float32)
    spread[0, :1500] = spread[1, 1500:] = -np.log(1500)
    assert distances.total_variation(*spread) <= 1
    assert distances.l1(*spread) <= 2
    assert distances.jsd(*spread) <= np.float32(np.log(2))
