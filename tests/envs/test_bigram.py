"""The bigram model: its published numbers, by recursion and by enumeration, and the library's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs import bigram as bigrams
from gfnjax.envs.bigram import bigram, bigram_model, solve, tempered_model, text_log_probs
from gfnjax.envs.tempered import tempered
from gfnjax.errors import ArgumentError
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.modified_subtrajectory_balance import ModifiedSubTrajectoryBalance
from gfnjax.testing import check_environment, check_objective

# log Z at T = 1, .8, .5, and of the text between two letters.
LOG_Z = {
    (5, 6): (-1.007360, -2.393626, -5.361396, 0.621843),
    (20, 4): (-2.850082, -5.271970, -10.872567, -1.671003),
    (20, 6): (-2.457588, -5.215226, -10.872506, None),
}
# Of V = 5, L = 6: TV of the model, of the model at a temperature; E[n], entropy of R / Z.
KNOWN = {
    1.0: (0.546050, 0.546050, 3.164, 5.366),
    0.8: (0.637868, 0.680924, 2.304, 3.684),
    0.5: (0.799882, 0.888716, 1.356, 1.622),
}


@pytest.mark.parametrize("sizes", LOG_Z)
def test_published_log_z(sizes):
    *plain, infilled = LOG_Z[sizes]
    for temperature, log_z in zip((1.0, 0.8, 0.5), plain, strict=True):
        assert solve(*sizes, temperature).log_z == pytest.approx(log_z, abs=6e-7)
    if infilled is not None:
        assert solve(*sizes, infill=True).log_z == pytest.approx(infilled, abs=6e-7)


@pytest.mark.parametrize("temperature", KNOWN)
def test_published_distances_lengths_and_entropies(temperature):
    of_model, of_tempered, length, entropy = KNOWN[temperature]
    best = solve(5, 6, temperature).log_policy
    tv = bigrams.total_variation
    assert tv(best, tempered_model(5, 6)) == pytest.approx(of_model, abs=6e-7)
    assert tv(best, tempered_model(5, 6, temperature)) == pytest.approx(of_tempered, abs=6e-7)
    log_p = text_log_probs(best)
    assert sum(np.exp(p).sum() for p in log_p) == pytest.approx(1.0, abs=1e-12)
    found = sum(n * np.exp(p).sum() for n, p in enumerate(log_p, 1))
    assert found == pytest.approx(length, abs=6e-4)
    assert -sum((p * np.exp(p)).sum() for p in log_p) == pytest.approx(entropy, abs=6e-4)


def log_reward(word, size, infill):
    """By hand, of one text."""
    log_p = bigram_model(size)
    path = [0 if infill else size, *word, 3 if infill else size]
    return sum(log_p[a, b] for a, b in itertools.pairwise(path))


@pytest.mark.parametrize("infill", [False, True])
def test_the_best_policy_writes_the_target(infill):
    log_p = text_log_probs(solve(4, 3, 0.7, infill=infill).log_policy)
    log_z = solve(4, 3, 0.7, infill=infill).log_z
    for n, found in enumerate(log_p, 1):
        words = itertools.product(range(4), repeat=n)
        expected = [log_reward(word, 4, infill) / 0.7 - log_z for word in words]
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("infill", [False, True])
def test_conforms(key, infill):
    check_environment(bigram(4, 3, infill=infill), key)


@pytest.mark.parametrize("infill", [False, True])
def test_rewards_of_states(x64, infill):
    env = bigram(4, 4, infill=infill)
    state = env.initial_state()
    for n, letter in enumerate((2, 0, 3, 3), 1):
        state = env.step(state, jnp.int32(letter))
        expected = log_reward((2, 0, 3, 3)[:n], 4, infill)
        np.testing.assert_allclose(env.log_partial_reward(state), expected, rtol=1e-12)


def in_states(env, log_policy):
    """`[N, V + 1]` a table of letters before and lengths as one of states."""

    def row(index):
        state = env.state_at(index)
        size = (state.tokens >= 0).sum(dtype=jnp.int32)
        last = jnp.where(size > 0, state.tokens[jnp.maximum(size - 1, 0)], env.alphabet_size)
        return jnp.maximum(jnp.asarray(log_policy), -1e30)[size, last]

    return jax.lax.map(row, jnp.arange(env.num_states, dtype=jnp.int32), batch_size=4096)


def test_exact_metrics_of_the_library(x64):
    env = tempered(bigram(5, 6), 1 / 0.8)
    graph = build_graph(env)
    assert int(graph.terminal.sum()) == 19_530
    assert graph.num_states == 19_531 + 19_530
    solution = solve(5, 6, 0.8)
    best = exact.evaluate(graph, in_states(env, solution.log_policy), solution.log_z)
    np.testing.assert_allclose(best.log_z, LOG_Z[5, 6][1], atol=6e-7)
    assert float(best.log_z_error) < 1e-9
    assert float(best.total_variation) < 1e-9
    for policy, tv in zip((1.0, 0.8), KNOWN[0.8], strict=False):
        found = exact.evaluate(graph, in_states(env, tempered_model(5, 6, policy)))
        np.testing.assert_allclose(found.total_variation, tv, atol=6e-7)


@pytest.mark.slow
def test_modified_subtrajectory_balance_vanishes_at_the_best_policy(key):
    check_objective(ModifiedSubTrajectoryBalance(), key, tempered(bigram(4, 3), 1 / 0.8))


@pytest.mark.parametrize("make", [solve, tempered_model])
def test_temperatures_are_positive(make):
    with pytest.raises(ArgumentError, match=r"^temperature must be positive, got 0$"):
        make(temperature=0)


def test_letters_to_infill():
    with pytest.raises(ArgumentError, match=r"^num_letters must be at least 4 to infill, got 3$"):
        bigram(3, infill=True)
    with pytest.raises(ArgumentError, match=r"^num_letters must be at least 4 to infill, got 3$"):
        solve(3, infill=True)
    with pytest.raises(ArgumentError, match=r"^num_letters must be at least 1, got 0$"):
        bigram(0)
