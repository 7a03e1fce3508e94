"""Modes and best objects against sets and sorting in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnjax import Hypergrid, masking
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics import modes

ENV = Hypergrid(2, 5)
SEEDS = st.integers(0, 10_000)

update_best = jax.jit(modes.update_best)


def cells(positions):
    positions = jnp.asarray(positions, jnp.int32)
    return HypergridState(positions, jnp.ones(len(positions), bool))


def city_block(state, mode):
    return jnp.abs(state.position - mode.position).sum()


def test_modes_near():
    states, targets = cells([[0, 0], [2, 2], [2, 2]]), cells([[0, 1], [4, 4], [2, 2], [3, 3]])
    near = jax.jit(modes.modes_near, static_argnums=(2, 3))
    np.testing.assert_array_equal(near(states, targets, city_block, 0), [False, False, True, False])
    # The radius is inclusive.
    np.testing.assert_array_equal(near(states, targets, city_block, 1), [True, False, True, False])
    np.testing.assert_array_equal(near(states, targets, city_block, 2), [True, False, True, True])


def test_modes_visited():
    found = modes.modes_visited(jnp.array([3, 9, 3]), jnp.array([3, 4, 9, 10]))
    np.testing.assert_array_equal(found, [True, False, True, False])
    later = modes.modes_visited(jnp.array([4, 4, 4]), jnp.array([3, 4, 9, 10]))
    assert int((found | later).sum()) == 3


@given(SEEDS)
def test_first_occurrences(seed):
    rng = np.random.default_rng(seed)
    positions, stopped = rng.integers(0, 3, size=(20, 2)), rng.random(20) < 0.5
    states = HypergridState(jnp.asarray(positions, jnp.int32), jnp.asarray(stopped))
    seen, expected = set(), []
    for row in zip(map(tuple, positions), stopped, strict=True):
        expected.append(row not in seen)
        seen.add(row)
    np.testing.assert_array_equal(modes.first_occurrences(states), expected)


@given(SEEDS)
def test_best_of_several_batches(seed):
    rng = np.random.default_rng(seed)
    value = np.round(rng.normal(size=(5, 5)), 1).astype(np.float32)
    best = modes.empty_best(ENV, 6)
    seen = set()
    for _ in range(4):
        positions = rng.integers(0, 5, size=(5, 2))
        seen |= set(map(tuple, positions.tolist()))
        best = update_best(best, cells(positions), jnp.asarray(value[tuple(positions.T)]))
        expected = sorted((value[p] for p in seen), reverse=True)[:6]
        filled = len(expected)
        np.testing.assert_allclose(best.log_reward[:filled], expected)
        assert (np.asarray(best.log_reward[filled:]) == np.float32(masking.FILL)).all()
        kept = [tuple(p) for p in np.asarray(best.states.position[:filled]).tolist()]
        assert len(set(kept)) == filled
        np.testing.assert_allclose([value[p] for p in kept], expected)
    mean = np.exp(expected).sum() / 6
    np.testing.assert_allclose(modes.mean_reward(best), mean, rtol=1e-5)


def test_empty_slots_do_not_hide_an_object_of_the_same_state():
    # Empty slots hold s_0; the same state with a reward must still be counted.
    start = jax.tree.map(lambda x: x[None], ENV.initial_state())
    best = update_best(modes.empty_best(ENV, 2), start, jnp.array([-3.0]))
    assert best.log_reward[0] == pytest.approx(-3.0)
    assert best.log_reward[1] == np.float32(masking.FILL)
