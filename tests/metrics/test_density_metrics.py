import importlib

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gfnjax.errors import MissingExtraError
from gfnjax.metrics import densities, sampled

RNG = np.random.default_rng(0)


def test_wasserstein_is_the_best_assignment():
    x, y = RNG.normal(size=(40, 3)), RNG.normal(1.0, 2.0, size=(40, 3))
    cost = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    expected = np.sqrt(cost[linear_sum_assignment(cost)].mean())
    assert densities.wasserstein(x, y) == pytest.approx(expected, rel=1e-6)
    # Moved as a whole: by the distance.
    assert densities.wasserstein(x, x + np.array([3.0, 0.0, 4.0])) == pytest.approx(5.0)


def test_sliced_wasserstein_of_a_translation():
    x = RNG.normal(size=(300, 2))
    moved = densities.sliced_wasserstein(x, x + np.array([3.0, 4.0]), num_projections=4_000)
    assert moved == pytest.approx(5 / np.sqrt(2), rel=0.03)  # E cos^2 = 1/2


def test_weights_by_hand():
    weights = np.array([1.0, 2.0, 5.0])
    log_weights = jnp.log(jnp.asarray(weights))
    assert sampled.importance_log_z(log_weights) == pytest.approx(np.log(8 / 3))
    assert sampled.effective_sample_size(log_weights) == pytest.approx(64 / 30 / 3)
    assert sampled.effective_sample_size(jnp.full(7, 1000.0)) == pytest.approx(1.0, rel=1e-4)
    with pytest.raises(ValueError, match="log_weights must have shape"):
        sampled.importance_log_z(jnp.zeros((2, 2)))


def test_what_cannot_be_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"x must be \[n, d\]"):
        densities.wasserstein(np.zeros(3), np.zeros((3, 1)))

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"POT: pip install 'gfnjax\[diffusion\]'"):
        densities.wasserstein(np.zeros((3, 1)), np.zeros((3, 1)))
