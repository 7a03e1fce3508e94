"""Fronts and hypervolumes, by hand and by counting."""

import itertools

import numpy as np
import pytest

from gfnjax.metrics.pareto import hypervolume, non_dominated


def test_hypervolume_by_hand():
    assert hypervolume([[2.0]]) == 2.0
    assert hypervolume([[2.0, 3.0]]) == 6.0
    # A staircase: 1 x 3, and from there on 1 x 2 and 1 x 1.
    stairs = [[1, 3], [2, 2], [3, 1]]
    assert hypervolume(stairs) == 6.0
    assert hypervolume([*stairs, [1, 1], [2, 2], [-1, 9]]) == 6.0
    assert hypervolume(stairs, 1.0) == 1.0
    assert hypervolume(stairs, [0.0, 1.0]) == 3.0
    assert hypervolume(stairs, [-1, 0]) == 9.0
    # Two boxes in space: 2 + 2 less what they share.
    assert hypervolume([[2, 1, 1], [1, 2, 1]]) == 3.0
    assert hypervolume([[2, 1, 1], [1, 2, 1], [1, 1, 2]]) == 4.0
    assert hypervolume(np.zeros((0, 3))) == 0.0
    assert hypervolume([[1.0, 1.0]], 1.0) == 0.0


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 4, 5])
def test_hypervolume_by_counting_cells(num_objectives):
    side, rng = 4, np.random.default_rng(num_objectives)
    cells = np.array(list(itertools.product(range(side), repeat=num_objectives)))
    for _ in range(10):
        points = rng.integers(0, side + 1, (7, num_objectives))
        covered = (cells[:, None] < points[None]).all(axis=2).any(axis=1).sum()
        assert hypervolume(points) == pytest.approx(covered, rel=1e-12)


@pytest.mark.parametrize("num_objectives", [3, 4, 5])
def test_hypervolume_by_random_points(num_objectives):
    rng = np.random.default_rng(0)
    points = rng.dirichlet(np.ones(num_objectives), 25) ** 0.5
    drawn = rng.random((40_000, num_objectives))
    share = np.zeros(len(drawn), bool)
    for point in points:
        share |= (drawn < point).all(axis=1)
    error = np.sqrt(share.mean() * (1 - share.mean()) / len(drawn))
    assert abs(hypervolume(points) - share.mean()) < 4 * error
    moved = hypervolume(3.0 * points - 2.0, -2.0)  # linear in every objective
    assert moved == pytest.approx(3.0**num_objectives * hypervolume(points), rel=1e-9)


def test_non_dominated():
    points = np.array([[1, 3], [2, 2], [1, 2], [2, 2], [3, 1], [3, 0]])
    assert non_dominated(points).tolist() == [True, True, False, False, True, False]
    random = np.random.default_rng(1).integers(0, 5, (60, 3))
    kept = non_dominated(random)
    for i, row in enumerate(random):
        better = (random >= row).all(axis=1) & (random > row).any(axis=1)
        twin = (random[:i] == row).all(axis=1).any()
        assert kept[i] == (not better.any() and not twin)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^points must be of shape \[n, m\], got \(2,\)$"):
        hypervolume([1.0, 2.0])
    with pytest.raises(ValueError, match=r"^points must be numbers, got NaN$"):
        non_dominated([[np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"^points must be finite"):
        hypervolume([[np.inf, 1.0]])
    with pytest.raises(ValueError, match=r"^reference must be a number or of shape \(2,\), got"):
        hypervolume([[1.0, 1.0]], [0.0, 0.0, 0.0])
