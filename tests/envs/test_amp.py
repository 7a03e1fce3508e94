"""Variable-length sequences: conformance, the exact optimum, sizes, errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.amp import VariableSequence, VariableSequenceState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.testing import check_environment, check_objective


def weighted_letters(tokens):
    """log R = sum over positions p of (p + 1) times the letter plus one, over 10."""
    place = jnp.arange(1, tokens.size + 1, dtype=jnp.float32)
    return (place * (tokens + 1).astype(jnp.float32)).sum() / 10


@pytest.mark.parametrize(("max_length", "min_length"), [(3, 1), (3, 0), (2, 2), (1, 1)])
def test_conforms(key, max_length, min_length):
    check_environment(VariableSequence(max_length, 2, weighted_letters, min_length), key)


@pytest.mark.parametrize("objective", [TrajectoryBalance(), DetailedBalance()])
def test_exact_optimum(key, objective):
    check_objective(objective, key, VariableSequence(3, 2, weighted_letters))


@pytest.mark.parametrize("min_length", [0, 1, 3])
def test_partition_function_is_the_sum_over_all_sequences(min_length):
    env = VariableSequence(3, 3, weighted_letters, min_length)
    words = [w for n in range(min_length, 4) for w in itertools.product(range(3), repeat=n)]
    rewards = [sum((p + 1) * (a + 1) for p, a in enumerate(w)) / 10 for w in words]
    graph = build_graph(env)
    assert int(graph.terminal.sum()) == len(words)
    _, log_z = exact.target_distribution(graph)
    np.testing.assert_allclose(log_z, np.logaddexp.reduce(rewards), rtol=1e-5)


def test_stop_is_the_only_action_of_a_full_sequence_and_forbidden_to_short_ones():
    env = VariableSequence(2, 3, weighted_letters, min_length=1)
    state = env.initial_state()
    assert env.forward_mask(state).tolist() == [True, True, True, False]
    state = env.step(state, jnp.int32(2))
    assert env.forward_mask(state).tolist() == [True] * 4
    state = env.step(state, jnp.int32(0))
    assert state.tokens.tolist() == [2, 0]
    assert env.forward_mask(state).tolist() == [False, False, False, True]
    stopped = env.step(state, jnp.int32(3))
    assert stopped.stopped
    assert not env.forward_mask(stopped).any()


def test_observation_shows_the_letters():
    env = VariableSequence(2, 2, weighted_letters)
    state = VariableSequenceState(jnp.array([1, -1]), jnp.array(True))
    assert jax.jit(env.observe)(state).tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0, 2), "max_length"), ((2, 0), "alphabet_size"), ((2, 2, 3), "min_length")],
)
def test_impossible_sizes_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be .*, got"):
        VariableSequence(*arguments[:2], weighted_letters, *arguments[2:])
