import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.rewards.dag_data import erdos_renyi_dag, linear_gaussian_data


def test_random_graphs_are_acyclic_with_the_expected_number_of_edges(key):
    keys = jax.random.split(key, 400)
    graphs = np.asarray(jax.vmap(lambda k: erdos_renyi_dag(k, 6))(keys)).astype(int)
    assert not np.linalg.matrix_power(graphs, 6).any()
    # 15 pairs at 2/5: mean 6, standard error sqrt(15 * .4 * .6 / 400) = .095.
    assert abs(graphs.sum(axis=(1, 2)).mean() - 6) < 0.4
    # Every ordered pair is equally likely: 1/5 each, standard error .02.
    off_diagonal = graphs.mean(axis=0)[~np.eye(6, dtype=bool)]
    assert np.abs(off_diagonal - 0.2).max() < 0.08


def test_data_follow_the_structural_equations(key):
    adjacency = jnp.zeros((3, 3), bool).at[2, 0].set(True).at[0, 1].set(True).at[2, 1].set(True)
    data, _, weights = linear_gaussian_data(key, adjacency, 20_000, noise_variance=0.25)
    weights = np.asarray(weights)
    assert ((weights != 0) == np.asarray(adjacency)).all()
    noise = np.asarray(data) - np.asarray(data) @ weights
    np.testing.assert_allclose(np.cov(noise.T), 0.25 * np.eye(3), atol=0.012)


def test_errors(key):
    with pytest.raises(ValueError, match=r"edges_per_node must be between 0 and .* 1.0, got 2"):
        erdos_renyi_dag(key, 3, edges_per_node=2)
    with pytest.raises(ValueError, match="num_nodes must be at least 1, got 0"):
        erdos_renyi_dag(key, 0)
    graph = jnp.zeros((3, 3), bool)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        linear_gaussian_data(key, graph, 0)
    with pytest.raises(ValueError, match="noise_variance must be positive, got 0"):
        linear_gaussian_data(key, graph, noise_variance=0)
