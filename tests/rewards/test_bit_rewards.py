"""Modes, test sets and Hamming rewards of bit sequences, against plain NumPy on bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnjax.rewards.bits import (
    PATTERNS,
    hamming_reward,
    make_modes,
    make_test_set,
    to_bits,
    to_words,
)


def test_words_are_big_endian():
    assert to_words(np.array([[1, 0, 0, 1, 1, 1]]), 3).tolist() == [[4, 7]]
    assert to_bits(np.array([[4, 7]]), 3).tolist() == [[1, 0, 0, 1, 1, 1]]


def test_modes_are_distinct_patterns_end_to_end():
    modes = make_modes(120, 60, seed=1)
    assert modes.shape == (60, 120)
    assert len({mode.tobytes() for mode in modes}) == 60
    blocks = {"".join(map(str, block)) for block in modes.reshape(-1, 8)}
    assert blocks == set(PATTERNS)
    assert (make_modes(120, 60, seed=1) == modes).all()
    assert (make_modes(120, 60, seed=2) != modes).any()


def test_all_possible_modes_can_be_drawn():
    assert len(make_modes(8, 5)) == 5
    assert {"".join(map(str, mode)) for mode in make_modes(4, 3)} == {"0000", "1111", "0011"}


def test_the_test_set_flips_each_number_of_bits_once_per_mode():
    modes = make_modes(24, 3, seed=0)
    flipped = make_test_set(modes, seed=0).reshape(3, 24, 24)
    assert ((flipped != modes[:, None]).sum(axis=2) == np.arange(24)).all()
    # Which bits are flipped is random: over the set every bit is flipped sometimes, never always.
    share = (flipped != modes[:, None])[:, 1:].mean(axis=(0, 1))
    assert ((share > 0.2) & (share < 0.8)).all()


@given(st.integers(0, 1000), st.sampled_from([1, 2, 4, 8]))
def test_reward_and_found_modes_against_bits(seed, word_size):
    rng = np.random.default_rng(seed)
    modes, strings = rng.integers(0, 2, (3, 16)), rng.integers(0, 2, (4, 16))
    distance = (strings[:, None] != modes[None]).sum(axis=2)
    reward = hamming_reward(modes, word_size, beta=2.0)
    words = jnp.asarray(to_words(strings, word_size))
    np.testing.assert_allclose(jax.vmap(reward)(words), -2.0 * distance.min(axis=1) / 16, rtol=1e-6)
    assert jax.vmap(reward.distances)(words).tolist() == distance.tolist()
    for radius in (0, 5, 8):
        found = reward.modes_found(words, radius)
        assert found.tolist() == (distance.min(axis=0) <= radius).tolist()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="num_modes must be at most 5 for 8 bits, got 6"):
        make_modes(8, 6)
    with pytest.raises(ValueError, match="num_bits and num_modes must be at least 1, got 0 and 1"):
        make_modes(0, 1)
    with pytest.raises(ValueError, match=r"word_size must .* the number of bits 10, got 4"):
        hamming_reward(np.zeros((2, 10), int), 4)
    with pytest.raises(ValueError, match="bits must be 0 or 1"):
        hamming_reward(np.full((2, 8), 2), 4)
    with pytest.raises(ValueError, match=r"modes must be \[M, n\] bits, got shape \(8,\)"):
        hamming_reward(np.zeros(8, int), 4)
    with pytest.raises(ValueError, match=r"words must be of shape \(2,\), got \(3,\)"):
        hamming_reward(np.zeros((2, 8), int), 4)(jnp.zeros(3, jnp.int32))


def test_what_is_measured_and_drawn():
    modes = np.array([[0] * 8, [1] * 8])
    reward = hamming_reward(modes, word_size=4)
    bits = np.array([[0] * 8, [0] * 7 + [1], [1, 1, 1, 1, 1, 0, 0, 0]])
    words = to_words(bits, 4)
    found = reward.measure(jnp.asarray(words))
    # A quarter of the bits is 2; the third string is 3 away from the second mode.
    assert int(found["modes_found"]) == 1
    assert float(found["mode_distance"]) == pytest.approx(4 / 3)
    distance, nearest = reward.render(words, np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(distance.values, [0.5, 0.3, 0, 0.2, 0])
    np.testing.assert_allclose(nearest.values, [0.8, 0.2])
