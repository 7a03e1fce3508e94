import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    wide = np.random.default_rng(0).normal(size=(30, 9))
    assert isinstance(posterior(bge(wide)), ComputedReward)


@pytest.mark.parametrize("make", [tabulate, lambda reward: reward], ids=["table", "computed"])
def test_environment_with_a_posterior(make, key):
    reward = make(ComputedReward(bge(DATA[:, :3]), EdgePrior(0.2)))
    check_environment(DAGs(3, reward), key, num_trajectories=2)


def test_edge_prior_is_refused_out_of_range():
    with pytest.raises(ValueError, match="probability must be between 0 and 1"):
        EdgePrior(1.5)
