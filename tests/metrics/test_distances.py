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
