"""Likelihoods of a node given its parents in Gaussian networks, all parameters integrated out.

Each is a callable pytree `(node, parents [d] bool) -> log p(x_node | x_parents)` in nats, built
from a data matrix `[n, d]` by the function of the same name in lower case.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import gammaln

from gfnjax.types import Array


@struct.dataclass
class LinearGaussian:
    """x_j = X_P w + noise with w ~ N(0, v I) and noise ~ N(0, s): x_j ~ N(0, s I + v X_P X_P^T).

    With M = I + (v/s) X_P^T X_P and b = X_P^T x_j over n samples,

        log p = -n/2 log(2 pi s) - 1/2 log det M - (x_j^T x_j - (v/s) b^T M^-1 b) / (2 s).

    Attributes:
        gram: `[d, d]` X^T X.
        num_samples: n.
        weight_variance: v.
        noise_variance: s.
    """

    gram: Array | np.ndarray
    num_samples: float
    weight_variance: float = 1.0
    noise_variance: float = 0.1

    @property
    def num_nodes(self) -> int:
        return self.gram.shape[0]

    def __call__(self, node: Array, parents: Array) -> Array:
        gram = jnp.asarray(self.gram)
        ratio = self.weight_variance / self.noise_variance
        square = ratio * _restrict(gram, parents) + jnp.eye(self.num_nodes, dtype=gram.dtype)
        root = jnp.linalg.cholesky(square)
        product = jnp.where(parents, gram[node], 0.0)
        explained = jax.scipy.linalg.solve_triangular(root, product, lower=True)
        misfit = gram[node, node] - ratio * (explained**2).sum()
        return (
            -self.num_samples / 2 * jnp.log(2 * jnp.pi * self.noise_variance)
            - jnp.log(jnp.diagonal(root)).sum()
            - misfit / (2 * self.noise_variance)
        )


@struct.dataclass
class BGe:
    """Gaussian networks with a normal-Wishart prior: equal for equivalent graphs.

    With l parents P, n samples of mean m and scatter S, R = t I + S + n a_mu / (n + a_mu) m m^T
    and c = a_w - d (Geiger and Heckerman, 1994; corrected by Kuipers et al., 2014, 1402.6863),

        log p = -n/2 log pi + 1/2 log(a_mu / (n + a_mu))
                + log Gamma((n + c + l + 1) / 2) - log Gamma((c + l + 1) / 2)
                + (c + 2 l + 1) / 2 log t
                + (n + c + l) / 2 log det R_P - (n + c + l + 1) / 2 log det R_{P + j}.

    Attributes:
        scatter: `[d, d]` the data's share of R, S + n a_mu / (n + a_mu) m m^T.
        num_samples: n.
        alpha_mu: a_mu, the weight of the prior mean 0.
        alpha_w: a_w > d + 1, degrees of freedom.
    """

    scatter: Array | np.ndarray
    num_samples: float
    alpha_mu: float
    alpha_w: float

    @property
    def num_nodes(self) -> int:
        return self.scatter.shape[0]

    def __call__(self, node: Array, parents: Array) -> Array:
        scatter = jnp.asarray(self.scatter)
        num_parents = parents.sum().astype(scatter.dtype)
        spare = self.alpha_w - self.num_nodes + num_parents
        scale = self.alpha_mu * (self.alpha_w - self.num_nodes - 1) / (self.alpha_mu + 1)
        posterior = scatter + scale * jnp.eye(self.num_nodes, dtype=scatter.dtype)
        family = parents | (jnp.arange(self.num_nodes, dtype=jnp.int32) == node)
        total = self.num_samples + spare
        return (
            -self.num_samples / 2 * jnp.log(jnp.pi)
            + jnp.log(self.alpha_mu / (self.num_samples + self.alpha_mu)) / 2
            + gammaln((total + 1) / 2)
            - gammaln((spare + 1) / 2)
            + (spare + num_parents + 1) / 2 * jnp.log(scale)
            + total / 2 * _log_det(posterior, parents)
            - (total + 1) / 2 * _log_det(posterior, family)
        )


def linear_gaussian(
    data: Array | np.ndarray, weight_variance: float = 1.0, noise_variance: float = 0.1
) -> LinearGaussian:
    """`LinearGaussian` from a data matrix `[n, d]`; errors as `check_data`."""
    if not (weight_variance > 0 and noise_variance > 0):
        raise ValueError(
            "weight_variance and noise_variance must be positive, got "
            f"{weight_variance} and {noise_variance}"
        )
    data = check_data(data)
    return LinearGaussian(data.T @ data, float(len(data)), weight_variance, noise_variance)


def bge(data: Array | np.ndarray, alpha_mu: float = 1.0, alpha_w: float | None = None) -> BGe:
    """`BGe` from a data matrix `[n, d]`, alpha_w = d + 2 by default; errors as `check_data`."""
    data = check_data(data)
    num_samples, num_nodes = data.shape
    alpha_w = num_nodes + 2.0 if alpha_w is None else alpha_w
    if not (alpha_mu > 0 and alpha_w > num_nodes + 1):
        raise ValueError(
            f"alpha_mu must be positive and alpha_w above num_nodes + 1 = {num_nodes + 1}, got "
            f"{alpha_mu} and {alpha_w}"
        )
    mean = data.mean(axis=0)
    shrunk = num_samples * alpha_mu / (num_samples + alpha_mu)
    centred = data - mean
    scatter = centred.T @ centred + shrunk * np.outer(mean, mean)
    return BGe(scatter, float(num_samples), alpha_mu, alpha_w)


def check_data(data: Array | np.ndarray) -> np.ndarray:
    """A data matrix as float64.

    Raises:
        ValueError: unless it is `[n, d]` with one row a sample, at least 2 rows and 1 column, and
            finite.
    """
    data = np.asarray(data)
    if data.ndim != 2:
        raise ValueError(f"data must be a matrix [samples, nodes], got {data.ndim} dimensions")
    if not (np.issubdtype(data.dtype, np.floating) or np.issubdtype(data.dtype, np.integer)):
        raise ValueError(f"data must hold real numbers, got {data.dtype}")
    num_samples, num_nodes = data.shape
    if num_samples < 2 or num_nodes < 1:
        raise ValueError(
            "data must have at least 2 rows (samples) and 1 column (nodes), got "
            f"{num_samples} and {num_nodes}"
        )
    bad = np.argwhere(~np.isfinite(data))
    if bad.size:
        row, column = map(int, bad[0])
        raise ValueError(
            "data must be finite: drop or impute missing values, got "
            f"{data[row, column]} in row {row}, column {column}"
        )
    return data.astype(np.float64)


def _restrict(matrix: Array, members: Array) -> Array:
    """The matrix with rows and columns outside of `members` set to zero."""
    return jnp.where(members[:, None] & members[None, :], matrix, 0.0)


def _log_det(matrix: Array, members: Array) -> Array:
    """log det of the principal submatrix of `members`; 0 where there are none."""
    outside = jnp.diag((~members).astype(matrix.dtype))
    root = jnp.linalg.cholesky(_restrict(matrix, members) + outside)
    return 2 * jnp.log(jnp.diagonal(root)).sum()
