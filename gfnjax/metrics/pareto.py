"""Several objectives at once, all to be maximised: fronts and their hypervolume, in NumPy."""

import numpy as np
from numpy.typing import ArrayLike

from gfnjax.errors import ArgumentError, require


def non_dominated(points: ArrayLike) -> np.ndarray:
    """`[n]` True at the rows of `points` `[n, m]` that no other is at least as good as in all.

    Of equal rows the first one counts.

    Raises:
        ValueError: unless they are `[n, m]` numbers without NaN.
    """
    array = _points(points)
    keep = np.zeros(len(array), bool)
    order = np.lexsort((np.arange(len(array)), *(-array.T)))
    front = array[:0]
    for i in order:  # what dominates a row comes before it
        if not (front >= array[i]).all(axis=1).any():
            keep[i] = True
            front = np.concatenate([front, array[i : i + 1]])
    return keep


def hypervolume(points: ArrayLike, reference: ArrayLike = 0.0) -> float:
    """Volume of what some of `points` is better than, and that is better than `reference`.

    Exact for any number m of objectives: by inclusion and exclusion of one point after the other
    (While, Bradstreet and Barone, 2012), down to a sweep for two. The time grows quickly with m:
    seconds for a front of some hundreds at m = 5.

    Args:
        points: `[n, m]`, to be maximised; dominated ones add nothing.
        reference: `[m]`, or a number for all; points that do not exceed it add nothing.

    Returns:
        prod_i (y_i - reference_i) for a single point y; 0 for none.

    Raises:
        ValueError: for other shapes, NaN or infinite values.
    """
    array = _points(points)
    low = np.asarray(reference, np.float64)
    if low.ndim > 1 or (low.ndim == 1 and low.size != array.shape[1]):
        raise ArgumentError(
            "reference", f"must be a number or of shape ({array.shape[1]},), got {low.shape}"
        )
    require(np.isfinite(low).all(), "reference", "must be finite", low)
    require(np.isfinite(array).all(), "points", "must be finite", "infinite values")
    above = array - low
    return _volume(above[(above > 0).all(axis=1)])


def _volume(points: np.ndarray) -> float:
    """Of the union of boxes between 0 and each of `[n, m]` positive points."""
    points = points[non_dominated(points)]
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    # Small boxes last: what they share with those after them is little.
    points = points[np.argsort(-points[:, 0], kind="stable")]
    if points.shape[1] == 2:
        below = np.concatenate([[0.0], points[:-1, 1]])
        return float((points[:, 0] * (points[:, 1] - below)).sum())
    total = 0.0
    for i, point in enumerate(points):
        shared = np.minimum(points[i + 1 :], point)
        total += float(point.prod()) - _volume(shared)
    return total


def _points(points: ArrayLike) -> np.ndarray:
    array = np.asarray(points, np.float64)
    require(
        array.ndim == 2 and array.shape[1] > 0, "points", "must be of shape [n, m]", array.shape
    )
    require(not np.isnan(array).any(), "points", "must be numbers", "NaN")
    return array
