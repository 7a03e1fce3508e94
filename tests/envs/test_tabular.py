import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from path_enumeration import all_paths

import gfnjax
from gfnjax.testing import check_environment

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.slow
@hypothesis.settings(max_examples=2)
@hypothesis.given(SEEDS, st.integers(2, 20), st.integers(1, 4))
def test_random_dags_conform(seed, num_states, max_parents):
    check_environment(gfnjax.random_dag(seed, num_states, max_parents), jax.random.key(seed))


@hypothesis.given(SEEDS, st.integers(2, 12), st.integers(1, 4), st.floats(0, 1))
def test_tables_of_random_dags_are_consistent(seed, num_states, max_parents, terminal_share):
    env = gfnjax.random_dag(seed, num_states, max_parents, terminal_share)
    children, parents, undo, redo = map(np.asarray, (env.children, env.parents, env.undo, env.redo))
    edges = {(s, a): c for (s, a), c in np.ndenumerate(children) if c >= 0}
    arrivals = {(c, k): p for (c, k), p in np.ndenumerate(parents) if p >= 0}
    assert len(edges) == len(arrivals)
    for (state, action), child in edges.items():
        assert state < child
        k = undo[state, action]
        assert arrivals[child, k] == state
        assert redo[child, k] == action
    in_degree = (parents >= 0).sum(axis=1)
    assert in_degree[0] == 0
    assert ((in_degree[1:] >= 1) & (in_degree[1:] <= max_parents)).all()
    assert env.num_states == num_states
    assert np.isfinite(env.log_rewards).all()
    assert env.max_steps == max(len(path) - 1 for path in all_paths(env))


def test_several_parents_occur_and_seeds_differ():
    dags = [gfnjax.random_dag(seed) for seed in range(20)]
    for env in dags:
        assert ((np.asarray(env.parents) >= 0).sum(axis=1) > 1).any()
    assert {env.num_backward_actions for env in dags} == {2, 3}
    assert len({np.asarray(env.log_rewards).tobytes() for env in dags}) == 20
    again = gfnjax.random_dag(3)
    jax.tree.map(np.testing.assert_array_equal, again, dags[3])


def test_tables_by_hand():
    env = gfnjax.tabular_dag([[2, 1], [2, 3], [3], []], [0.0, 0.0, 0.0, 1.5])
    np.testing.assert_array_equal(env.children, [[2, 1], [2, 3], [3, -1], [-1, -1]])
    np.testing.assert_array_equal(env.parents, [[-1, -1], [0, -1], [0, 1], [1, 2]])
    np.testing.assert_array_equal(env.undo, [[0, 0], [1, 0], [1, -1], [-1, -1]])
    np.testing.assert_array_equal(env.redo, [[-1, -1], [1, -1], [0, 0], [1, 0]])
    assert (env.max_steps, env.num_actions, env.num_backward_actions, env.num_states) == (
        3,
        2,
        2,
        4,
    )


def test_two_actions_may_lead_to_the_same_child(key):
    env = gfnjax.tabular_dag([[1, 1, 2], [2], []], [0.0, 0.0, 1.0])
    assert len(all_paths(env)) == 3
    check_environment(env, key, num_trajectories=8)


@pytest.mark.parametrize(
    ("children", "log_rewards", "message"),
    [
        ([[1], []], [0.0], "log_rewards must have 2 entries, got 1"),
        ([[1], [1]], [0.0, 0.0], "1 -> 1 is not in topological order"),
        ([[1, 2], [0], []], [0.0] * 3, "1 -> 0 is not in topological order"),
        ([[2], []], [0.0, 0.0], "0 -> 2 is not in topological order"),
        ([[1], [], []], [0.0] * 3, "no edge leads to state 2"),
        ([], [], "children: s_0, the first state, must have at least one child"),
        ([[]], [0.0], "children: s_0, the first state, must have at least one child"),
        ([[], [0]], [0.0] * 2, "children: s_0, the first state, must have at least one child"),
        ([[0]], [0.0], "0 -> 0 is not in topological order: number the states 0 to 0"),
        ([[1], [2], [1]], [0.0] * 3, "2 -> 1 is not in topological order"),
        ([[-1, 1], []], [0.0] * 2, "0 -> -1 is not in topological order: number the states"),
        ([[1.0], []], [0.0] * 2, "children must be a list of lists of state numbers.*float"),
        ([["1"], []], [0.0] * 2, "children must be a list of lists of state numbers.*str"),
        ([[None], []], [0.0] * 2, "children must be a list of lists of state numbers.*None"),
        ([1, []], [0.0] * 2, "children must be a list of lists of state numbers.*int"),
        (3, [0.0], "children must be a list of lists of state numbers"),
        ([[1], []], 0.0, r"log_rewards must have 2 entries, got an array of shape \(\)"),
        ([[1], []], [[0.0], [0.0]], r"must have 2 entries, got an array of shape \(2, 1\)"),
        ([[1], []], [0.0, "high"], "log_rewards must be numbers, one a state"),
        ([[1], []], [0.0, None], "log_rewards: nan of terminal state 1 must be a number"),
        ([[1, 2], [], []], [0.0, 0.0, np.nan], "log_rewards: nan of terminal state 2"),
        ([[1, 2], [], []], [0.0, np.inf, 0.0], "log_rewards: inf of terminal state 1"),
        ([[1, 2], [], []], [0.0, -np.inf, -np.inf], "log_rewards must be finite in at least one"),
        ([[1], []], [3.0, -np.inf], "log_rewards must be finite in at least one terminal state"),
    ],
)
def test_impossible_tables(children, log_rewards, message):
    with pytest.raises(ValueError, match=message):
        gfnjax.tabular_dag(children, log_rewards)


def test_arrays_will_do_and_rewards_are_read_at_the_end_alone(key):
    children = [np.array([1, 2]), np.array([2], np.int64), ()]
    env = gfnjax.tabular_dag(children, np.array([np.nan, -np.inf, 1.5]))
    np.testing.assert_array_equal(env.children, [[1, 2], [2, -1], [-1, -1]])
    np.testing.assert_array_equal(env.log_rewards, [0.0, 0.0, 1.5])
    check_environment(env, key, num_trajectories=4)


@pytest.mark.parametrize("arguments", [{"num_states": 1}, {"max_parents": 0}])
def test_impossible_random_dags(arguments):
    with pytest.raises(ValueError, match="must be at least"):
        gfnjax.random_dag(0, **arguments)


@pytest.mark.usefixtures("x64")
def test_double_precision():
    env = gfnjax.random_dag(0)
    assert env.log_rewards.dtype == jnp.float64
    assert (
        env.children.dtype == env.step(env.initial_state(), jnp.asarray(0)).index.dtype == jnp.int32
    )
