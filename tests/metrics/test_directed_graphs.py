import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gfnjax import masking
from gfnjax.envs.dags import DAGs
from gfnjax.metrics import directed_graphs as graphs
from gfnjax.rewards.dags import EdgePrior, posterior
from gfnjax.rewards.gaussian_networks import linear_gaussian

# 0 -> 1 -> 3, 2 -> 1: a collider at 1.
COLLIDER = jnp.zeros((4, 4), bool).at[0, 1].set(True).at[2, 1].set(True).at[1, 3].set(True)


def pairs(matrix):
    return {(int(u), int(v)) for u, v in np.argwhere(np.asarray(matrix))}


def test_paths_and_blankets_of_a_collider():
    assert pairs(graphs.paths(COLLIDER)) == {(0, 1), (2, 1), (1, 3), (0, 3), (2, 3)}
    blanket = {(0, 1), (0, 2), (1, 2), (1, 3)}
    assert pairs(graphs.markov_blankets(COLLIDER)) == blanket | {(v, u) for u, v in blanket}


def test_a_long_chain_is_a_path():
    chain = jnp.eye(9, k=1, dtype=bool)
    np.testing.assert_array_equal(graphs.paths(chain), np.triu(np.ones((9, 9), bool), 1))


def test_marginals_weigh_graphs():
    batch = jnp.stack([COLLIDER, jnp.zeros((4, 4), bool), COLLIDER.T])
    log_weights = jnp.log(jnp.array([1.0, 2.0, 5.0])).at[2].set(masking.FILL)
    edges = graphs.edge_marginals(batch, log_weights)
    np.testing.assert_allclose(edges, np.asarray(COLLIDER) / 3, rtol=1e-6)
    np.testing.assert_allclose(
        graphs.path_marginals(batch)[0], np.array([0, 1, 0, 1]) / 3, rtol=1e-6
    )
    blankets = graphs.markov_blanket_marginals(batch[:2])
    np.testing.assert_allclose(blankets[0], [0, 0.5, 0.5, 0], rtol=1e-6)


def test_shd_counts_missing_extra_and_reversed_edges_once():
    zeros = jnp.zeros((4, 4), bool)
    reverse = COLLIDER.at[1, 3].set(False).at[3, 1].set(True)
    extra = COLLIDER.at[0, 2].set(True)
    for graph, distance in ((COLLIDER, 0), (zeros, 3), (reverse, 1), (extra, 1), (COLLIDER.T, 3)):
        np.testing.assert_allclose(graphs.expected_shd(graph[None], COLLIDER), distance)
    batch = jnp.stack([COLLIDER, zeros])
    np.testing.assert_allclose(
        graphs.expected_shd(batch, COLLIDER, jnp.log(jnp.array([0.75, 0.25]))),
        0.75,
        rtol=1e-6,
    )


@given(st.integers(0, 1000))
def test_auroc_is_the_rank_statistic(seed):
    rng = np.random.default_rng(seed)
    truth = np.triu(rng.random((5, 5)) < 0.5, 1)
    truth[0, 1] = True
    marginals = np.round(rng.random((5, 5)), 1).astype(np.float32)
    off_diagonal = ~np.eye(5, dtype=bool)
    positive, negative = marginals[truth], marginals[off_diagonal & ~truth]
    expected = stats.mannwhitneyu(positive, negative).statistic / (positive.size * negative.size)
    value = graphs.auroc(jnp.asarray(marginals), jnp.asarray(truth))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_auroc_without_edges_is_nan():
    assert jnp.isnan(graphs.auroc(jnp.zeros((3, 3)), jnp.zeros((3, 3), bool)))


def test_exact_posterior_finds_the_graph_behind_the_data():
    # Edges strong enough to be seen: the known noise variance tells their directions apart.
    weights = np.where(np.asarray(COLLIDER), 0.8, 0.0)
    noise = np.sqrt(0.1) * np.random.default_rng(0).normal(size=(200, 4))
    data = noise @ np.linalg.inv(np.eye(4) - weights)
    env = DAGs(4, posterior(linear_gaussian(data), EdgePrior(0.2)))

    def look(index):
        state = env.state_at(index)
        return state.adjacency, env.log_reward(state)

    everything, log_rewards = jax.jit(jax.vmap(look))(jnp.arange(543, dtype=jnp.int32))
    edges = graphs.edge_marginals(everything, log_rewards)
    assert float(graphs.auroc(edges, COLLIDER)) == 1.0
    assert (np.asarray(edges)[np.asarray(COLLIDER)] > 0.9).all()
    assert float(graphs.expected_shd(everything, COLLIDER, log_rewards)) < 1.0
    assert float(graphs.expected_shd(everything, COLLIDER)) > 3.0
