"""Environments with cycles: rules by hand, indices by enumeration, and the contract."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import Hypergrid
from gfnjax.envs import preference_conditional, temperature_conditional, tempered
from gfnjax.envs.base import Enumerable, RandomSource, at_source, is_acyclic, source_drawer
from gfnjax.envs.cyclic_hypergrid import (
    CyclicHypergrid,
    CyclicHypergridConfig,
    UniformSourceHypergrid,
)
from gfnjax.envs.permutations import Permutations, PermutationsConfig
from gfnjax.envs.stages import INSIDE, SOURCE, STOPPED
from gfnjax.envs.tabular import tabular_graph
from gfnjax.rewards.permutations import fixed_point_law, mean_reward
from gfnjax.testing import ConformanceError, check_environment


def state(env, values, stage=INSIDE):
    one = env.initial_state()
    return type(one)(jnp.asarray(values, jnp.int32), jnp.asarray(stage, jnp.int32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        UniformSourceHypergrid(2, 3, max_steps=64),
        CyclicHypergrid(2, 3, max_steps=64),
        Permutations(4, max_steps=64),
        tabular_graph([[1], [2], [3, 1], [4, 2, 5], [], []], [0.0] * 6, 64),
    ],
    ids=["uniform", "origin", "permutations", "tabular"],
)
def test_environments_with_cycles_conform(env, key):
    assert not is_acyclic(env)
    check_environment(env, key, 32)


def test_moves_of_the_grid_by_hand():
    env = CyclicHypergrid(2, 3)
    here = state(env, [1, 0])
    np.testing.assert_array_equal(env.forward_mask(here), [1, 1, 0, 1, 1, 0])
    # What came down came from above: no move down led to the last cell, none up to the first.
    np.testing.assert_array_equal(env.backward_mask(here), [1, 1, 1, 0, 0, 0])
    for action, there in enumerate(([0, 0], [2, 0], [1, 0], [1, 1])):
        np.testing.assert_array_equal(env.step(here, jnp.int32(action)).position, there)
    assert env.step(here, jnp.int32(4)).stage == STOPPED
    entered = env.step(env.initial_state(), jnp.int32(5))
    assert entered.stage == INSIDE
    np.testing.assert_array_equal(env.backward_mask(entered), [1, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(env.observe(env.initial_state()), np.zeros(6))


def test_moves_of_permutations_by_hand():
    env = Permutations(4)
    here = state(env, [2, 0, 3, 1])
    for action, there in enumerate(([0, 2, 3, 1], [2, 3, 0, 1], [2, 0, 1, 3], [1, 2, 0, 3])):
        np.testing.assert_array_equal(env.step(here, jnp.int32(action)).permutation, there)
    back = env.backward_step(here, jnp.int32(3))
    np.testing.assert_array_equal(back.permutation, [0, 3, 1, 2])
    assert env.step(here, jnp.int32(4)).stage == STOPPED
    assert env.backward_step(here, jnp.int32(5)).stage == SOURCE
    np.testing.assert_allclose(env.log_reward(state(env, [0, 2, 1, 3])), 1.0)


def test_permutations_are_counted_in_order():
    env = Permutations(4)
    listed = [tuple(np.asarray(env.state_at(jnp.int32(i)).permutation)) for i in range(24)]
    assert listed == list(permutations(range(4)))
    every = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32))
    np.testing.assert_array_equal(jax.vmap(env.state_index)(every), np.arange(49))
    assert every.stage[-1] == SOURCE
    assert isinstance(Permutations(8), Enumerable)
    assert not isinstance(Permutations(20), Enumerable)


# Of 2502.07735's reward, from the formula in exact arithmetic.
LAWS = {
    4: (3.826215, [0.196127, 0.287431, 0.355420, 0.0, 0.161022], 2.825952),
    8: (11.253324, [0.192297, 0.317023, 0.261482, 0.143161, 0.060349], 2.913872),
    20: (42.984338, [0.192296, 0.317042, 0.261357, 0.143635, 0.059203], 2.914099),
}


@pytest.mark.parametrize("size", LAWS)
def test_the_law_of_fixed_points(size):
    log_z, shares, mean = LAWS[size]
    law, found = fixed_point_law(size)
    np.testing.assert_allclose(found, log_z, atol=1e-6)
    np.testing.assert_allclose(law[:5], shares, atol=1e-6)
    np.testing.assert_allclose(mean_reward(law), mean, atol=1e-6)
    assert Permutations(size).target().log_z == found


def test_the_law_of_fixed_points_by_enumeration():
    rows = np.array(list(permutations(range(5))))
    fixed = (rows == np.arange(5)).sum(axis=1)
    weights = np.exp(0.7 * fixed)
    law, log_z = fixed_point_law(5, 0.7)
    np.testing.assert_allclose(log_z, np.log(weights.sum()), rtol=1e-12)
    by_hand = np.bincount(fixed, weights, minlength=6) / weights.sum()
    np.testing.assert_allclose(law, by_hand, atol=1e-12)
    states = state(Permutations(5), rows, np.full(120, STOPPED))
    judge = (
        Permutations(5).replace(reward=Permutations(5).reward.replace(weight=0.7)).target().judge
    )
    exact = judge(states, weights / weights.sum())
    np.testing.assert_allclose(list(exact.values()), 0, atol=1e-12)
    uniform = judge(states, np.full(120, 1 / 120))
    np.testing.assert_allclose(
        uniform["fixed_points_l1"], np.abs(np.bincount(fixed, minlength=6) / 120 - law).sum()
    )


def test_permutations_take_any_reward():
    env = Permutations(3, lambda permutation: -permutation[0].astype(float))
    inside = state(env, [[2, 0, 1]], [STOPPED])
    run = jax.jit(jax.vmap(lambda env, state: env.log_reward(state), (None, 0)))
    np.testing.assert_allclose(run(env, inside), [-2.0])
    # The law of fixed points is that of another reward.
    assert env.target() is None
    assert env.render_target() is None
    assert env.render(inside, np.ones(1))[0].values.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("env", "count"), [(UniformSourceHypergrid(2, 3), 9), (Permutations(3), 6)]
)
def test_sources_are_drawn_by_their_law(env, count, key):
    assert isinstance(env, RandomSource)
    sources = jax.vmap(source_drawer(env))(jax.random.split(key, 3_000))
    counts = np.bincount(
        jax.vmap(lambda s: env.state_index(env.step(s, env.source_action)))(sources),
        minlength=count,
    )
    assert counts.size == count
    assert np.abs(counts / 3_000 - 1 / count).max() < 0.03
    np.testing.assert_allclose(env.log_source(env.initial_state()), -np.log(count), rtol=1e-6)
    np.testing.assert_array_equal(jax.vmap(env.state_index)(sources), env.num_states - 1)
    assert jax.vmap(lambda s: at_source(env, s))(sources).all()
    assert source_drawer(CyclicHypergrid(2, 3)) is None


def test_wrappers_say_that_there_are_cycles():
    env = CyclicHypergrid(2, 3)
    assert not is_acyclic(tempered(env, 2.0))
    assert not is_acyclic(temperature_conditional(env, 0.5, 2.0))
    assert is_acyclic(tempered(Hypergrid(2, 3), 2.0))
    assert isinstance(tempered(Permutations(3), 2.0), RandomSource)
    with pytest.raises(ValueError, match="envs must have one s_0 each"):
        temperature_conditional(UniformSourceHypergrid(2, 3), 0.5, 2.0)
    with pytest.raises(ValueError, match="envs must have one s_0 each"):
        preference_conditional(UniformSourceHypergrid(2, 3), env.reward, env.reward)


def test_configurations():
    grid = CyclicHypergridConfig(source="origin", side=5).make()
    assert type(grid) is CyclicHypergrid
    assert type(CyclicHypergridConfig().make()) is UniformSourceHypergrid
    np.testing.assert_allclose(float(grid.reward.r0), 1e-3)
    assert PermutationsConfig(size=5, weight=1.0).make().reward.weight == 1.0
    with pytest.raises(ValueError, match="r0 must be positive"):
        CyclicHypergridConfig(r0=0.0).make()
    for make in (
        lambda: Permutations(1),
        lambda: CyclicHypergrid(2, 1),
        lambda: Permutations(3, max_steps=1),
    ):
        with pytest.raises(ValueError, match="must be at least 2"):
            make()


class Telling(UniformSourceHypergrid):
    """A source that shows which cell it enters."""

    def observe(self, state):
        return jax.nn.one_hot(state.position, self.side).reshape(-1)


class Unnormalised(UniformSourceHypergrid):
    """A source whose probabilities sum to 9."""

    def log_source(self, state):
        return jnp.zeros(())


class NoWayHome(CyclicHypergrid):
    """No state leads back to s_0."""

    def _may_be_first(self, state):
        return jnp.zeros((), bool)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Telling, "observe: must be the same of every source"),
        (Unnormalised, "log_source: the probabilities of all first states must sum to 1, not to 9"),
        (NoWayHome, "backward_action: names an action that backward_mask forbids"),
    ],
)
def test_broken_sources_are_found(kind, words, key):
    with pytest.raises(ConformanceError, match=words):
        check_environment(pytree_of(kind)(2, 3, max_steps=64), key, 16)


def pytree_of(kind):
    from gfnjax.pytree import pytree

    return pytree(kind)


@pytest.mark.slow
def test_trajectories_that_never_end_are_found(key):
    env = tabular_graph([[1], [2, 3], [1], []], [0.0] * 4, max_steps=1)
    with pytest.raises(ConformanceError, match="not one random trajectory had ended"):
        check_environment(env, key, 8)


@pytest.mark.parametrize(
    ("children", "message"),
    [
        ([[1], [], [3], [2]], "state 2 cannot be reached from s_0"),
        ([[1], [], [3], [2, 1]], "state 2 cannot be reached from s_0"),
        ([[1, 3], [2], [1], []], "state 1 reaches no terminal state"),
        ([[1], [2], [1]], "state 0 reaches no terminal state"),
    ],
)
def test_islands_and_traps_are_refused(children, message):
    with pytest.raises(ValueError, match=f"children: {message}"):
        tabular_graph(children, [0.0] * len(children))
