"""Numbers of runs, worked by hand."""

import math

import numpy as np
import pytest

from gfnjax.reproduce.measures import Goal, Seconds, Until, Value


def evaluations(**columns):
    """One every 100 steps, ten seconds each."""
    length = len(next(iter(columns.values())))
    return [
        {"step": 100 * i, "seconds": 10.0 * i, **{name: x[i] for name, x in columns.items()}}
        for i in range(length)
    ]


CLOSE = Goal({"log_z_error": 0.5, "part_error": 0.05})


def test_both_bounds_must_hold_twice_in_a_row():
    errors = [9.0, 0.4, 0.4, 0.6, 0.5, 0.3]
    parts = [0.9, 0.01, 0.06, 0.01, 0.05, 0.04]
    found = evaluations(log_z_error=errors, part_error=parts)
    assert Until(CLOSE, "steps").of(found) == 400
    assert Until(CLOSE, "seconds", seconds=True).of(found) == 40.0
    assert Until(CLOSE, "steps").of(found[:-1]) == math.inf
    assert math.isnan(Until(CLOSE, "steps").of([]))


def test_a_goal_may_be_a_least_number():
    found = evaluations(modes_found=[0, 60, 59, 60, 61, 20])
    assert Until(Goal({"modes_found": 60}, least=True), "").of(found) == 300


def test_what_is_not_a_number_reaches_nothing():
    found = evaluations(log_z_error=[math.nan] * 3, part_error=[0.0] * 3)
    assert Until(CLOSE, "steps").of(found) == math.inf


def test_first_last_and_best_values():
    found = evaluations(x=[5.0, 1.0, 3.0])
    assert Value("x", "").of(found) == 3.0
    assert Value("x", "", pick=min).of(found) == 1.0
    assert Value("x", "", pick=max).of(found) == 5.0
    assert math.isnan(Value("y", "").of(found))
    assert Seconds().of(found) == 20.0


@pytest.mark.parametrize(
    ("values", "cell", "middle"),
    [
        ([3000.0], "3,000", 3000),
        ([3000.0, 1000.0, 2000.0], "2,000 (1,000 to 3,000)", 2000),
        ([3000.0, math.inf, 2000.0], "3,000 (2,000 to never), 2 of 3 reached", 3000),
        ([1000.0, math.inf], "1,000 (1,000 to never), 1 of 2 reached", 1000),
        ([math.inf, math.inf], "not reached", math.inf),
    ],
)
def test_runs_that_did_not_arrive_count(values, cell, middle):
    steps = Until(CLOSE, "")
    assert steps.cell(np.array(values)) == cell
    assert steps.middle(np.array(values)) == middle


def test_mean_and_spread():
    value = Value("x", "", 2)
    assert value.cell(np.array([1.0, 2.0, 3.0])) == "2.00 ± 1.00 (1.00 to 3.00)"
    assert value.cell(np.array([1.234])) == "1.23"
    assert value.middle(np.array([1.0, 2.0, 6.0])) == 3.0
