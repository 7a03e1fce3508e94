import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import masking
from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.ising import Ising
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.policies.base import Policy
from gfnjax.policies.causal import causal_transformer_policy
from gfnjax.policies.tabular import tabular_policy
from gfnjax.rewards.ising import IsingReward
from gfnjax.rollout import terminal_states
from gfnjax.samplers.back_and_forth import accept, back_and_forth
from gfnjax.testing import exact_optimum

move = jax.jit(back_and_forth, static_argnames=("num_back", "least_back"))


def slope(position, side):
    return position[0].astype(float) - 0.5 * position[1].astype(float)


def tabular(env):
    return Model(env, tabular_policy(env))


@pytest.mark.parametrize("num_back", [1, 4])
def test_a_perfect_sampler_accepts_always(num_back, key):
    env = Ising(2, IsingReward(0.5 * jax.random.normal(key, (4, 4))))
    model, optimum = tabular(env), exact_optimum(env, key)
    states = terminal_states(model.sample(optimum, key, 64))
    moved = move(model, optimum, key, states, num_back=num_back)
    np.testing.assert_allclose(moved.log_ratio, 0.0, atol=2e-5)
    assert (moved.proposals.spins != states.spins).any()
    # One spin is taken back and set again: no more can change.
    changes = (moved.proposals.spins != states.spins).sum(axis=1)
    assert int(changes.max()) <= num_back
    unit = jax.tree.map(jnp.zeros_like, optimum)
    assert float(jnp.abs(move(model, unit, key, states, num_back=num_back).log_ratio).max()) > 0.1


@pytest.mark.parametrize("num_back", [2, 5])
def test_ways_of_unequal_length_are_refused(num_back, key):
    env = Hypergrid(2, 3)
    model, optimum = tabular(env), exact_optimum(env, key)
    states = terminal_states(model.sample(optimum, key, 200))
    moved = move(model, optimum, key, states, num_back=num_back)
    total = states.position.sum(axis=1) + 1
    proposed = moved.proposals.position.sum(axis=1) + 1
    start = jnp.maximum(total - num_back, 0)
    returns = (proposed - start == num_back) | ((start == 0) & (proposed <= num_back))
    np.testing.assert_array_equal(moved.log_ratio > masking.FILL / 2, returns)
    np.testing.assert_allclose(jnp.where(returns, moved.log_ratio, 0.0), 0.0, atol=2e-5)
    assert bool(returns.all()) == (num_back == 5)
    stay = ~moved.accepted
    np.testing.assert_array_equal(moved.states.position[stay], states.position[stay])
    np.testing.assert_array_equal(
        moved.states.position[moved.accepted], moved.proposals.position[moved.accepted]
    )


@pytest.mark.parametrize("num_back", [2, 5])
def test_the_target_is_invariant_under_any_policy(num_back, key):
    env = Hypergrid(2, 3, reward=slope)
    model = tabular(env)
    log_target, _ = exact.target_distribution(build_graph(env))
    draws = jax.random.categorical(key, log_target, shape=(20_000,)).astype(jnp.int32)
    params = jax.tree.map(jnp.zeros_like, exact_optimum(env, key))
    moved = move(model, params, key, jax.vmap(env.state_at)(draws), num_back=num_back)

    def distance(states):
        index = np.asarray(jax.vmap(env.state_index)(states))
        frequencies = np.bincount(index, minlength=env.num_states) / index.size
        return np.abs(frequencies - np.exp(np.asarray(log_target))).sum() / 2

    # Sampling noise alone gives .007; proposals taken as they are, far more.
    assert distance(moved.states) < 0.02
    assert distance(moved.proposals) > 0.05
    assert 0.1 < float(moved.accepted.mean()) < 0.9


def test_a_drawn_number_of_steps_back_accepts_other_lengths(key):
    env = Hypergrid(2, 3)
    model, optimum = tabular(env), exact_optimum(env, key)
    states = terminal_states(model.sample(optimum, key, 400))
    moved = move(model, optimum, key, states, num_back=3, least_back=1)
    forth = np.asarray(moved.rebuilt.length)
    undone = np.asarray(moved.num_undone)
    assert set(undone) <= {1, 2, 3}
    source = np.asarray(moved.rebuilt.states.position[:, 0]).sum(axis=1) == 0
    source &= ~np.asarray(moved.rebuilt.states.stopped[:, 0])
    # K leads to s_0 if it is at least the length of the way: 3 + 1 - length numbers out of 3 do.
    ways = {n: 4 - n for n in (1, 2, 3)}
    for i in range(400):
        if forth[i] > 3:
            expected = masking.FILL
        elif source[i]:
            expected = np.log(ways[int(forth[i])] / ways[int(undone[i])])
        else:
            expected = 0.0
        np.testing.assert_allclose(moved.log_ratio[i], expected, atol=3e-5, rtol=1e-6)
    assert ((forth != undone) & np.asarray(moved.accepted)).any()
    ends = jax.tree.map(lambda x: x[:, -1], moved.rebuilt.states)
    np.testing.assert_array_equal(ends.position, moved.proposals.position)


def test_no_draw_accepts_what_must_be_refused():
    lowest, highest = np.float32(0), np.nextafter(np.float32(1), np.float32(0))
    impossible = jnp.array([masking.FILL, -np.inf, np.nan], jnp.float32)
    for draw in (lowest, highest):
        assert not accept(impossible, jnp.full(3, draw)).any()
        assert accept(jnp.array([0.0, 3.0, np.inf], jnp.float32), jnp.full(3, draw)).all()
    possible = jnp.array([-1.0, -5.0], jnp.float32)
    assert accept(possible, jnp.full(2, lowest)).all()
    assert not accept(possible, jnp.full(2, highest)).any()


def test_a_move_without_a_way_back_is_refused_whatever_is_drawn(key, monkeypatch):
    env = Hypergrid(2, 3)
    model = tabular(env)
    params = model.init(key, key)
    states = terminal_states(model.sample(params, key, 64))
    uniform = jax.random.uniform

    def zeros(key, shape, dtype=None):
        """Of whether to accept; actions are drawn as always."""
        return uniform(key, shape) if dtype is None else jnp.zeros(shape, dtype)

    monkeypatch.setattr(jax.random, "uniform", zeros)
    moved = jax.jit(lambda states: back_and_forth(model, params, key, states, 2))(states)
    possible = np.asarray(moved.log_ratio) > masking.FILL / 2
    assert 0 < possible.sum() < 64
    np.testing.assert_array_equal(moved.accepted, possible)


@pytest.mark.slow
@pytest.mark.parametrize("num_back", [1, 3])
def test_a_causal_policy_moves_like_the_same_function_of_states(num_back, key):
    env = VariableSequence(4, 3, lambda tokens: (tokens == 2).sum().astype(float))
    causal = causal_transformer_policy(env, width=8, num_heads=2, num_layers=1)
    model = Model(env, causal)
    plain = Policy(causal.init, lambda p, s: causal.evaluate(p, env, s), lambda env, s: s)
    params = model.init(key, key)
    states = terminal_states(model.sample(params, key, 64))
    ours = move(model, params, key, states, num_back=num_back, least_back=1)
    theirs = move(Model(env, plain), params, key, states, num_back=num_back, least_back=1)
    assert 0.1 < float(ours.accepted.mean()) < 1
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4)


def test_errors(key):
    env = Hypergrid(2, 3)
    with pytest.raises(ValueError, match="num_back must be between 1 and max_steps = 5, got 6"):
        back_and_forth(tabular(env), None, key, env.initial_state(), 6)
    with pytest.raises(ValueError, match="least_back must be between 1 and num_back = 2, got 3"):
        back_and_forth(tabular(env), None, key, env.initial_state(), 2, least_back=3)
