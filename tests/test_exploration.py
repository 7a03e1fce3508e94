from collections import Counter

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gfnjax import (
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    TrajectoryBalance,
    rollout,
    tabular_policy,
)
from gfnjax.actions import Categorical, Mixture
from gfnjax.exploration import StopFlattening
from gfnjax.testing import diamond

LOGITS = npst.arrays(np.float32, 4, elements=st.floats(-20, 20, width=32))
MASKS = npst.arrays(bool, 4).filter(np.any)


@jax.jit
def behaviour(logits, mask, epsilon, temperature):
    """Probabilities of what acts."""
    actions = Categorical(logits.size)
    values = Hyperparameters(epsilon=jnp.asarray(epsilon), temperature=jnp.asarray(temperature))
    return normalised(actions, actions.explore(logits, mask, values), mask)


def normalised(actions, params, mask):
    weights = actions.weights(params, mask)
    return weights / jnp.maximum(weights.sum(), 1e-9)


@hypothesis.given(LOGITS, MASKS, st.floats(0, 1, width=32), st.floats(0.5, 8, width=32))
@hypothesis.example(np.float32([5, 0, 0, 1]), np.array([1, 1, 0, 1], bool), 0.0, 1.0)
@hypothesis.example(np.float32([5, 0, 0, 1]), np.array([1, 1, 0, 1], bool), 1.0, 1.0)
@hypothesis.example(np.float32([9, 9, 0, 1]), np.array([0, 1, 0, 0], bool), 0.5, 2.0)
def test_mixture_against_numpy(logits, mask, epsilon, temperature):
    weights = np.where(mask, np.exp(logits.astype(np.float64) / temperature), 0.0)
    expected = (1 - epsilon) * weights / weights.sum() + epsilon * mask / mask.sum()
    found = behaviour(logits, mask, epsilon, temperature)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_by_hand():
    # Temperature 2 turns odds 9 : 1 into 3 : 1; with epsilon = 1/2 that is (5/8, 3/8).
    logits = jnp.log(jnp.array([9.0, 1.0, 5.0]))
    mask = jnp.array([True, True, False])
    found = behaviour(logits, mask, 0.5, 2.0)
    np.testing.assert_allclose(found, [5 / 8, 3 / 8, 0], atol=1e-6)


def test_rows_without_valid_actions_and_nan_at_masked_places():
    for epsilon in (0.0, 0.3, 1.0):
        empty = behaviour(jnp.zeros(3), jnp.zeros(3, bool), epsilon, 1.0)
        assert not empty.any()
        logits, mask = jnp.array([0.0, jnp.nan, 0.0]), jnp.array([True, False, True])
        found = behaviour(logits, mask, epsilon, 1.0)
        np.testing.assert_allclose(found, [0.5, 0, 0.5], atol=1e-6)


def test_epsilon_one_samples_the_uniform_policy():
    # Uniform over actions, not over paths: 1/4, 1/4 and 1/2 in the diamond.
    env, num_samples = diamond(), 20_000
    skewed = jnp.array([[4.0, -4.0]] * 5)

    def decide(state):
        return rollout.Decision(Mixture(skewed[state.index], jnp.ones(())))

    sample = jax.jit(lambda key: rollout.sample_forward(env, decide, key, num_samples)[0])
    paths = Counter(map(tuple, np.asarray(sample(jax.random.key(0)).states.index).tolist()))
    for path, p in {(0, 1, 3): 0.25, (0, 1, 4): 0.25, (0, 2, 3): 0.5}.items():
        assert abs(paths.pop(path) / num_samples - p) < 4.5 * np.sqrt(p * (1 - p) / num_samples)
    assert not paths


def test_choices_are_made_per_step():
    # A greedy policy with epsilon 1/2 on a chain of coin flips: if epsilon were decided once a
    # trajectory, half of the trajectories would never deviate; per step it is (3/4)^6 = 0.178.
    acting = Mixture(jnp.array([50.0, 0.0]), jnp.asarray(0.5))
    coin = Categorical(2)
    noise = coin.noise(jax.random.key(0), (4000, 6))
    draw = jax.vmap(jax.vmap(lambda u: coin.sample(acting, jnp.ones(2, bool), u)))
    actions = draw(noise)
    share = float((actions == 0).all(axis=1).mean())
    assert abs(share - 0.75**6) < 4.5 * np.sqrt(0.178 * 0.822 / 4000)


def test_a_compiled_schedule_may_overshoot():
    # Division by a constant becomes a product with its rounded inverse.
    schedule = optax.linear_schedule(1.0, 0.0, 75)
    with jax.numpy_dtype_promotion("standard"):
        epsilon = jax.jit(schedule)(jnp.int32(75))
    logits, mask = jnp.log(jnp.array([1.0, 3.0])), jnp.ones(2, bool)
    for value in (epsilon, jnp.asarray(-1e-7), 1 - jnp.asarray(-1e-7)):
        found = behaviour(logits, mask, value, 1.0)
        expected = [0.25, 0.75] if value < 0.5 else [0.5, 0.5]
        np.testing.assert_allclose(found, expected, atol=1e-6)


# ---------------------------------------------------------------- flattening only the stop action

GRID = Hypergrid(2, 3)
STOP = GRID.stop_action


@jax.jit
def flattened(logits, mask, epsilon, temperature):
    values = Hyperparameters(epsilon=epsilon, temperature=temperature)
    return normalised(Categorical(3), StopFlattening()(GRID, logits, mask, values), mask)


def flat(weights, temperature, mask=(True, True, True), epsilon=0.0):
    """Probabilities of going on twice and of stopping, from weights of the policy."""
    arguments = jnp.asarray(mask), jnp.asarray(epsilon), jnp.asarray(temperature)
    logits = jnp.log(jnp.array(weights, jnp.float32)) + 5.0  # a constant must not matter
    return flattened(logits, *arguments)


def test_the_odds_of_stopping_are_flattened_and_nothing_else():
    # Stops with 9/10: odds 9, at temperature 2 odds 3. The rest stays 1 : 3 of what is left.
    np.testing.assert_allclose(flat([1, 3, 36], 2.0), [1 / 16, 3 / 16, 3 / 4], atol=1e-6)
    # Sharpened at 1/2: odds 81.
    np.testing.assert_allclose(flat([1, 3, 36], 0.5), [0.25 / 82, 0.75 / 82, 81 / 82], atol=1e-6)
    np.testing.assert_allclose(flat([1, 3, 36], 1.0), [1 / 40, 3 / 40, 36 / 40], atol=1e-6)
    # Odds of 1/4, at temperature 2 of 1/2, with one direction blocked.
    blocked = flat([9, 4, 1], 2.0, mask=(False, True, True))
    np.testing.assert_allclose(blocked, [0, 2 / 3, 1 / 3], atol=1e-6)


def test_stop_flattening_mixes_with_uniform_actions():
    mixed = flat([1, 3, 36], 2.0, epsilon=0.5)
    np.testing.assert_allclose(mixed, [19 / 96, 25 / 96, 52 / 96], atol=1e-6)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ((False, False, True), [0, 0, 1]),
        ((True, True, False), [1 / 4, 3 / 4, 0]),
        ((True, False, False), [1, 0, 0]),
    ],
)
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_nothing_to_flatten(mask, expected, temperature):
    np.testing.assert_allclose(flat([1, 3, 36], temperature, mask), expected, atol=1e-6)


def test_no_valid_action_and_nan_at_masked_places():
    arguments = jnp.asarray(0.3), jnp.asarray(2.0)
    assert not flattened(jnp.zeros(3), jnp.zeros(3, bool), *arguments).any()
    logits, mask = jnp.array([jnp.nan, 0.0, 0.0]), jnp.array([False, True, True])
    np.testing.assert_allclose(flattened(logits, mask, *arguments), [0, 0.5, 0.5], atol=1e-6)


@pytest.mark.slow
def test_a_run_explores_with_it(key):
    # A policy that stops at once with odds e^6, flattened to odds 1 at a high temperature: the
    # rest is shared by two directions. Exploration off, it stops.
    policy = tabular_policy(GRID)
    gfn = GFlowNet(GRID, policy, TrajectoryBalance(), exploration=StopFlattening())
    params = gfn.init(key).params
    table = params.policy["params"]
    table["forward_logits"] = table["forward_logits"].at[:, STOP].set(6.0)
    values = Hyperparameters(epsilon=jnp.zeros(()), temperature=jnp.asarray(1e4))

    @jax.jit
    def explore(values):
        return gfn.model.explore(params, key, 2000, gfn.behaviour(values))[0].length

    length = np.asarray(explore(values))
    assert abs((length == 1).mean() - 0.5) < 4.5 * np.sqrt(0.25 / 2000)
    plain = values._replace(temperature=jnp.ones(()))
    assert (np.asarray(explore(plain)) == 1).mean() > 0.98


def test_stop_flattening_needs_a_stop_action():
    env = diamond()
    with pytest.raises(TypeError, match=r"StopFlattening needs a Stoppable .* TabularDAG is not"):
        GFlowNet(env, tabular_policy(env), TrajectoryBalance(), exploration=StopFlattening())
