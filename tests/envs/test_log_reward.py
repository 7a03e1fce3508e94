"""Rewards as environments return them, floats or counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, mlp_policy
from gfnjax.envs.base import log_partial_reward_of, log_reward_of
from gfnjax.metrics import exact, state_graph


class Rewarded:
    def __init__(self, value):
        self.value = value

    def log_reward(self, state):
        return self.value

    log_partial_reward = log_reward


@pytest.mark.parametrize(
    "value", [2, 2.0, True, np.float64(2), np.int8(2), jnp.int32(2), jnp.bfloat16(2), np.array(2)]
)
def test_any_number_is_a_float(value):
    for read in (log_reward_of, log_partial_reward_of):
        found = read(Rewarded(value), None)
        assert found.dtype == jnp.float32
        assert found.shape == ()
        assert float(found) == float(value)


@pytest.mark.parametrize("value", [np.zeros(1), jnp.zeros((2, 3)), 1j])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(TypeError, match="log_reward must return one real number for one state"):
        log_reward_of(Rewarded(value), None)
    with pytest.raises(TypeError, match="log_partial_reward must return one real number"):
        log_partial_reward_of(Rewarded(value), None)


def counted(position, side):
    """A count, as a user writes it first."""
    return position.sum()


@pytest.mark.slow
def test_a_reward_that_counts_trains_like_the_same_one_in_floats(key):
    # log R = x + y on the 4 x 4 grid: log Z = 2 log(1 + e + e^2 + e^3).
    found = {}
    for name, reward in {
        "count": counted,
        "float": lambda x, side: counted(x, side).astype(jnp.float32),
    }.items():
        env = Hypergrid(2, 4, reward)
        gfn = GFlowNet(env, mlp_policy(env, (8,)), TrajectoryBalance())
        found[name], history = gfnjax.train(gfn, key, 300)
    states = state_graph.build_graph(env)
    truth = 2 * np.log(np.exp(np.arange(4)).sum())
    np.testing.assert_allclose(exact.target_distribution(states)[1], truth, rtol=1e-5)
    np.testing.assert_allclose(found["count"].params.log_z, truth, atol=0.3)
    for x, y in zip(*(jax.tree.leaves(f.params) for f in found.values()), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    assert history.info.log_reward.dtype == np.float32
