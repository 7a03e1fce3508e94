import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from gfnjax.envs.dags import DAGs
from gfnjax.rewards.dags import ComputedReward, EdgePrior, TabulatedReward, posterior, tabulate
from gfnjax.rewards.gaussian_networks import bge, linear_gaussian
from gfnjax.testing import check_environment

DATA = np.random.default_rng(1).normal(size=(20, 4)) @ np.random.default_rng(2).normal(size=(4, 4))


@jax.jit
def everything(reward, adjacency, edge):
    more = adjacency | (jnp.arange(16, dtype=jnp.int32) == edge).reshape(4, 4)
    difference = reward.score(more) - reward.score(adjacency)
    return reward(adjacency), reward.delta_score(adjacency, edge), difference


@given(st.integers(0, 2**6 - 1), st.sampled_from([bge, linear_gaussian]))
def test_a_change_of_one_edge_changes_one_local_score(bits, make):
    with jax.enable_x64(True):
        upper = np.array(list(np.binary_repr(bits, 6))) == "1"
        adjacency = np.zeros((4, 4), bool)
        adjacency[np.triu_indices(4, 1)] = upper
        adjacency[0, 3] = False
        reward = ComputedReward(make(DATA), EdgePrior(0.3))
        _, delta, difference = everything(reward, jnp.asarray(adjacency), jnp.int32(3))
        np.testing.assert_allclose(delta, difference, rtol=1e-8)


@pytest.mark.parametrize("make", [bge, linear_gaussian])
def test_score_is_the_sum_of_local_scores_and_the_reward_relative_to_the_empty_graph(make, x64):
    likelihood, prior = make(DATA), EdgePrior(0.2)
    adjacency = jnp.zeros((4, 4), bool).at[0, 1].set(True).at[2, 1].set(True).at[1, 3].set(True)
    reward = posterior(likelihood, prior)
    nobody = jnp.zeros(4, bool)
    families = [nobody, jnp.array([True, False, True, False]), nobody, jnp.arange(4) == 1]
    expected = sum(likelihood(j, parents) for j, parents in enumerate(families))
    expected += 3 * np.log(0.2 / 0.8)
    np.testing.assert_allclose(reward.score(adjacency), expected, rtol=1e-10)
    empty = sum(likelihood(j, nobody) for j in range(4))
    np.testing.assert_allclose(reward(adjacency), expected - empty, rtol=1e-10)
    np.testing.assert_allclose(
        reward.local_score(1, families[1]),
        likelihood(1, families[1]) + 2 * np.log(0.25),
        rtol=1e-10,
    )


@pytest.mark.parametrize("make", [bge, linear_gaussian])
def test_table_agrees_with_computation_and_rounds_once(make):
    table = tabulate(ComputedReward(make(DATA), EdgePrior(0.2)))
    assert table.gains.dtype == jnp.float32
    with jax.enable_x64(True):
        exact = ComputedReward(make(DATA), EdgePrior(0.2))
        for node, bits in itertools.product(range(4), range(16)):
            if not bits >> node & 1:
                parents = jnp.asarray([bits >> k & 1 == 1 for k in range(4)])
                expected = np.float32(exact.gain(node, parents))
                np.testing.assert_allclose(table.gains[node, bits], expected, rtol=1e-6)


def test_a_table_is_made_where_it_is_small():
    assert isinstance(posterior(bge(DATA)), TabulatedReward)
    wide = np.random.default_rng(0).normal(size=(30, 17))
    assert isinstance(posterior(bge(wide[:, :10])), TabulatedReward)
    assert isinstance(posterior(bge(wide)), ComputedReward)
    # A likelihood of one's own, without a table of gains, is tabulated up to 8 nodes.
    own = OwnLikelihood(np.zeros((9, 9)))
    assert isinstance(posterior(own), ComputedReward)
    small = posterior(OwnLikelihood(np.array([[0.0, 2.0], [3.0, 0.0]])))
    np.testing.assert_allclose(small.gains, [[0, 0, 2, 0], [0, 3, 0, 0]])


@struct.dataclass
class OwnLikelihood:
    """A sum over parents, as a user might write one."""

    weights: jax.Array

    @property
    def num_nodes(self):
        return self.weights.shape[0]

    def __call__(self, node, parents):
        return jnp.where(parents, jnp.asarray(self.weights)[node], 0.0).sum()


def local_bge(data, node, parents):
    """log p(x_node | parents) in extended precision, determinants by elimination."""
    data = data.astype(np.longdouble)
    n, d = data.shape
    mean = data.mean(0)
    scatter = (data - mean).T @ (data - mean) + n / (n + 1) * np.outer(mean, mean)
    posterior_matrix = scatter + 0.5 * np.eye(d)  # alpha_mu = 1, alpha_w = d + 2, t = 1/2

    def log_det(members):
        matrix, total = posterior_matrix[np.ix_(members, members)].copy(), np.longdouble(0)
        for k in range(len(matrix)):
            total += np.log(matrix[k, k])
            matrix[k + 1 :] -= np.outer(matrix[k + 1 :, k] / matrix[k, k], matrix[k])
        return total

    size = len(parents)
    return float(
        -n / 2 * np.log(np.pi)
        - np.log(n + 1) / 2
        + special.gammaln((n + 3 + size) / 2)
        - special.gammaln((3 + size) / 2)
        + (3 + 2 * size) / 2 * np.log(0.5)
        + (n + 2 + size) / 2 * log_det(parents)
        - (n + 3 + size) / 2 * log_det([*parents, node])
    )


def collinear(num_nodes, noise=1e-3):
    """100 rows in units from 1/1000 to a million; the last column is nearly a sum of others."""
    draw = np.random.default_rng(3)
    data = draw.normal(size=(100, num_nodes)) + draw.normal(size=num_nodes)
    data[:, -1] = data[:, :3].sum(1) + noise * data[:, -1]
    return data * 10.0 ** np.linspace(-3, 6, num_nodes)[::-1]


@pytest.mark.parametrize(
    "data",
    [
        np.random.default_rng(0).normal(size=(300, 10)),
        np.random.default_rng(0).normal(size=(300, 20)).cumsum(1),
        collinear(10),
        collinear(20, noise=0.0),
    ],
    ids=["10", "20", "collinear-10", "collinear-20"],
)
def test_bge_of_many_nodes_in_single_precision(data):
    """Scores within 1e-3 of extended precision, from a table and computed on the device."""
    d = data.shape[1]
    draw = np.random.default_rng(1)
    families = [(0, [*range(1, d)]), (d - 1, [*range(d - 1)]), (d - 1, [0, 1, 2]), (2, [0, d - 1])]
    families += [(j, [i for i in range(d) if i != j and draw.random() < 0.4]) for j in range(d)]
    expected = [local_bge(data, j, parents) - local_bge(data, j, []) for j, parents in families]
    masks = jnp.array([[i in parents for i in range(d)] for _, parents in families])
    nodes = jnp.array([j for j, _ in families], jnp.int32)
    reward = posterior(bge(data))
    gain = jax.jit(lambda reward: jax.vmap(reward.gain)(nodes, masks))
    for one in (reward, ComputedReward(bge(data))):
        got = gain(one)
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("make", [bge, linear_gaussian])
def test_computed_scores_are_those_of_the_table_under_scan_and_vmap(make):
    data = np.random.default_rng(0).normal(size=(30, 4))
    computed, table = ComputedReward(make(data)), posterior(make(data))
    graphs = np.random.default_rng(1).random((6, 4, 4)) < 0.5
    graphs = jnp.asarray(np.triu(graphs, 1)).reshape(2, 3, 4, 4)

    @jax.jit
    def scores(reward):
        return jax.lax.scan(lambda total, g: (total, jax.vmap(reward)(g)), 0.0, graphs)[1]

    np.testing.assert_allclose(scores(computed), scores(table), rtol=1e-5)
    assert scores(computed).dtype == jnp.float32


def test_data_that_double_precision_cannot_score_are_refused():
    data = collinear(10, noise=0.0)
    data[:, 0] = data[:, 1] * 1e3
    with pytest.raises(
        ValueError, match="data must be standardised, or lose a column: columns 0, 1"
    ):
        bge(data)
    bge(data, standardise=True)
    with pytest.raises(
        ValueError, match=r"data must be standardised: its squares are out of range"
    ):
        bge(data * 1e200)


@pytest.mark.slow
@pytest.mark.parametrize("make", [tabulate, lambda reward: reward], ids=["table", "computed"])
def test_environment_with_a_posterior(make, key):
    reward = make(ComputedReward(bge(DATA[:, :3]), EdgePrior(0.2)))
    check_environment(DAGs(3, reward), key, num_trajectories=2)


def test_edge_prior_is_refused_out_of_range():
    with pytest.raises(ValueError, match="probability must be between 0 and 1"):
        EdgePrior(1.5)
