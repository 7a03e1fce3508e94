"""Weighted detailed balance: by hand, annealed, and on the command line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import DetailedBalance, GFlowNet, registry, tabular_policy
from gfnjax.errors import ArgumentError
from gfnjax.objectives import WeightedDetailedBalance
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.samplers import Windows
from gfnjax.testing import diamond


def test_weights_by_depth(two):
    # Residuals .2, .9 and .4, .15, 1.15; T = 3.
    found = jax.vmap(WeightedDetailedBalance().residuals)(two)
    np.testing.assert_allclose(found.weights, np.array([[1, 2, 0], [1, 2, 3]]) / 3, rtol=1e-6)
    total = (0.2**2 + 2 * 0.9**2 + 0.4**2 + 2 * 0.15**2 + 3 * 1.15**2) / 9
    loss = weighted_loss(WeightedDetailedBalance(), square, two)
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_half_way_and_in_the_end(two):
    found = jax.vmap(WeightedDetailedBalance(0.5).residuals)(two).weights
    expected = np.array([[4 / 6, 5 / 6, 0], [4 / 6, 5 / 6, 1]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    end = weighted_loss(WeightedDetailedBalance(0.0), square, two)
    np.testing.assert_allclose(end, weighted_loss(DetailedBalance(), square, two), rtol=1e-6)


def test_annealed_by_a_schedule(key):
    env = diamond()
    made = registry.find("objective", "wdb").make(depth_weight=0.8, anneal_steps=2).make()
    gfn = GFlowNet(env, tabular_policy(env), made, log_z_init=0.0)
    state = gfn.init(key)
    steps = [state._replace(step=jnp.int32(step)) for step in range(4)]
    seen = [float(gfn.at(each).objective.depth_weight) for each in steps]
    np.testing.assert_allclose(seen, [0.8, 0.4, 0.0, 0.0], atol=1e-6)


def test_not_annealed():
    made = registry.find("objective", "wdb").make(depth_weight=0.8, anneal_steps=0)
    assert made.make() == WeightedDetailedBalance(0.8)


def test_refusals():
    env = diamond()
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        WeightedDetailedBalance(2.0)
    with pytest.raises(ArgumentError, match="anneal_steps must be at least 0, got -1"):
        registry.find("objective", "wdb").make(anneal_steps=-1)
    with pytest.raises(ValueError, match="complete"):
        GFlowNet(env, tabular_policy(env), WeightedDetailedBalance(), sampler=Windows(2))
