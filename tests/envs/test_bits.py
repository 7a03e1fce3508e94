"""Bit sequences in any order: rules by hand, enumeration, exact log Z."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.bits import BitSequence, BitState, bit_sequence
from gfnjax.metrics.exact import target_distribution
from gfnjax.metrics.state_graph import build_graph
from gfnjax.rewards.bits import hamming_reward
from gfnjax.testing import check_environment


def _zero(tokens):
    return jnp.zeros(())


def test_conformance(key):
    check_environment(bit_sequence(6, 2, num_modes=2), key, num_trajectories=8)


def test_published_sizes():
    env = bit_sequence()
    assert (env.num_actions, env.num_backward_actions, env.max_steps) == (3840, 15, 15)
    assert env.num_features == 15 * 257
    assert env.reward.modes.shape == (60, 15)
    assert (env.reward.beta, env.reward.num_bits) == (3.0, 120)


def test_rules_by_hand():
    env = BitSequence(6, 2, _zero)
    state = env.step(env.initial_state(), jnp.int32(1 * 4 + 2))
    assert state.tokens.tolist() == [-1, 2, -1]
    assert env.forward_mask(state).tolist() == [True] * 4 + [False] * 4 + [True] * 4
    assert env.backward_mask(state).tolist() == [False, True, False]
    assert int(env.forward_action(state, jnp.int32(1))) == 6
    # Empty is feature 0 of a position, word w is feature w + 1.
    assert env.active_features(state).tolist() == [0, 5 + 3, 10]
    assert env.observe(state).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    full = BitState(jnp.array([3, 2, 0], jnp.int32))
    assert env.is_terminal(full)
    assert env.step(full, jnp.int32(1)).tokens.tolist() == [3, 2, 0]
    assert env.backward_step(full, jnp.int32(0)).tokens.tolist() == [-1, 2, 0]


def test_states_are_numbers_in_base_of_words_and_empty():
    env = BitSequence(4, 2, _zero)
    assert env.num_states == 25
    assert env.state_at(jnp.int32(0)).tokens.tolist() == [-1, -1]
    assert env.state_at(jnp.int32(7)).tokens.tolist() == [0, 1]
    assert int(env.state_index(BitState(jnp.array([3, -1], jnp.int32)))) == 20


def test_log_z_of_one_mode_is_a_product_over_bits(x64):
    modes = np.array([[0, 1, 1, 0, 1, 0, 0, 1]])
    env = BitSequence(8, 1, hamming_reward(modes, word_size=1, beta=3.0))
    log_p, log_z = target_distribution(build_graph(env))
    assert float(log_z) == pytest.approx(8 * math.log(1 + math.exp(-3 / 8)), abs=1e-12)
    assert env.state_at(jnp.argmax(log_p).astype(jnp.int32)).tokens.tolist() == modes[0].tolist()


@pytest.mark.parametrize(("num_bits", "num_modes"), [(4, 2), (8, 4)])
def test_small_ones_enumerate_all_strings(num_bits, num_modes, x64):
    env = bit_sequence(num_bits, 1, num_modes)
    graph = build_graph(env)
    assert graph.num_states == 3**num_bits
    assert int(graph.terminal.sum()) == 2**num_bits
    codes = np.arange(2**num_bits)
    strings = codes[:, None] >> np.arange(num_bits)[::-1] & 1
    modes = np.asarray(env.reward.modes)
    distance = (strings[:, None] != modes[None]).sum(axis=2).min(axis=1)
    expected = np.log(np.exp(-3 * distance / num_bits).sum())
    assert float(target_distribution(graph)[1]) == pytest.approx(expected, abs=1e-12)


def test_rewards_are_leaves():
    env = bit_sequence(8, 2, 2)
    doubled = jax.tree.map(lambda x: x * 2 if isinstance(x, float) else x, env)
    state = BitState(jnp.array([1, 2, 3, 0], jnp.int32))
    assert float(doubled.log_reward(state)) == pytest.approx(2 * float(env.log_reward(state)))


def test_impossible_sizes():
    with pytest.raises(ValueError, match="divide num_bits = 10, got 4"):
        BitSequence(10, 4, _zero)
    with pytest.raises(ValueError, match=r"word_size must be in 1\.\.16 .*, got 0"):
        BitSequence(10, 0, _zero)
    with pytest.raises(ValueError, match="num_bits must be at least 1, got 0"):
        BitSequence(0, 1, _zero)
