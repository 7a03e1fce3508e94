"""Fixed-length sequences: rules by hand, enumeration, and the instances' exact numbers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.data import published
from gfnjax.envs.bits import bit_sequence
from gfnjax.envs.sequences import (
    FixedSequence,
    SequenceState,
    left_to_right_bits,
    qm9_small,
    tfbind8,
)
from gfnjax.metrics.exact import log_path_counts, target_distribution
from gfnjax.metrics.state_graph import build_graph
from gfnjax.rewards.tables import TableReward
from gfnjax.testing import check_environment


def _zero(tokens):
    return jnp.zeros(())


def _tokens(*values):
    return SequenceState(jnp.array(values, jnp.int32))


@pytest.mark.parametrize("both_ends", [False, True])
def test_conformance(both_ends, key):
    table = TableReward(jax.random.normal(key, (3,) * 3))
    check_environment(FixedSequence(3, 3, table, both_ends), key, num_trajectories=8)


def test_appending_by_hand():
    env = FixedSequence(3, 4, _zero)
    assert (env.num_actions, env.num_backward_actions, env.max_steps) == (4, 1, 3)
    state = env.step(_tokens(2, -1, -1), jnp.int32(1))
    assert state.tokens.tolist() == [2, 1, -1]
    assert env.backward_step(state, jnp.int32(0)).tokens.tolist() == [2, -1, -1]
    assert int(env.forward_action(state, jnp.int32(0))) == 1
    full = _tokens(2, 1, 0)
    assert env.is_terminal(full)
    assert not env.is_terminal(state)
    assert not env.forward_mask(full).any()
    assert env.step(full, jnp.int32(3)).tokens.tolist() == [2, 1, 0]
    assert env.active_features(state).tolist() == [3, 5 + 2, 10]


def test_both_ends_by_hand():
    env = FixedSequence(3, 4, _zero, both_ends=True)
    assert (env.num_actions, env.num_backward_actions) == (8, 2)
    state = _tokens(2, 1, -1)
    assert env.step(state, jnp.int32(3)).tokens.tolist() == [2, 1, 3]
    assert env.step(state, jnp.int32(4 + 3)).tokens.tolist() == [3, 2, 1]
    assert env.backward_step(state, jnp.int32(0)).tokens.tolist() == [2, -1, -1]
    assert env.backward_step(state, jnp.int32(1)).tokens.tolist() == [1, -1, -1]
    assert int(env.forward_action(state, jnp.int32(0))) == 1
    assert int(env.forward_action(state, jnp.int32(1))) == 4 + 2
    assert int(env.backward_action(state, jnp.int32(5))) == 1


@pytest.mark.parametrize(("length", "alphabet_size"), [(1, 2), (3, 1), (3, 3)])
def test_states_are_the_strings_in_order_of_length(length, alphabet_size):
    env = FixedSequence(length, alphabet_size, _zero)
    expected = [
        list(letters) + [-1] * (length - size)
        for size in range(length + 1)
        for letters in itertools.product(range(alphabet_size), repeat=size)
    ]
    assert env.num_states == len(expected)
    states = jax.jit(jax.vmap(env.state_at))(jnp.arange(env.num_states, dtype=jnp.int32))
    assert states.tokens.tolist() == expected
    assert jax.jit(jax.vmap(env.state_index))(states).tolist() == list(range(len(expected)))


@pytest.mark.parametrize("both_ends", [False, True])
def test_number_of_ways_to_build_a_sequence(both_ends):
    env = FixedSequence(3, 2, _zero, both_ends)
    graph = build_graph(env)
    counts = np.exp(log_path_counts(graph))[np.asarray(graph.terminal)]
    np.testing.assert_allclose(counts, 8.0 if both_ends else 1.0, rtol=1e-5)


@pytest.mark.parametrize("both_ends", [False, True])
def test_tfbind8(both_ends, x64):
    env = tfbind8(both_ends)
    assert (env.num_actions, env.num_backward_actions) == ((8, 2) if both_ends else (4, 1))
    assert env.num_states == 87_381
    graph = build_graph(env)
    log_p, log_z = target_distribution(graph)
    assert float(log_z) == pytest.approx(11.462147, abs=1e-6)
    assert float(jnp.exp(log_p) @ jnp.exp(graph.log_reward)) == pytest.approx(3.319955, abs=1e-6)


@pytest.mark.skipif(
    not published.available("qm9_small.npz"), reason="needs qm9_small.npz: set GFNJAX_DATA"
)
def test_qm9_small(x64):
    env = qm9_small()
    assert (env.num_actions, env.num_backward_actions, env.max_steps) == (22, 2, 5)
    assert env.num_states == 177_156
    graph = build_graph(env)
    log_p, log_z = target_distribution(graph)
    assert int(graph.terminal.sum()) == 161_051
    assert float(log_z) == pytest.approx(11.926702, abs=1e-6)
    assert float(jnp.exp(log_p) @ jnp.exp(graph.log_reward)) == pytest.approx(2.032139, abs=1e-6)


def test_left_to_right_bits_share_the_target_of_any_order(x64):
    appended, anywhere = left_to_right_bits(8, 2, 4, seed=3), bit_sequence(8, 2, 4, seed=3)
    assert (appended.num_actions, appended.num_backward_actions) == (4, 1)
    assert appended.num_states == 1 + 4 + 16 + 64 + 256
    log_z = [target_distribution(build_graph(env))[1] for env in (appended, anywhere)]
    assert float(log_z[0]) == pytest.approx(float(log_z[1]), abs=1e-12)


def test_impossible_sizes():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        FixedSequence(0, 4, _zero)
    with pytest.raises(ValueError, match="alphabet_size must be at least 1, got 0"):
        FixedSequence(3, 0, _zero)
