import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfnjax
from gfnjax.envs import tempered
from gfnjax.sweeps import log_uniform, uniform
from gfnjax.sweeps.points import described, given_points, make_points


def test_listed_values_are_combined_in_the_order_of_their_names():
    points = make_points({"a": [1, 2], "b": np.array([0.5, 1.5])})
    assert points == [
        {"a": 1, "b": 0.5},
        {"a": 1, "b": 1.5},
        {"a": 2, "b": 0.5},
        {"a": 2, "b": 1.5},
    ]
    assert make_points({}) == [{}]


def test_names_are_drawn_together():
    vary = {"a": uniform(2, 3), "kind": ["x", "y"], "b": log_uniform(1e-4, 1e-2)}
    points = make_points(vary, num_samples=2_000)
    assert len(points) == 4_000
    first, second = points[:2_000], points[2_000:]
    assert [p["kind"] for p in points[::2_000]] == ["x", "y"]
    assert [(p["a"], p["b"]) for p in first] == [(p["a"], p["b"]) for p in second]
    a, log_b = np.array([(p["a"], math.log10(p["b"])) for p in first]).T
    assert 2 <= a.min() < 2.01
    assert 2.99 < a.max() <= 3
    # Uniform numbers have standard deviation width / sqrt(12).
    assert a.mean() == pytest.approx(2.5, abs=4 / math.sqrt(12 * 2_000))
    assert log_b.mean() == pytest.approx(-3, abs=8 / math.sqrt(12 * 2_000))
    assert abs(np.corrcoef(a, log_b)[0, 1]) < 0.1
    assert make_points(vary, 3) == make_points(vary, 3)
    assert make_points(vary, 3, seed=1) != make_points(vary, 3)


def test_points_as_arrays_go_entry_by_entry():
    found = given_points({"a": jnp.array([1.0, 2.0]), "b": ["x", "y"]})
    assert found == [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]


@pytest.mark.parametrize(
    ("vary", "num_samples", "message"),
    [
        ({"a": 1e-3}, None, "a must be varied over a list of values"),
        ({"a": "1,2"}, None, "a must be varied over a list of values"),
        ({"a": []}, None, "at least one value"),
        ({"a": np.ones((2, 3))}, None, r"one-dimensional array, got shape \(2, 3\)"),
        ({"a": uniform(0, 1)}, None, "num_samples must say how many"),
        ({"a": [1]}, 3, "num_samples does nothing"),
        ({"a": uniform(0, 1)}, 0, "num_samples must be at least 1"),
        ({"a": range(1_000), "b": range(1_000)}, None, "100,000 points at most, got 1,000,000"),
    ],
)
def test_wrong_values_are_refused(vary, num_samples, message):
    with pytest.raises(ValueError, match=message):
        make_points(vary, num_samples)


def test_wrong_bounds_and_lengths_are_refused():
    for low, high in ((1, 0), (0, math.inf), (math.nan, 1)):
        with pytest.raises(ValueError, match="low must"):
            uniform(low, high)
    with pytest.raises(ValueError, match="must be positive"):
        log_uniform(0, 1)
    with pytest.raises(ValueError, match="one length, got a 2, b 1"):
        given_points({"a": [1, 2], "b": [1]})


@pytest.fixture(scope="module")
def gfn():
    env = gfnjax.Hypergrid(2, 4)
    return gfnjax.GFlowNet(
        env, gfnjax.mlp_policy(env, (8,)), gfnjax.SubTrajectoryBalance(0.9), batch_size=4
    )


def test_values_replace_those_of_a_description(gfn):
    point = {"learning_rate": 0.5, "objective.lambda_": 0.25, "env.reward.r0": 0.125}
    found = described(gfn, {**point, "batch_size": 8, "target_rate": 0.1})
    assert found.hyperparameters.learning_rate == 0.5
    assert found.objective.lambda_ == 0.25
    assert found.env.reward.r0 == 0.125
    assert (found.batch_size, found.target_rate) == (8, 0.1)
    assert gfn.hyperparameters.learning_rate == 1e-3
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    assert described(gfn, {"epsilon": schedule}).hyperparameters.epsilon.func is schedule
    other = described(gfn.replace(env=tempered(gfn.env, 2.0)), {"reward_exponent": 3.0})
    assert other.env.reward_exponent == 3.0


def test_what_contains_another_name_comes_first(gfn):
    objective = gfnjax.SubTrajectoryBalance(0.7)
    found = described(gfn, {"objective.lambda_": 0.25, "objective": objective})
    assert found.objective.lambda_ == 0.25


def test_scalars_of_other_libraries_are_numbers():
    points = make_points({"a": list(jnp.array([1.0, 2.0])), "b": [np.float32(0.5)]})
    assert [type(x) for point in points for x in point.values()] == [float] * 4


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lerning_rate": 1.0}, "no lerning_rate; did you mean learning_rate"),
        ({"env.reward.r_0": 1.0}, "Corners has no r_0; did you mean r0"),
        ({"objective.scale": 1.0}, "SubTrajectoryBalance has no scale"),
        ({"reward_exponent": 1.0}, "no reward_exponent; it is said by the environment"),
        ({1: 1.0}, "must go by names, got 1"),
        ({"classes": ()}, "no name to vary"),
        ({"learning_rate": -1.0}, "learning_rate must not be negative"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"env.side": 5}, "made for an environment"),
    ],
)
def test_wrong_points_are_refused(gfn, point, message):
    with pytest.raises(ValueError, match=message):
        described(gfn, point)
