from collections import Counter

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gfnjax import masking, sampling
from gfnjax.exploration import epsilon_tempered
from gfnjax.testing import diamond

LOGITS = npst.arrays(np.float32, 4, elements=st.floats(-20, 20, width=32))
MASKS = npst.arrays(bool, 4).filter(np.any)

behaviour_log_probs = jax.jit(epsilon_tempered)


@hypothesis.given(LOGITS, MASKS, st.floats(0, 1, width=32), st.floats(0.5, 8, width=32))
@hypothesis.example(np.float32([5, 0, 0, 1]), np.array([1, 1, 0, 1], bool), 0.0, 1.0)
@hypothesis.example(np.float32([5, 0, 0, 1]), np.array([1, 1, 0, 1], bool), 1.0, 1.0)
@hypothesis.example(np.float32([9, 9, 0, 1]), np.array([0, 1, 0, 0], bool), 0.5, 2.0)
def test_mixture_against_numpy(logits, mask, epsilon, temperature):
    weights = np.where(mask, np.exp(logits.astype(np.float64) / temperature), 0.0)
    expected = (1 - epsilon) * weights / weights.sum() + epsilon * mask / mask.sum()
    log_probs = behaviour_log_probs(logits, mask, epsilon, temperature)
    np.testing.assert_allclose(np.exp(log_probs), expected, atol=1e-5)
    assert not np.isnan(log_probs).any()


def test_by_hand():
    # Temperature 2 turns odds 9 : 1 into 3 : 1; with epsilon = 1/2 that is (5/8, 3/8).
    logits = jnp.log(jnp.array([9.0, 1.0, 5.0]))
    mask = jnp.array([True, True, False])
    log_probs = epsilon_tempered(logits, mask, jnp.asarray(0.5), jnp.asarray(2.0))
    np.testing.assert_allclose(np.exp(log_probs), [5 / 8, 3 / 8, 0], atol=1e-6)


def test_rows_without_valid_actions_and_nan_at_masked_places():
    for epsilon in (0.0, 0.3, 1.0):
        arguments = jnp.asarray(epsilon), jnp.asarray(1.0)
        empty = behaviour_log_probs(jnp.zeros(3), jnp.zeros(3, bool), *arguments)
        assert not np.isnan(empty).any()
        logits, mask = jnp.array([0.0, jnp.nan, 0.0]), jnp.array([True, False, True])
        log_probs = behaviour_log_probs(logits, mask, *arguments)
        np.testing.assert_allclose(np.exp(log_probs), [0.5, 0, 0.5], atol=1e-6)


def test_epsilon_one_samples_the_uniform_policy():
    # Uniform over actions, not over paths: 1/4, 1/4 and 1/2 in the diamond.
    env, num_samples = diamond(), 20_000
    skewed = jnp.array([[4.0, -4.0]] * 5)

    def behaviour(state):
        mask = env.forward_mask(state)
        return epsilon_tempered(skewed[state.index], mask, jnp.ones(()), jnp.ones(())), None

    sample = jax.jit(lambda key: sampling.sample_forward(env, behaviour, key, num_samples)[0])
    paths = Counter(map(tuple, np.asarray(sample(jax.random.key(0)).states.index).tolist()))
    for path, p in {(0, 1, 3): 0.25, (0, 1, 4): 0.25, (0, 2, 3): 0.5}.items():
        assert abs(paths.pop(path) / num_samples - p) < 4.5 * np.sqrt(p * (1 - p) / num_samples)
    assert not paths


def test_choices_are_made_per_step():
    # A greedy policy with epsilon 1/2 on a chain of coin flips: if epsilon were decided once a
    # trajectory, half of the trajectories would never deviate; per step it is (3/4)^6 = 0.178.
    log_probs = epsilon_tempered(
        jnp.array([50.0, 0.0]), jnp.ones(2, bool), jnp.asarray(0.5), jnp.asarray(1.0)
    )
    gumbel = jax.random.gumbel(jax.random.key(0), (4000, 6, 2))
    actions = masking.sample(
        jnp.broadcast_to(log_probs, gumbel.shape), jnp.ones_like(gumbel, bool), gumbel
    )
    share = float((actions == 0).all(axis=1).mean())
    assert abs(share - 0.75**6) < 4.5 * np.sqrt(0.178 * 0.822 / 4000)


def test_a_compiled_schedule_may_overshoot():
    # Division by a constant becomes a product with its rounded inverse.
    schedule = optax.linear_schedule(1.0, 0.0, 75)
    with jax.numpy_dtype_promotion("standard"):
        epsilon = jax.jit(schedule)(jnp.int32(75))
    logits, mask, one = jnp.log(jnp.array([1.0, 3.0])), jnp.ones(2, bool), jnp.asarray(1.0)
    for value in (epsilon, jnp.asarray(-1e-7), 1 - jnp.asarray(-1e-7)):
        log_probs = behaviour_log_probs(logits, mask, value, one)
        expected = [0.25, 0.75] if value < 0.5 else [0.5, 0.5]
        np.testing.assert_allclose(np.exp(log_probs), expected, atol=1e-6)
