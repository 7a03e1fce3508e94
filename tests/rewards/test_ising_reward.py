import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.rewards.ising import (
    IsingReward,
    lattice,
    lattice_adjacency,
    lattice_log_z,
    neg_log_rmse,
    sample_ising,
)


def configurations(num_spins):
    return np.array(list(itertools.product([-1, 1], repeat=num_spins)))


@pytest.mark.parametrize(
    ("side", "sigma", "log_z"),
    [(3, 0.1, 6.66974), (3, 0.2, 8.45646), (4, 0.1, 11.77147), (4, 0.2, 14.56109)],
)
def test_log_z_by_enumeration(side, sigma, log_z):
    reward = lattice(side, sigma)
    spins = configurations(side**2)
    log_rewards = np.asarray(jax.vmap(reward)(jnp.asarray(spins)), np.float64)
    np.testing.assert_allclose(np.logaddexp.reduce(log_rewards), log_z, atol=1e-5)


def test_neighbours_wrap_around():
    adjacency = lattice_adjacency(4)
    np.testing.assert_array_equal(np.flatnonzero(adjacency[0]), [1, 3, 4, 12])
    np.testing.assert_array_equal(adjacency, adjacency.T)
    assert (adjacency.sum(axis=0) == 4).all()
    with pytest.raises(ValueError, match="side must be at least 2, got 1"):
        lattice_adjacency(1)


def test_each_pair_counts_twice():
    couplings = jnp.zeros((4, 4)).at[0, 1].set(0.3).at[1, 0].set(0.3)
    reward = IsingReward(couplings)
    np.testing.assert_allclose(reward(jnp.array([1, -1, 1, 1])), -0.6, rtol=1e-6)
    np.testing.assert_allclose(reward(jnp.array([1, 0, 1, 1])), 0.0)


def test_neg_log_rmse():
    truth = jnp.zeros((2, 2))
    estimate = jnp.array([[0.2, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(neg_log_rmse(estimate, truth), -np.log(0.1), rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("sigma", [0.2, -0.3, 0.8])
def test_parallel_tempering_agrees_with_enumeration(sigma, key):
    couplings = sigma * lattice_adjacency(3)
    # A small asymmetric part: only the sum of J and its transpose matters.
    couplings = couplings + 0.3 * np.random.default_rng(0).normal(size=(9, 9))
    spins = configurations(9)
    log_rewards = np.einsum("ni,ij,nj->n", spins, couplings, spins)
    target = np.exp(log_rewards - np.logaddexp.reduce(log_rewards))
    sample = jax.jit(sample_ising, static_argnums=(2, 3, 4))
    samples = np.asarray(sample(key, jnp.asarray(couplings, jnp.float32), 8_000, 60, 8))
    assert set(np.unique(samples)) == {-1, 1}
    correlations = np.einsum("n,ni,nj->ij", target, spins, spins)
    # Standard error at most 1 / sqrt(8000) = .011.
    measured = samples.T @ samples / len(samples)
    assert np.abs(measured - correlations).max() < 0.045
    index = ((samples + 1) // 2) @ (2 ** np.arange(8, -1, -1))
    frequencies = np.bincount(index, minlength=512) / len(samples)
    # For a perfect sampler about sum sqrt(p (1 - p) / (2 pi n)).
    floor = np.sqrt(target * (1 - target) / (2 * np.pi * len(samples))).sum()
    assert np.abs(frequencies - target).sum() / 2 < 1.25 * floor


def test_errors(key):
    with pytest.raises(ValueError, match="num_temperatures at least 2, got 1, 1 and 1"):
        sample_ising(key, jnp.zeros((4, 4)), 1, 1, 1)


@pytest.mark.parametrize(
    ("side", "sigma", "expected"),
    [(3, 0.1, 6.66974), (3, 0.2, 8.45646), (4, 0.1, 11.77147), (4, 0.2, 14.56109)],
)
def test_log_z_of_lattices_by_transfer_matrix(side, sigma, expected):
    assert lattice_log_z(side, sigma) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(("side", "sigma"), [(2, 0.3), (3, -0.4)])
def test_the_transfer_matrix_agrees_with_enumeration(side, sigma):
    spins = np.array(list(itertools.product((-1.0, 1.0), repeat=side**2)))
    energies = np.einsum("ni,ij,nj->n", spins, sigma * lattice_adjacency(side), spins)
    assert lattice_log_z(side, sigma) == pytest.approx(np.logaddexp.reduce(energies), abs=1e-10)
