"""Sets: rules, enumeration and the partial reward, against itertools and values by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.base import Enumerable, PartialReward
from gfnjax.envs.sets import Set, SetState, additive_set, published_set
from gfnjax.metrics.exact import target_distribution
from gfnjax.metrics.state_graph import build_graph
from gfnjax.rewards.sets import set_truth
from gfnjax.testing import check_environment

ENERGIES = np.array([0.1, -0.4, 0.3, 0.2, 1.0])


def _state(*elements, size=5):
    return SetState(jnp.isin(jnp.arange(size), jnp.array(elements, jnp.int32)))


def test_conformance(key):
    check_environment(additive_set(ENERGIES, 3), key, num_trajectories=8)


def test_conformance_of_a_size_that_cannot_be_enumerated(key):
    check_environment(published_set("large"), key, num_trajectories=2)


def test_rules_by_hand():
    env = additive_set(ENERGIES, 2)
    assert (env.num_actions, env.num_backward_actions, env.max_steps) == (5, 5, 2)
    one = env.step(env.initial_state(), jnp.int32(3))
    assert one.members.tolist() == [False, False, False, True, False]
    assert env.forward_mask(one).tolist() == [True, True, True, False, True]
    assert not env.is_terminal(one)
    two = env.step(one, jnp.int32(0))
    assert env.is_terminal(two)
    assert not env.forward_mask(two).any()
    assert env.backward_mask(two).tolist() == [True, False, False, True, False]
    assert env.step(two, jnp.int32(1)).members.tolist() == two.members.tolist()
    assert env.observe(two).tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_partial_reward_is_the_product_over_the_elements_present():
    env = additive_set(ENERGIES, 3)
    assert isinstance(env, PartialReward)
    assert float(env.log_partial_reward(_state())) == 0.0
    assert float(env.log_partial_reward(_state(1, 4))) == pytest.approx(-0.6)
    full = _state(0, 1, 4)
    assert float(env.log_reward(full)) == pytest.approx(-0.7)
    assert float(env.log_partial_reward(full)) == pytest.approx(-0.7)


@pytest.mark.parametrize(("num_elements", "set_size"), [(1, 1), (4, 4), (6, 1), (7, 3)])
def test_states_are_enumerated_by_size_then_by_bit_code(num_elements, set_size):
    env = Set(num_elements, set_size, lambda members: members.sum().astype(float))
    expected = [
        tuple(chosen)
        for size in range(set_size + 1)
        for chosen in sorted(
            itertools.combinations(range(num_elements), size), key=lambda c: sum(2**p for p in c)
        )
    ]
    assert isinstance(env, Enumerable)
    assert env.num_states == len(expected)
    states = jax.jit(jax.vmap(env.state_at))(jnp.arange(env.num_states, dtype=jnp.int32))
    assert [tuple(np.flatnonzero(m).tolist()) for m in np.asarray(states.members)] == expected
    assert jax.jit(jax.vmap(env.state_index))(states).tolist() == list(range(len(expected)))


def test_large_indices_are_exact():
    env = published_set("small")
    assert env.num_states == 1_050_777_737
    last = env.state_at(jnp.int32(env.num_states - 1))
    assert np.flatnonzero(last.members).tolist() == list(range(10, 30))
    assert int(env.state_index(last)) == env.num_states - 1


def test_log_z_of_the_graph_is_the_symmetric_polynomial(x64):
    env = additive_set(ENERGIES, 3)
    log_p, log_z = target_distribution(build_graph(env))
    truth = set_truth(ENERGIES, 3)
    assert float(log_z) == pytest.approx(truth.log_z, abs=1e-12)
    members = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32)).members
    np.testing.assert_allclose(np.exp(log_p) @ np.asarray(members), truth.marginals, atol=1e-12)


@pytest.mark.parametrize(("variant", "sizes"), [("small", (30, 20)), ("medium", (80, 60))])
def test_published_sizes(variant, sizes):
    env = published_set(variant)
    assert (env.num_elements, env.set_size) == sizes
    assert env.reward.energies.shape == sizes[:1]


@pytest.mark.parametrize("set_size", [0, 6])
def test_impossible_sizes(set_size):
    with pytest.raises(ValueError, match=f"set_size must be between 1 and .* 5, got {set_size}"):
        Set(5, set_size, lambda members: members.sum())
    with pytest.raises(ValueError, match=f"set_size must be between 1 and .* 5, got {set_size}"):
        additive_set(ENERGIES, set_size)


def test_the_target_is_known_without_enumeration():
    env = additive_set(np.array([0.1, -0.4, 0.3]), 2)
    weights = np.exp([-0.1, 0.4, -0.3])
    pairs = {(0, 1): weights[0] * weights[1], (0, 2): weights[0] * weights[2]}
    pairs[1, 2] = weights[1] * weights[2]
    total = sum(pairs.values())
    target = env.target()
    assert target.log_z == pytest.approx(np.log(total))
    expected = [sum(w for pair, w in pairs.items() if i in pair) / total for i in range(3)]
    np.testing.assert_allclose(target.parts, expected, rtol=1e-6)
    (panel,) = env.render_target()
    members = np.array([[i in pair for i in range(3)] for pair in pairs])
    (same,) = env.render(SetState(members), np.array(list(pairs.values())) / total)
    np.testing.assert_allclose(panel.values, same.values, rtol=1e-6)
    assert Set(3, 2, lambda members: jnp.float32(0)).target() is None
