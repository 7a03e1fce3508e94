"""Exact answers for sets: the published numbers, and brute force over all subsets."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnjax.rewards.sets import (
    SetEnergy,
    best_log_rewards,
    draw_sets,
    published_energies,
    set_truth,
)

# variant, log Z, max log R, sets at the max, mean R of the best 100, E[log R], log E[R]
PUBLISHED = [
    ("small", 11.892389, -1.20410, 3, 0.263281, -4.53710, -3.88670),
    ("medium", 45.378950, 13.82306, 70, 999_302, 5.19047, 7.21753),
    ("large", 48.391947, 13.71988, 1, 900_296, 3.45599, 5.71983),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row[0])
def test_published_numbers(row):
    variant, log_z, max_log_reward, num_best, best_mean, mean_log_reward, log_mean_reward = row
    energies, set_size = published_energies(variant)
    truth = set_truth(energies, set_size)
    assert truth.log_z == pytest.approx(log_z, abs=1e-6)
    assert truth.mean_log_reward == pytest.approx(mean_log_reward, abs=1e-5)
    assert truth.log_mean_reward == pytest.approx(log_mean_reward, abs=1e-5)
    assert truth.marginals.sum() == pytest.approx(set_size, abs=1e-9)
    best = best_log_rewards(energies, set_size, 100)
    assert best[0] == pytest.approx(max_log_reward, abs=1e-5)
    assert np.isclose(best, best[0], rtol=0, atol=1e-9).sum() == num_best
    assert np.exp(best).mean() == pytest.approx(best_mean, rel=1e-5)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=7), st.data())
def test_brute_force(energies, data):
    set_size = data.draw(st.integers(1, len(energies)))
    sets = list(itertools.combinations(range(len(energies)), set_size))
    log_rewards = np.array([-sum(energies[i] for i in chosen) for chosen in sets])
    rewards = np.exp(log_rewards)
    probs = rewards / rewards.sum()
    truth = set_truth(np.array(energies), set_size)
    assert truth.log_z == pytest.approx(math.log(rewards.sum()), abs=1e-9)
    marginals = [sum(p for p, s in zip(probs, sets, strict=True) if i in s) for i in range(7)]
    np.testing.assert_allclose(truth.marginals, marginals[: len(energies)], atol=1e-9)
    assert truth.mean_log_reward == pytest.approx(probs @ log_rewards, abs=1e-9)
    assert truth.log_mean_reward == pytest.approx(math.log(probs @ rewards), abs=1e-9)
    best = best_log_rewards(np.array(energies), set_size, 5)
    np.testing.assert_allclose(best, np.sort(log_rewards)[::-1][:5], atol=1e-9)


def test_draws_come_from_the_target():
    energies, rng = np.array([1.0, -0.5, 0.0, 2.0, -1.0]), np.random.default_rng(0)
    members = draw_sets(energies, 3, 20_000, rng)
    np.testing.assert_array_equal(members.sum(axis=1), 3)
    sets = np.array(list(itertools.combinations(range(5), 3)))
    rewards = np.exp(-energies[sets].sum(axis=1))
    expected = 20_000 * rewards / rewards.sum()
    codes = (1 << sets).sum(axis=1)
    counts = np.bincount(members @ (1 << np.arange(5)), minlength=32)[codes]
    # 9 degrees of freedom: exceeded once in a thousand times.
    assert ((counts - expected) ** 2 / expected).sum() < 27.9

    energies, set_size = published_energies("large")
    members = draw_sets(energies, set_size, 20_000, rng)
    np.testing.assert_array_equal(members.sum(axis=1), set_size)
    marginals = set_truth(energies, set_size).marginals
    np.testing.assert_allclose(members.mean(axis=0), marginals, atol=0.02)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        draw_sets(np.zeros(2), 1, 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="variant must be one of small, medium, large, got 'huge'"):
        published_energies("huge")
    with pytest.raises(ValueError, match="energies must be a vector of finite numbers"):
        set_truth(np.array([0.0, np.nan]), 1)
    with pytest.raises(ValueError, match="number of elements 2, got 3"):
        set_truth(np.zeros(2), 3)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        best_log_rewards(np.zeros(2), 1, 0)
    with pytest.raises(ValueError, match=r"members must be of shape \(3,\), got \(2,\)"):
        SetEnergy(jnp.zeros(3))(jnp.ones(2, bool))
