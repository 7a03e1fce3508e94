"""Rewards of permutations by their fixed points, whose distribution is known at any size."""

from math import comb, log

import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.shapes import check_shape
from gfnjax.types import Array


@struct.dataclass
class FixedPoints:
    """log R = weight x the number of i with sigma(i) = i (2502.07735, with 1/2).

    Attributes:
        weight: nats for each of them.
    """

    weight: float = 0.5

    def __call__(self, permutation: Array) -> Array:
        """log R of a permutation `[n]` int32 of 0 .. n - 1."""
        return self.weight * num_fixed(permutation).astype(jnp.result_type(float))


def num_fixed(permutation: Array) -> Array:
    """`[]` int32, the fixed points of a permutation `[n]`."""
    check_shape("permutation", permutation, (None,), "[n]")
    here = jnp.arange(permutation.size, dtype=jnp.int32)
    return (permutation == here).sum(dtype=jnp.int32)


def fixed_point_law(size: int, weight: float = 0.5) -> tuple[np.ndarray, float]:
    """P(k fixed points) `[size + 1]` under R / Z, and log Z: exact.

    Z = sum_k C(n, k) D_{n-k} exp(weight k), D_m the permutations of m without fixed points,
    D_m = (m - 1) (D_{m-1} + D_{m-2}).
    """
    deranged = [1, 0]
    for m in range(2, size + 1):
        deranged.append((m - 1) * (deranged[m - 1] + deranged[m - 2]))
    counts = [comb(size, k) * deranged[size - k] for k in range(size + 1)]
    # Integers of any length have logarithms.
    logs = np.array([log(c) + weight * k if c else -np.inf for k, c in enumerate(counts)])
    log_z = float(np.logaddexp.reduce(logs))
    return np.exp(logs - log_z), log_z


def mean_reward(law: np.ndarray, weight: float = 0.5) -> float:
    """E[R] where the number of fixed points has the law P(k) `[size + 1]`."""
    return float(law @ np.exp(weight * np.arange(law.size)))
