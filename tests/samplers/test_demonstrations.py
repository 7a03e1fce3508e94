"""Trajectories from actions, and a sampler that draws from a fixed set of them."""

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from prompted import Prompted, text_rules

from gfnjax import (
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    TrajectoryBalance,
    mlp_policy,
    tabular_policy,
)
from gfnjax.algorithms import RewardPPO
from gfnjax.envs.tempered import tempered
from gfnjax.objectives import MaximumLikelihood
from gfnjax.rollout import tile
from gfnjax.samplers import Demonstrations, trajectories_from_actions

RULES = text_rules(3, 2)
ENV = Prompted(RULES)
STOP = 2
TEXTS = [[0, 1, STOP], [STOP], [1, 1, 0, STOP]]


def sources(prompts):
    state = tile(ENV.initial_state(), len(prompts))
    return state._replace(prompt=jnp.asarray(prompts, jnp.int32))


def test_states_follow_from_actions():
    found = trajectories_from_actions(ENV, TEXTS, sources([2, 0, 1]))
    assert found.length.tolist() == [3, 1, 4]
    assert found.actions.tolist() == [[0, 1, 2, 0], [2, 0, 0, 0], [1, 1, 0, 2]]
    for row, (text, prompt) in enumerate(zip(TEXTS, [2, 0, 1], strict=True)):
        state = ENV.initial_state()._replace(prompt=jnp.int32(prompt))
        for t in range(ENV.max_steps + 1):
            one = jax.tree.map(lambda x: x[row, t], found.states)  # noqa: B023
            jax.tree.map(np.testing.assert_array_equal, one, state)
            if t < len(text):
                state = ENV.step(state, jnp.int32(text[t]))
        np.testing.assert_allclose(found.log_reward[row], ENV.log_reward(state), rtol=1e-6)
    same = trajectories_from_actions(RULES, TEXTS)
    np.testing.assert_array_equal(same.states.tokens, found.states.inner.tokens)
    grid = trajectories_from_actions(Hypergrid(2, 3), np.array([[0, 1, 2]]))
    assert grid.length.tolist() == [3]


@pytest.mark.parametrize(
    ("texts", "given", "words"),
    [
        ([[0, STOP, 0]], None, "number 2 of row 0 is 0"),
        ([[STOP], [0, 5, STOP]], None, "number 1 of row 1 is 5"),
        ([[STOP], [0, 0, 0, 0]], None, "number 3 of row 1 is 0"),
        ([[STOP], [0, 1]], None, "must lead to an end, those of row 1 do not: add the one"),
        ([[STOP], []], None, r"must be 1 to 4 whole numbers each, row 1 is \[\]"),
        ([[0.5]], None, r"row 0 is \[0.5\]"),
        ([], None, "at least one trajectory, got none"),
        ([[STOP]], [0, 1], "sources must be one for each of 1 trajectories, got 2"),
    ],
)
def test_what_cannot_be_is_refused(texts, given, words):
    env, where = (RULES, None) if given is None else (ENV, sources(given))
    with pytest.raises(ValueError, match=words):
        trajectories_from_actions(env, texts, where)


def test_prompts_must_be_said():
    with pytest.raises(ValueError, match="sources must be given"):
        trajectories_from_actions(ENV, TEXTS)
    env = replace(ENV, prompt=1)
    with pytest.raises(ValueError, match="sources must be given"):
        trajectories_from_actions(env, TEXTS)


@pytest.mark.slow
def test_batches_are_drawn_uniformly_from_the_set(key):
    paths = trajectories_from_actions(ENV, TEXTS, sources([2, 0, 1]))
    sampler = Demonstrations.of(ENV, paths)
    policy = mlp_policy(ENV, (8,))
    rate = Hyperparameters(learning_rate=0.03)
    options = {"sampler": sampler, "batch_size": 900, "hyperparameters": rate}
    gfn = GFlowNet(ENV, policy, MaximumLikelihood(), **options)
    state = jax.jit(gfn.init)(key)
    batch = jax.jit(gfn.draw)(state)[0].trajectories
    prompts = np.asarray(batch.states.prompt[:, 0])
    counts = np.bincount(prompts, minlength=3)
    assert np.abs(counts - 300).max() < 5 * np.sqrt(900 * 2 / 9)
    for row in range(3):
        here = prompts == [2, 0, 1][row]
        assert (np.asarray(batch.actions)[here] == np.asarray(paths.actions)[row]).all()
        np.testing.assert_allclose(batch.log_reward[here], paths.log_reward[row], rtol=1e-6)
    # Learning makes the texts likely, one to each prompt.
    step = jax.jit(gfn.step)
    first = None
    for _ in range(30):
        state, info = step(state)
        first = info.loss if first is None else first
    assert info.loss < 0.3 * first


@pytest.mark.slow
def test_rewards_follow_the_exponent_in_force(key):
    env = tempered(RULES, optax.linear_schedule(2.0, 6.0, 2))
    paths = trajectories_from_actions(env, TEXTS)
    sampler = Demonstrations.of(env, paths)
    gfn = GFlowNet(env, mlp_policy(env, (8,)), TrajectoryBalance(), sampler=sampler)
    state = gfn.init(key)
    for beta in (2.0, 4.0, 6.0):
        batch = gfn.draw(state)[0].trajectories
        ends = jax.tree.map(lambda x: x[:, -1], batch.states)
        expected = beta * jax.vmap(RULES.log_reward)(ends)
        np.testing.assert_allclose(batch.log_reward, expected, rtol=1e-5)
        state = state._replace(step=state.step + 1)


def test_it_is_a_value():
    paths = trajectories_from_actions(RULES, TEXTS)
    one, same = Demonstrations.of(RULES, paths), Demonstrations.of(RULES, paths)
    other = Demonstrations.of(RULES, trajectories_from_actions(RULES, [*TEXTS[:2], [1, STOP]]))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(ValueError, match="read-only"):
        one.data.tree.actions[0, 0] = 1


def test_what_does_not_go_together():
    sampler = Demonstrations.of(RULES, trajectories_from_actions(RULES, TEXTS))
    longer = text_rules(4, 2)
    with pytest.raises(ValueError, match="sampler must be"):
        GFlowNet(longer, tabular_policy(longer), MaximumLikelihood(), sampler=sampler)
    with pytest.raises(ValueError, match="RewardPPO learns from the policy's own trajectories"):
        GFlowNet(RULES, tabular_policy(RULES), RewardPPO(), sampler=sampler)
    with pytest.raises(ValueError, match="data must be made by"):
        GFlowNet(RULES, tabular_policy(RULES), MaximumLikelihood(), sampler=Demonstrations(3))
