"""Rewards on the host: the numbers of the same reward on the device, one call a batch."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax.metrics import exact, state_graph
from gfnjax.rewards.host import HostReward, host
from gfnjax.rewards.hypergrid import Corners

CALLS = []


def corners(position, side):
    """`Corners` in NumPy, 0.1 + 0.5 in the corners + 2 in the rings."""
    assert isinstance(position, np.ndarray)
    assert isinstance(side, int)
    CALLS.append(position.shape)
    offset = np.abs(position / (side - 1) - 0.5)
    corner, ring = (offset > 0.25).all(1), ((offset > 0.3) & (offset < 0.4)).all(1)
    return np.log(0.1 + 0.5 * corner + 2 * ring)


@pytest.fixture
def env():
    CALLS.clear()
    return gfnjax.Hypergrid(2, 8, host(corners))


def test_nested_vmaps_make_one_call(env):
    states = jax.vmap(env.state_at)(jnp.arange(128, dtype=jnp.int32))
    nested = jax.tree.map(lambda x: x.reshape(4, 32, *x.shape[1:]), states)
    expected = jax.vmap(gfnjax.Hypergrid(2, 8, Corners()).log_reward)(states)
    compiled = jax.jit(lambda env, states: jax.vmap(jax.vmap(env.log_reward))(states))
    got = compiled(env, nested)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got.reshape(-1), expected, rtol=1e-6)
    assert CALLS == [(128, 2)]
    state = jax.tree.map(lambda x: x[5], states)
    np.testing.assert_allclose(env.log_reward(state), expected[5], rtol=1e-6)
    assert CALLS == [(128, 2), (1, 2)]


def test_conforms(env, key):
    gfnjax.testing.check_environment(env, key, num_trajectories=4)


@pytest.mark.long
def test_training_and_exact_metrics_see_the_reward_of_the_device(env, key):
    """Same keys, same losses and same log Z, whether NumPy or JAX computes the reward."""
    losses, log_z = [], []
    for one in (env, env.replace(reward=Corners())):
        policy = gfnjax.mlp_policy(one, hidden_sizes=(8,))
        gfn = gfnjax.GFlowNet(one, policy, gfnjax.TrajectoryBalance(), batch_size=4)
        states = jax.vmap(gfn.init)(jax.random.split(key, 2))
        _, info = jax.jit(jax.vmap(gfn.step))(states)
        losses.append(info.loss)
        log_z.append(exact.target_distribution(state_graph.build_graph(one))[1])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(log_z[0], log_z[1], rtol=1e-6)


def test_rewards_of_one_array_are_given_one_array():
    def ones(adjacency):
        return adjacency.sum((1, 2))  # whole numbers are numbers

    env = gfnjax.envs.DAGs(3, host(ones))
    graphs = jnp.ones((5, 3, 3), bool)
    got = jax.vmap(env.reward)(graphs)
    np.testing.assert_array_equal(got, np.full(5, 9.0, np.float32))
    # A batch for one of the arguments alone, and a gradient, which is zero.
    pair = host(lambda x, y: x + y)
    got = jax.vmap(pair, (0, None))(jnp.arange(3.0), jnp.float32(2))
    np.testing.assert_array_equal(got, [2, 3, 4])
    assert jax.jit(jax.grad(lambda x: x * pair(x, x)))(3.0) == 6


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: 1.0, r"must return log R of shape \(3,\), one for each .* got \(\)"),
        (lambda x: x[:, None], r"must return log R of shape \(3,\), .* got \(3, 1\)"),
        (lambda x: x > 0, "must return real numbers, got bool"),
        (lambda x: x + 1j, "must return real numbers, got complex64"),
        (lambda x: ["a"] * 3, "must return real numbers, got <U1"),
        (
            lambda x: np.where(x > 1, np.nan, x),
            "must return finite log R, got nan for 1 of 3 states, the first .* number 2",
        ),
        (lambda x: np.full(3, 1e300), "must return finite log R, got inf for 3 of 3 states"),
        (lambda x: {}["key"], "failed: KeyError: 'key'"),
    ],
)
def test_what_a_function_does_wrong_is_said_with_its_name(fn, message):
    fn.__qualname__ = "my_reward"
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"host: my_reward {message}"):
        jax.block_until_ready(jax.jit(jax.vmap(host(fn)))(jnp.arange(3.0)))


def test_equal_by_function_and_pickled():
    assert host(corners) == HostReward(corners) == pickle.loads(pickle.dumps(host(corners)))
    assert host(corners) != host(np.sum)
    assert not jax.tree.leaves(host(corners))
    half = host(functools.partial(corners, side=8))
    np.testing.assert_allclose(half(jnp.zeros(2, jnp.int32)), np.log(0.6), rtol=1e-6)
    with pytest.raises(TypeError, match="fn must be a function"):
        host(3.0)
    with pytest.raises(TypeError, match="fn must be hashable"):
        host(_Unhashable())


class _Unhashable:
    __hash__ = None

    def __call__(self, x):
        return x
