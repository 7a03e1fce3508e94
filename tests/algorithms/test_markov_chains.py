"""Markov chains: R / Z is invariant and is reached, by chi-square; learning; errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gfnjax import Hypergrid, random_dag, tabular_policy
from gfnjax.algorithms import MarkovChains, mars, metropolis_hastings
from gfnjax.envs import additive_set
from gfnjax.envs.amp import VariableSequence
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.policies import LikelihoodBackward, causal_transformer_policy
from gfnjax.policies.base import Policy
from gfnjax.rewards.sets import set_truth
from gfnjax.rollout import terminal_states

init = jax.jit(MarkovChains.init)
sample = jax.jit(MarkovChains.sample, static_argnums=3)


# Upper one in a thousand of the chi-square distribution, by Wilson and Hilferty.


def critical(df):
    return df * (1 - 2 / (9 * df) + 3.09 * np.sqrt(2 / (9 * df))) ** 3


@jax.jit
def advance(chains, state, num_moves):
    """The state after some moves, and the last one's info."""
    shapes = jax.eval_shape(chains.step, state)[1]
    info = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.fori_loop(0, num_moves, lambda _, c: chains.step(c[0]), (state, info))


def slope(position, side):
    return position[0].astype(float) - 0.5 * position[1].astype(float)


def chi_square(env, graph, states):
    """The statistic, and its degrees of freedom, of objects drawn independently."""
    target = np.exp(np.asarray(exact.target_distribution(graph)[0], np.float64))
    index = np.asarray(jax.vmap(env.state_index)(states))
    objects = np.asarray(graph.terminal)
    counts = np.bincount(index, minlength=env.num_states)[objects]
    expected = index.size * target[objects]
    assert expected.min() > 5
    return ((counts - expected) ** 2 / expected).sum(), objects.sum() - 1


CASES = {
    "grid": (lambda: Hypergrid(2, 3, slope), 4),
    "dag": (lambda: random_dag(3, 9), 2),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_the_target_is_invariant_and_is_reached(name, key):
    make, num_back = CASES[name]
    env = make()
    graph = build_graph(env)
    chains = metropolis_hastings(env, 4_000, min(num_back, env.max_steps))
    state = init(chains, key)
    start = sampled.sample_target(env, graph, key, chains.num_chains)
    once, _ = advance(chains, state._replace(memory=start), 1)
    statistic, df = chi_square(env, graph, once.memory)
    assert statistic < critical(df)
    statistic, df = chi_square(env, graph, state.memory)
    assert statistic > 5 * critical(df)  # where the chains start, the test sees the difference
    statistic, df = chi_square(env, graph, advance(chains, state, 100)[0].memory)
    assert statistic < critical(df)


@pytest.mark.slow
def test_samples_are_trajectories_and_transitions_are_counted(key):
    env = Hypergrid(2, 3, slope)
    chains = metropolis_hastings(env, 4_000, 4)
    state, info = advance(chains, init(chains, key), 1)
    # One to four steps back and one or more forth, for each chain.
    assert 2 * 4_000 <= int(info.transitions) <= 4_000 * (4 + env.max_steps)
    assert 0 <= float(info.acceptance) <= 1
    log_rewards = jax.vmap(env.log_reward)(state.memory)
    np.testing.assert_allclose(info.log_reward, log_rewards.mean(), rtol=1e-5)
    trajectories = sample(chains, state, key, 4_100)
    assert trajectories.actions.shape == (4_100, env.max_steps)
    assert np.asarray(trajectories.states.position[:, 0] == 0).all()
    ends = terminal_states(trajectories)
    assert np.asarray(ends.stopped).all()
    np.testing.assert_allclose(trajectories.log_reward, jax.vmap(env.log_reward)(ends))
    moves = np.asarray(ends.position.sum(axis=1)) + 1
    np.testing.assert_array_equal(trajectories.length, moves)


PROPOSALS = {
    "trained-backward": lambda: Model(GRID, TABLE, LikelihoodBackward(TABLE)),
    "causal": lambda: Model(WORDS, causal_transformer_policy(WORDS, 8, 2, 1)),
    "causal-by-states": lambda: Model(WORDS, by_states(causal_transformer_policy(WORDS, 8, 2, 1))),
}
GRID = Hypergrid(2, 3, slope)
TABLE = tabular_policy(GRID)
WORDS = VariableSequence(4, 3, lambda tokens: (tokens == 2).sum().astype(float))


def by_states(causal):
    """The same function of a state, read state by state."""
    return Policy(
        lambda key, s: causal.init(key, causal.observe(WORDS, s)),
        lambda params, s: causal.evaluate(params, WORDS, s),
        lambda env, s: s,
    )


@pytest.mark.long
def test_any_model_may_propose_and_learn(key):
    found = {}
    for name, make in PROPOSALS.items():
        chains = MarkovChains(make(), 32, 3, learn=True)
        found[name] = jax.jit(chains.step)(init(chains, key))
        assert np.isfinite(found[name][1].loss)
        assert float(found[name][1].grad_norm) > 0
    for x, y in zip(*(found[name][1] for name in ("causal", "causal-by-states")), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.optimised
def test_a_learned_proposal_reaches_better_objects_and_keeps_the_target(key):
    env = additive_set(np.array([3.0, 0.0, -1.0, -2.0, 3.0]), 2)
    chains = mars(env, tabular_policy(env), 256, 2, learning_rate=optax.constant_schedule(0.05))
    state, info = advance(chains, init(chains, key), 60)
    # From the empty set all elements were as likely; the two costly ones seldom improve a set.
    empty = int(env.state_index(env.initial_state()))
    logits = np.asarray(state.params.policy["params"]["forward_logits"][empty], np.float64)
    first = np.exp(logits) / np.exp(logits).sum()
    assert first[[0, 4]].sum() < 0.2 < first[[2, 3]].sum()
    assert float(info.loss) > 0
    # With the proposal frozen the chains sample the target, whatever it has learned.
    frozen = dataclasses.replace(chains, learn=False)
    members = np.asarray(terminal_states(sample(frozen, state, key, 256 * 20)).members)
    truth = set_truth(np.array([3.0, 0.0, -1.0, -2.0, 3.0]), 2)
    np.testing.assert_allclose(members.mean(axis=0), truth.marginals, atol=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda env: metropolis_hastings(env, 0), "num_chains must be at least 1, got 0"),
        (lambda env: metropolis_hastings(env, 4, 0), "num_back must be between 1 and max_steps"),
        (lambda env: mars(env, tabular_policy(env), 4, 9), "max_steps = 5, got 9"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(Hypergrid(2, 3))
