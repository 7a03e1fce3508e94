"""How near samples of a density are to exact ones.

The lower bound of log Z and importance weights see what the sampler finds and nothing else. One
that covers k of n equal modes perfectly has a gap of log(n / k) in either, and looks converged;
only exact samples, in the upper bound (`gfnjax.metrics.sampled.eubo`), in a distance or in a count
of modes, tell of the others.
"""

import importlib
from typing import Any

import numpy as np

from gfnjax.errors import ArgumentError, MissingExtraError


def wasserstein(x: Any, y: Any) -> float:
    """The 2-Wasserstein distance between samples `[n, d]` and `[m, d]`, by linear programming.

    Exact for the samples; between two samples of one distribution it is not 0 but falls with n.
    A thousand of them take about a second. Needs POT, and no JAX transformation.

    Raises:
        ValueError: for arrays of other shapes.
        MissingExtraError: without POT.
    """
    x, y = _points("x", x), _points("y", y)
    transport = _transport()
    return float(np.sqrt(transport.emd2([], [], transport.dist(x, y), numItermax=1_000_000)))


def sliced_wasserstein(x: Any, y: Any, num_projections: int = 200, seed: int = 0) -> float:
    """The mean over random directions of the squared 2-Wasserstein distance, rooted.

    Of samples `[n, d]` and `[m, d]`, by sorting: at once for any n. Errors as `wasserstein`.
    """
    x, y = _points("x", x), _points("y", y)
    distance = _transport().sliced_wasserstein_distance
    return float(distance(x, y, n_projections=num_projections, seed=seed))


def _points(name: str, points: Any) -> np.ndarray:
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or 0 in points.shape:
        raise ArgumentError(name, f"must be [n, d], got shape {points.shape}")
    return points


def _transport() -> Any:
    try:
        return importlib.import_module("ot")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Wasserstein distances need POT: pip install 'gfnjax[diffusion]'", name="ot"
        ) from error
