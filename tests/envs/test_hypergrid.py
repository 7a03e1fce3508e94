from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import check_environment


def at(*position, stopped=False):
    return HypergridState(jnp.array(position, jnp.int32), jnp.asarray(stopped))


@pytest.mark.parametrize(
    ("size", "reward"),
    [
        ((2, 8), gfnjax.Corners()),
        ((4, 3), gfnjax.Sparse()),
        ((1, 2), gfnjax.Cosine()),
        ((2, 4), gfnjax.Deceptive()),
    ],
)
def test_conformance(size, reward, key):
    check_environment(gfnjax.Hypergrid(*size, reward), key)


@pytest.mark.usefixtures("x64")
def test_conformance_in_double_precision(key):
    check_environment(gfnjax.Hypergrid(2, 3), key, num_trajectories=8)


def test_sizes():
    env = gfnjax.Hypergrid(3, 5)
    assert (env.num_actions, env.num_backward_actions) == (4, 4)
    assert (env.max_steps, env.num_states, env.num_features) == (13, 250, 15)


@pytest.mark.parametrize(
    ("state", "forward", "backward"),
    [
        (at(0, 0), [1, 1, 1], [0, 0, 0]),
        (at(3, 0), [0, 1, 1], [1, 0, 0]),
        (at(1, 2), [1, 1, 1], [1, 1, 0]),
        (at(3, 3), [0, 0, 1], [1, 1, 0]),
        (at(0, 0, stopped=True), [0, 0, 0], [0, 0, 1]),
        (at(3, 1, stopped=True), [0, 0, 0], [0, 0, 1]),
    ],
)
def test_masks_by_hand(state, forward, backward):
    env = gfnjax.Hypergrid(2, 4)
    np.testing.assert_array_equal(env.forward_mask(state), np.array(forward, bool))
    np.testing.assert_array_equal(env.backward_mask(state), np.array(backward, bool))


def test_steps_by_hand():
    env = gfnjax.Hypergrid(2, 4)
    for state, action, child in [
        (at(1, 2), 0, at(2, 2)),
        (at(1, 2), 1, at(1, 3)),
        (at(1, 2), 2, at(1, 2, stopped=True)),
    ]:
        action = jnp.asarray(action, jnp.int32)
        jax.tree.map(np.testing.assert_array_equal, env.step(state, action), child)
        undo = env.backward_action(state, action)
        jax.tree.map(np.testing.assert_array_equal, env.backward_step(child, undo), state)
        assert env.forward_action(child, undo) == action


def test_observation_is_one_hot_per_dimension():
    env = gfnjax.Hypergrid(2, 4)
    np.testing.assert_array_equal(env.observe(at(1, 3)), [0, 1, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(env.active_features(at(1, 3)), [1, 7])


def test_the_state_graph_is_the_grid():
    # Every cell once as itself and once stopped; the longest path visits D (H - 1) + 1 edges.
    env = gfnjax.Hypergrid(3, 3)
    graph = build_graph(env)
    states = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32))
    cells = [(*map(int, p), bool(s)) for p, s in zip(states.position, states.stopped, strict=True)]
    assert sorted(cells) == sorted((*p, s) for p in product(range(3), repeat=3) for s in (0, 1))
    assert int(graph.terminal.sum()) == 27
    assert int(graph.forward_mask.sum()) == 27 + 3 * 2 * 9  # stops, and moves along three axes
    assert graph.levels.shape[0] == env.max_steps + 1 == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_dims": 0}, r"num_dims must be at least 1, got 0"),
        ({"num_dims": -2}, r"num_dims must be at least 1, got -2"),
        ({"side": 1}, r"side must be at least 2, got 1"),
    ],
)
def test_impossible_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        gfnjax.Hypergrid(**arguments)


def linear(position, side, slope=2.0):
    return slope * position.sum().astype(float) / side


@pytest.mark.parametrize(
    "reward",
    [linear, lambda p, side: linear(p, side), partial(linear, slope=2.0), jax.jit(linear)],
    ids=["function", "lambda", "partial", "jitted"],
)
def test_any_callable_is_a_reward(reward):
    env = gfnjax.Hypergrid(2, 4, reward)
    compiled = jax.jit(lambda env, state: env.log_reward(state))
    assert compiled(env, at(1, 2, stopped=True)) == 1.5


def test_a_callable_class_is_a_reward_and_its_leaves_are_parameters():
    reward = jax.tree_util.Partial(linear, slope=2.0)
    slope = jax.grad(lambda env: env.log_reward(at(1, 2)))(gfnjax.Hypergrid(2, 4, reward))
    assert slope.reward.keywords["slope"] == 0.75


def test_reward_parameters_are_vmapped_and_differentiated_without_retracing():
    traces = []

    @jax.jit
    def value_and_slopes(env):
        traces.append(env)
        return jax.value_and_grad(lambda env: env.log_reward(at(1, 1)))(env)

    for r0, r1 in [(0.1, 0.5), (0.2, 0.7), (0.3, 0.1)]:
        # (1, 1) on a grid of side 8 lies in a corner and in the ring: R = r0 + r1 + r2.
        env = gfnjax.Hypergrid(2, 8, gfnjax.Corners(r0, r1, 2.0))
        value, slopes = value_and_slopes(env)
        np.testing.assert_allclose(value, np.log(r0 + r1 + 2), rtol=1e-6)
        np.testing.assert_allclose(slopes.reward.r0, 1 / (r0 + r1 + 2), rtol=1e-6)
        np.testing.assert_allclose(slopes.reward.r2, 1 / (r0 + r1 + 2), rtol=1e-6)
    assert len(traces) == 1

    r0 = jnp.array([0.1, 0.2])
    swept = jax.vmap(lambda r0: gfnjax.Hypergrid(2, 8, gfnjax.Corners(r0)).log_reward(at(0, 4)))
    np.testing.assert_allclose(swept(r0), np.log(r0), rtol=1e-6)
    batch = gfnjax.Hypergrid(2, 8, gfnjax.Corners(r0, jnp.zeros(2), jnp.ones(2)))
    log_rewards = jax.vmap(lambda env: env.log_reward(at(1, 1)))(batch)
    np.testing.assert_allclose(log_rewards, np.log(r0 + 1), rtol=1e-6)
