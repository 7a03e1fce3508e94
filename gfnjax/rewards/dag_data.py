"""Synthetic data for structure learning: random graphs and linear-Gaussian samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.errors import ArgumentError
from gfnjax.types import Array


class DAGData(NamedTuple):
    """Data `[n, d]` and the truth behind it: `adjacency` and edge `weights`, `[d, d]`."""

    data: Array
    adjacency: Array
    weights: Array


def erdos_renyi_dag(key: Array, num_nodes: int, edges_per_node: float = 1.0) -> Array:
    """A random DAG `[d, d]` bool: a random order, each forward pair joined independently.

    Args:
        key: a typed PRNG key.
        num_nodes: d, at least 1.
        edges_per_node: expected number of edges divided by d, at most (d - 1) / 2.

    Raises:
        ValueError: if a number is out of range.
    """
    if num_nodes < 1:
        raise ArgumentError("num_nodes", f"must be at least 1, got {num_nodes}")
    if not 0 <= edges_per_node <= (num_nodes - 1) / 2:
        raise ArgumentError(
            "edges_per_node",
            f"must be between 0 and (num_nodes - 1) / 2 = {(num_nodes - 1) / 2}, "
            f"got {edges_per_node}",
        )
    order_key, edge_key = jax.random.split(key)
    rank = jax.random.permutation(order_key, num_nodes)
    probability = 2 * edges_per_node / max(num_nodes - 1, 1)
    joined = jax.random.bernoulli(edge_key, probability, (num_nodes, num_nodes))
    return joined & (rank[:, None] < rank[None, :])


def linear_gaussian_data(
    key: Array, adjacency: Array, num_samples: int = 100, noise_variance: float = 0.1
) -> DAGData:
    """x_v = sum_u w_uv x_u + noise, w ~ N(0, 1), noise ~ N(0, noise_variance): X = E (I - W)^-1.

    Args:
        key: a typed PRNG key.
        adjacency: `[d, d]` bool, acyclic.
        num_samples: rows to draw, at least 1.
        noise_variance: positive.

    Raises:
        ValueError: if a number is out of range.
    """
    if num_samples < 1:
        raise ArgumentError("num_samples", f"must be at least 1, got {num_samples}")
    if not noise_variance > 0:
        raise ArgumentError("noise_variance", f"must be positive, got {noise_variance}")
    weight_key, noise_key = jax.random.split(key)
    num_nodes = adjacency.shape[0]
    weights = jnp.where(adjacency, jax.random.normal(weight_key, adjacency.shape), 0.0)
    noise = jnp.sqrt(noise_variance) * jax.random.normal(noise_key, (num_samples, num_nodes))
    mixing = jnp.eye(num_nodes, dtype=weights.dtype) - weights
    return DAGData(jnp.linalg.solve(mixing.T, noise.T).T, adjacency, weights)
