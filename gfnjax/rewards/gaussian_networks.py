"""Likelihoods of a node given its parents in Gaussian networks, all parameters integrated out.

Each is a callable pytree `(node, parents [d] bool) -> log p(x_node | x_parents)` in nats, built
from a data matrix `[n, d]` by the function of the same name in lower case.
"""

import math
import warnings
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from gfnjax.errors import ArgumentError, Use, Words
from gfnjax.shapes import check_shape
from gfnjax.types import Array

L = TypeVar("L", "LinearGaussian", "BGe")
# Float64 scores may be wrong by this much in nats before data are refused.
TOLERANCE = 1e-3
# Root mean squares of a column over the standard deviation of the noise.
WARNED_SCALES, ALLOWED_SCALES = (1e-2, 1e2), (1e-3, 1e3)

STANDARDISE = Use("use standardise=True", standardise=None)


@struct.dataclass
class LinearGaussian:
    """x_j = X_P w + noise with w ~ N(0, v I) and noise ~ N(0, s): x_j ~ N(0, s I + v X_P X_P^T).

    With A = I + (v/s) X^T X over n samples, C its rescaling to a diagonal of ones and rho_jP^2 =
    c_jP C_P^-1 c_Pj, the share of x_j^T x_j that the parents explain,

        log p = -n/2 log(2 pi s) - x_j^T x_j / (2 s)
                - 1/2 log det C_P - 1/2 sum_{i in P} log A_ii + A_jj / (2 v) rho_jP^2.

    Attributes:
        correlation: `[d, d]` C.
        rounding: `[d, d]` C less its rounding to single precision.
        log_scale: `[d]` log A_ii.
        weight: `[d]` A_jj / (2 v).
        empty_scores: `[d]` log p without parents.
    """

    correlation: Array | np.ndarray
    rounding: Array | np.ndarray
    log_scale: Array | np.ndarray
    weight: Array | np.ndarray
    empty_scores: Array | np.ndarray

    @property
    def num_nodes(self) -> int:
        return self.correlation.shape[0]

    def __call__(self, node: Array, parents: Array) -> Array:
        return self.empty_score(node) + self.gain(node, parents)

    def empty_score(self, node: Array) -> Array:
        return jnp.asarray(self.empty_scores)[node]

    def gain(self, node: Array, parents: Array) -> Array:
        check_shape("parents", parents, (self.num_nodes,), "[d]")
        dtype = jnp.result_type(float)
        with jax.enable_x64(True):
            exact = _double(self)
            log_det, explained = _explained(jnp.asarray(exact.correlation), node, parents)
            scale = (exact.log_scale * parents.astype(log_det.dtype)).sum()
            gain = exact.weight[node] * explained - (log_det + scale) / 2
        return gain.astype(dtype)

    def gain_table(self) -> np.ndarray:
        members = subsets(self.num_nodes)
        log_dets, log_rest = _subset_terms(np.asarray(self.correlation, np.float64))
        determinant = (log_dets + members @ np.asarray(self.log_scale, np.float64)) / 2
        return -np.expm1(log_rest) * np.asarray(self.weight, np.float64)[:, None] - determinant


@struct.dataclass
class BGe:
    """Gaussian networks with a normal-Wishart prior: equal for equivalent graphs.

    With l parents P, n samples of mean m and scatter S, R = t I + S + n a_mu / (n + a_mu) m m^T
    and c = a_w - d (Geiger and Heckerman, 1994; corrected by Kuipers et al., 2014, 1402.6863),

        log p = -n/2 log pi + 1/2 log(a_mu / (n + a_mu))
                + log Gamma((n + c + l + 1) / 2) - log Gamma((c + l + 1) / 2)
                + (c + 2 l + 1) / 2 log t
                + (n + c + l) / 2 log det R_P - (n + c + l + 1) / 2 log det R_{P + j}.

    The determinants cancel to many digits where n or the units are large. So R is rescaled to C,
    with a diagonal of ones, and with rho_jP^2 = c_jP C_P^-1 c_Pj the last line becomes

        - 1/2 log det C_P - 1/2 sum_{i in P} log R_ii - (n + c + l + 1) / 2 log R_jj
        - (n + c + l + 1) / 2 log(1 - rho_jP^2).

    Attributes:
        correlation: `[d, d]` C.
        rounding: `[d, d]` C less its rounding to single precision.
        log_scale: `[d]` log(R_ii / t).
        size_terms: `[d]` log Gammas with l parents less those without.
        freedom: n + c + 1.
        empty_scores: `[d]` log p without parents.
    """

    correlation: Array | np.ndarray
    rounding: Array | np.ndarray
    log_scale: Array | np.ndarray
    size_terms: Array | np.ndarray
    freedom: float
    empty_scores: Array | np.ndarray

    @property
    def num_nodes(self) -> int:
        return self.correlation.shape[0]

    def __call__(self, node: Array, parents: Array) -> Array:
        return self.empty_score(node) + self.gain(node, parents)

    def empty_score(self, node: Array) -> Array:
        return jnp.asarray(self.empty_scores)[node]

    def gain(self, node: Array, parents: Array) -> Array:
        check_shape("parents", parents, (self.num_nodes,), "[d]")
        dtype = jnp.result_type(float)
        with jax.enable_x64(True):
            exact = _double(self)
            log_det, explained = _explained(jnp.asarray(exact.correlation), node, parents)
            member = parents.astype(log_det.dtype)
            scale = ((exact.log_scale + exact.log_scale[node]) * member).sum()
            freedom = exact.freedom + member.sum()
            size = jnp.minimum(parents.sum(dtype=jnp.int32), self.num_nodes - 1)
            rest = jnp.log1p(-explained)
            gain = exact.size_terms[size] - (log_det + scale + freedom * rest) / 2
        return gain.astype(dtype)

    def gain_table(self) -> np.ndarray:
        members = subsets(self.num_nodes)
        size = members.sum(1)
        log_dets, log_rest = _subset_terms(np.asarray(self.correlation, np.float64))
        log_scale = np.asarray(self.log_scale, np.float64)
        scale = members @ log_scale + size * log_scale[:, None]
        size_term = np.asarray(self.size_terms, np.float64)[np.minimum(size, self.num_nodes - 1)]
        return size_term - (log_dets + scale + (float(self.freedom) + size) * log_rest) / 2


def linear_gaussian(
    data: Array | np.ndarray,
    weight_variance: float = 1.0,
    noise_variance: float = 0.1,
    standardise: bool = False,
) -> LinearGaussian:
    """`LinearGaussian` from a data matrix `[n, d]`, on request with `standardised` columns.

    The model has means of zero, weights near one and one variance of the noise: it does not suit
    data in units of any size.

    Raises:
        ValueError: as `check_data`, for variances that are not positive, for columns above 1,000
            times or below 1/1,000 of the noise (a warning from 100 times and 1/100 on), and where
            columns are so collinear that double precision does not do.
    """
    if not (weight_variance > 0 and noise_variance > 0):
        raise ArgumentError(
            "noise_variance" if weight_variance > 0 else "weight_variance",
            f"must be positive, got {weight_variance} and {noise_variance}",
            subject="{weight_variance} and {noise_variance}",
        )
    data = standardised(data) if standardise else check_data(data)
    _check_scale(data, noise_variance)
    gram = data.T @ data
    posterior = np.eye(data.shape[1]) + weight_variance / noise_variance * gram
    correlation, scale = _rescale(posterior, float(posterior.max()) / weight_variance)
    noise = -len(data) / 2 * math.log(2 * math.pi * noise_variance)
    empty = noise - np.diagonal(gram) / (2 * noise_variance)
    weight = scale / (2 * weight_variance)
    return LinearGaussian(correlation, _rounding(correlation), np.log(scale), weight, empty)


def bge(
    data: Array | np.ndarray,
    alpha_mu: float = 1.0,
    alpha_w: float | None = None,
    standardise: bool = False,
) -> BGe:
    """`BGe` from a data matrix `[n, d]`, on request with `standardised` columns.

    Args:
        data: `[n, d]`, a row a sample.
        alpha_mu: a_mu, the weight of the prior mean 0.
        alpha_w: a_w > d + 1, degrees of freedom; d + 2 by default.
        standardise: give every column mean 0 and variance 1 first.

    Raises:
        ValueError: as `check_data`, for parameters out of range, and where columns are so collinear
            that double precision does not do.
    """
    data = standardised(data) if standardise else check_data(data)
    num_samples, num_nodes = data.shape
    alpha_w = num_nodes + 2.0 if alpha_w is None else alpha_w
    if not (alpha_mu > 0 and alpha_w > num_nodes + 1):
        raise ArgumentError(
            "alpha_mu",
            f"must be positive and alpha_w above num_nodes + 1 = {num_nodes + 1}, got "
            f"{alpha_mu} and {alpha_w}",
        )
    mean = data.mean(axis=0)
    centred, shrunk = data - mean, num_samples * alpha_mu / (num_samples + alpha_mu)
    prior = alpha_mu * (alpha_w - num_nodes - 1) / (alpha_mu + 1)
    with np.errstate(over="ignore", invalid="ignore"):  # `_rescale` refuses what is not finite
        scatter = centred.T @ centred + shrunk * np.outer(mean, mean)
    spare = alpha_w - num_nodes + 1 + np.arange(num_nodes)
    correlation, scale = _rescale(scatter + prior * np.eye(num_nodes), num_samples + alpha_w)
    log_scale = np.log(scale) - math.log(prior)
    gammas = _log_gamma((num_samples + spare) / 2) - _log_gamma(spare / 2)
    empty = (
        gammas[0]
        - num_samples / 2 * math.log(math.pi * prior)
        + math.log(alpha_mu / (num_samples + alpha_mu)) / 2
        - (num_samples + spare[0]) / 2 * log_scale
    )
    return BGe(
        correlation,
        _rounding(correlation),
        log_scale,
        gammas - gammas[0],
        float(num_samples + spare[0]),
        empty,
    )


def standardised(data: Array | np.ndarray) -> np.ndarray:
    """(x - mean) / standard deviation, column by column, float64.

    Raises:
        ValueError: as `check_data`, and for a column that is constant.
    """
    data = check_data(data)
    # Units first: squares of very large or small numbers leave the range of float64.
    size = np.abs(data).max(axis=0)
    data = data / np.where(size > 0, size, 1.0)
    deviation = data.std(axis=0)
    constant = np.flatnonzero(np.ptp(data, axis=0) <= 0)
    if constant.size:
        raise ArgumentError(
            "data", f"must vary to be standardised: drop column {constant[0]}, which is constant"
        )
    return (data - data.mean(axis=0)) / deviation


def check_data(data: Array | np.ndarray) -> np.ndarray:
    """A data matrix as float64.

    Raises:
        ValueError: unless it is `[n, d]` with one row a sample, at least 2 rows and 1 column, and
            finite.
    """
    data = np.asarray(data)
    if data.ndim != 2:
        raise ArgumentError(
            "data", f"must be a matrix [samples, nodes], got {data.ndim} dimensions"
        )
    if not (np.issubdtype(data.dtype, np.floating) or np.issubdtype(data.dtype, np.integer)):
        raise ArgumentError("data", f"must hold real numbers, got {data.dtype}")
    num_samples, num_nodes = data.shape
    if num_samples < 2 or num_nodes < 1:
        raise ArgumentError(
            "data",
            "must have at least 2 rows (samples) and 1 column (nodes), got "
            f"{num_samples} and {num_nodes}",
        )
    bad = np.argwhere(~np.isfinite(data))
    if bad.size:
        row, column = map(int, bad[0])
        raise ArgumentError(
            "data",
            "must be finite: drop or impute missing values, got "
            f"{data[row, column]} in row {row}, column {column}",
        )
    return data.astype(np.float64)


def subsets(num_nodes: int) -> np.ndarray:
    """`[2^d, d]` bool, the members of every set of nodes; node 0 is the lowest bit."""
    return np.arange(2**num_nodes)[:, None] >> np.arange(num_nodes) & 1 == 1


def _explained(correlation: Array, node: Array, parents: Array) -> tuple[Array, Array]:
    """`[]` log det C_P and `[]` rho^2 = c_P^T C_P^-1 c_P, the share that parents explain."""
    both = parents[:, None] & parents[None, :]
    eye = jnp.eye(parents.size, dtype=correlation.dtype)
    root = jnp.linalg.cholesky(jnp.where(both, correlation, eye))
    column = jnp.where(parents, correlation[node], jnp.zeros((), correlation.dtype))
    part = jax.scipy.linalg.solve_triangular(root, column, lower=True)
    return 2 * jnp.log(jnp.diagonal(root)).sum(), (part**2).sum()


def _rounding(matrix: np.ndarray) -> np.ndarray:
    return matrix - matrix.astype(np.float32).astype(np.float64)


def _double(likelihood: L) -> L:
    """A likelihood with float64 leaves, `correlation` exact, whatever the working precision.

    To be called, and its arrays used, where 64 bits are enabled. They are constants: what is traced
    here is not differentiated, which may happen where 64 bits are not enabled.
    """
    leaves = lax.stop_gradient(jax.tree.map(jnp.asarray, likelihood))
    single = leaves.correlation.dtype == jnp.float32
    double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), leaves)
    correlation = double.correlation + double.rounding if single else double.correlation
    return double.replace(correlation=correlation)


def _subset_terms(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[2^d]` log det C_P of all sets P, and `[d, 2^d]` log(1 - rho_jP^2) where j is not in P.

    log(1 - rho_jP^2) is log det C_{P + j} - log det C_P.
    """
    num_nodes = len(correlation)
    log_dets = _log_minors(correlation)
    every = np.arange(2**num_nodes)
    more = every | (1 << np.arange(num_nodes))[:, None]
    return log_dets, log_dets[more] - log_dets


def _log_minors(matrix: np.ndarray) -> np.ndarray:
    """`[2^d]` log determinants of all principal submatrices, in d vectorised steps.

    Step k leaves node k out, or takes it in as the next pivot of an elimination: `rest` `[2^k,
    d - k, d - k]` holds the Schur complements of the sets so far, over the nodes to come.
    """
    log_dets, rest = np.zeros(1), matrix[None]
    for _ in range(len(matrix)):
        pivot, row, others = rest[:, 0, 0], rest[:, 0, 1:], rest[:, 1:, 1:]
        reduced = others - row[:, :, None] * (row / pivot[:, None])[:, None, :]
        log_dets = np.concatenate([log_dets, log_dets + np.log(pivot)])
        rest = np.concatenate([others, reduced])
    return log_dets


def _rescale(posterior: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """The matrix with a diagonal of ones, and its diagonal `[d]`.

    A score is `weight` / 2 times a log of a ratio of determinants; rounding changes that log by at
    most about d eps / (smallest eigenvalue).
    """
    scale = np.diagonal(posterior)
    with np.errstate(invalid="ignore"):
        correlation = posterior / np.sqrt(scale[:, None] * scale[None, :])
    if not np.isfinite(correlation).all():
        raise ArgumentError(
            "data", "must be standardised: its squares are out of range", STANDARDISE
        )
    values, vectors = np.linalg.eigh(correlation)
    rounding = len(scale) * np.finfo(np.float64).eps * weight / 2
    if rounding > TOLERANCE * values[0]:
        columns = ", ".join(map(str, np.flatnonzero(np.abs(vectors[:, 0]) > 0.1)))
        raise ArgumentError(
            "data",
            f"must be standardised, or lose a column: columns {columns} are too collinear "
            "in these units",
            STANDARDISE,
        )
    return correlation, scale


def _check_scale(data: np.ndarray, noise_variance: float) -> None:
    """An error or a warning for columns that do not suit the noise's size; zeros do."""
    with np.errstate(over="ignore"):
        scale = np.sqrt((data**2).mean(axis=0) / noise_variance)
    scale = np.where(scale > 0, scale, 1.0)
    for column in np.argsort(-np.abs(np.log(scale)))[:1]:
        value = scale[column]
        message = (
            f"must be standardised, or {{noise_variance}} fit it: column {column} is {value:.3g}"
            " times the standard deviation of the noise"
        )
        if not ALLOWED_SCALES[0] < value < ALLOWED_SCALES[1]:
            raise ArgumentError("data", message, STANDARDISE)
        if not WARNED_SCALES[0] < value < WARNED_SCALES[1]:
            warnings.warn(f"data {Words(message)}".replace("must", "should"), stacklevel=3)


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
