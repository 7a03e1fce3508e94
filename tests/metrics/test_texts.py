"""Distributions over listed texts against all of them, and what is counted, by hand."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prompted import Prompted, text_rules

from gfnjax import Hypergrid, tabular_policy
from gfnjax.metrics import texts
from gfnjax.metrics.exact import policy_table, target_distribution, terminating_distribution
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.state import Params


@pytest.fixture
def all_texts(x64):
    """Rules, a random policy, its terminal states and what dynamic programming says of them."""
    env = text_rules(3, 2)
    model = Model(env, tabular_policy(env))
    zeros = model.init(jax.random.key(0), jax.random.key(1))
    logits = jax.random.normal(jax.random.key(2), (env.num_states, env.num_actions))
    table = zeros.policy["params"] | {"forward_logits": logits}
    params = Params({"params": table}, zeros.log_z)
    graph = build_graph(env)
    log_q = terminating_distribution(graph, policy_table(model, params).log_pf)
    index = np.flatnonzero(np.asarray(graph.terminal))
    assert index.size == 15
    states = jax.vmap(env.state_at)(jnp.asarray(index, jnp.int32))
    log_r = target_distribution(graph)[0]
    return model, params, states, np.asarray(log_q)[index], np.asarray(log_r)[index]


@pytest.mark.long
def test_probabilities_of_listed_texts_are_exact(all_texts):
    model, params, states, log_q, log_target = all_texts
    for batch_size in (4, 15, 64):
        found, log_reward = texts.log_probabilities(model, params, states, batch_size)
        np.testing.assert_allclose(found, log_q, rtol=1e-10)
    shift = np.asarray(log_reward) - log_target
    np.testing.assert_allclose(shift, shift[0], rtol=1e-10)
    whole = texts.listed_distribution(model, params, states)
    np.testing.assert_allclose(whole.mass, 1.0, rtol=1e-10)
    q, goal = np.exp(log_q), np.exp(log_target)
    np.testing.assert_allclose(whole.total_variation, np.abs(q - goal).sum() / 2, rtol=1e-9)
    np.testing.assert_allclose(whole.kl, (q * (log_q - log_target)).sum(), rtol=1e-9)
    np.testing.assert_allclose(whole.reverse_kl, (goal * (log_target - log_q)).sum(), rtol=1e-9)


def test_some_texts_and_a_target_of_ones_own(all_texts):
    model, params, states, log_q, _ = all_texts
    few = jax.tree.map(lambda x: x[:5], states)
    found = texts.listed_distribution(model, params, few, np.zeros(5))
    q = np.exp(log_q[:5])
    np.testing.assert_allclose(found.mass, q.sum(), rtol=1e-10)
    p = q / q.sum()
    np.testing.assert_allclose(found.kl, (p * np.log(5 * p)).sum(), rtol=1e-9)
    np.testing.assert_allclose(found.reverse_kl, -np.log(5 * p).mean(), rtol=1e-9)
    np.testing.assert_allclose(found.total_variation, np.abs(p - 0.2).sum() / 2, rtol=1e-9)
    with pytest.raises(ValueError, match="log_target"):
        texts.listed_distribution(model, params, few, np.zeros(4))


def test_objects_with_several_trajectories_are_refused(key):
    env = Hypergrid(2, 3)
    model = Model(env, tabular_policy(env))
    params = model.init(key, jax.random.key(1))
    states = jax.tree.map(lambda x: x[None], env.initial_state())
    with pytest.raises(ValueError, match="one trajectory to each object"):
        texts.log_probabilities(model, params, states)
    assert Prompted(text_rules()).num_backward_actions == 1


def test_the_spread_of_log_ratios_by_hand():
    # 1, 3 and 2: mean 2, deviations -1, 1 and 0.
    found = texts.log_ratio_spread(jnp.array([0.0, 1.0, -1.0]), jnp.array([-1.0, -2.0, -3.0]))
    np.testing.assert_allclose(found, [2 / 3, np.sqrt(2 / 3)], rtol=1e-6)
    with pytest.raises(ValueError, match="log_q"):
        texts.log_ratio_spread(jnp.zeros(3), jnp.zeros(2))


def test_ngrams_by_hand():
    # ab ba, ab bc, none: 3 different ones of 4; 1 of 3 shared, then nothing against something.
    found = texts.ngram_diversity(["aba", "abc", "a"], 2)
    np.testing.assert_allclose(found, [3 / 4, (2 / 3 + 1 + 1) / 3])
    np.testing.assert_allclose(texts.ngram_diversity([[1, 2], [1, 2]], 1), [0.5, 0.0])
    np.testing.assert_allclose(texts.ngram_diversity(["a", "b"], 2), [0.0, 0.0])
    np.testing.assert_allclose(texts.ngram_diversity([[1, 2]], 2), [1.0, 0.0])
    with pytest.raises(ValueError, match="n must be at least 1"):
        texts.ngram_diversity(["ab"], 0)


def test_distances_of_embeddings_by_hand():
    vectors = {"a": [1, 0], "b": [0, 2], "c": [-3, 0]}

    def embed(words):
        return [vectors[word] for word in words]

    # 90, 180 and 90 degrees.
    np.testing.assert_allclose(texts.embedding_diversity("abc", embed), (1 + 2 + 1) / 3)
    np.testing.assert_allclose(texts.embedding_diversity("aa", embed), 0, atol=1e-12)
    for words, encoder, message in [
        ("a", embed, "two at least"),
        ("ab", lambda words: [1, 2], r"\[n, d\], got shape \(2,\)"),
        ("ab", lambda words: [[1, 0], [0, 0]], "one that is zero"),
    ]:
        with pytest.raises(ValueError, match=message):
            texts.embedding_diversity(words, encoder)


def test_votes_by_hand():
    assert texts.vote([3, 5, 5, 3, 1]) == 3
    assert texts.vote([1, 5, 3, 3, 5, 5]) == 5
    assert texts.vote([None, None, 7]) == 7
    assert texts.vote([None]) is None
    answers = [[1, 2, 2], [4], [None], [0, 0]]
    assert texts.voting_accuracy(answers, [2, 4, 0, 1]) == 0.5
    for wrong in ([], [1]):
        with pytest.raises(ValueError, match="truths must be one for each of 4 questions"):
            texts.voting_accuracy(answers, wrong)


def test_the_best_of_n_is_the_mean_over_all_subsets():
    values = np.random.default_rng(0).normal(size=7)
    for n in (1, 2, 4, 7):
        expected = np.mean([max(subset) for subset in combinations(values, n)])
        np.testing.assert_allclose(texts.best_of(n, values), expected, rtol=1e-12)
    assert texts.best_of(1, [2.5]) == 2.5
    with pytest.raises(ValueError, match="at most the number of texts, 7, got 8"):
        texts.best_of(8, values)
