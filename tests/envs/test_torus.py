"""The torus: log Z, steps modulo 2 pi, and training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import DetailedBalance, GFlowNet, Hyperparameters, mlp_policy, train
from gfnjax.envs.torus import Torus, TorusState
from gfnjax.metrics import sampled
from gfnjax.rewards.box import TorusCosine
from gfnjax.testing import check_environment


def cosine(dim, center=1.0):
    return TorusCosine(np.full(dim, center, np.float32))


@pytest.mark.long
def test_conformance(key):
    check_environment(Torus(cosine(2), num_steps=3), key)


@pytest.mark.parametrize(("dim", "log_z"), [(2, 5.323741), (5, 13.309354)])
def test_log_z(dim, log_z):
    assert Torus(cosine(dim)).target().log_z == pytest.approx(log_z, abs=1e-6)


def test_log_z_of_a_function_by_quadrature():
    reward = cosine(2)
    assert Torus(lambda x: reward(x), 2).target().log_z == pytest.approx(5.323741, abs=1e-5)
    assert Torus(lambda x: reward(x), 3).target() is None


def test_steps_by_hand():
    env = Torus(cosine(2), num_steps=2)
    state = env.step(env.initial_state(), jnp.array([3.0, -3.0]))
    state = env.step(state, jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(state.angles, [4 - 2 * np.pi, 2 * np.pi - 4], rtol=1e-6)
    assert env.is_terminal(state)
    assert not env.forward_mask(state).possible
    np.testing.assert_array_equal(env.step(state, jnp.ones(2)).angles, state.angles)
    back = env.backward_step(state, jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(back.angles, [3.0, -3.0], rtol=1e-6)
    assert not env.backward_mask(back).free
    source = env.backward_step(back, back.angles)
    np.testing.assert_array_equal(source.angles, 0.0)
    assert source.t == 0
    np.testing.assert_allclose(env.at_point([4.0, 0.0]).angles, [4 - 2 * np.pi, 0.0], rtol=1e-6)


@pytest.mark.long
def test_training_finds_log_z(key):
    env = Torus(cosine(2), num_steps=3)
    rates = Hyperparameters(learning_rate=5e-3)
    policy = mlp_policy(env, (32,))
    gfn = GFlowNet(env, policy, DetailedBalance(), hyperparameters=rates, batch_size=64)
    state, _ = train(gfn, key, 300)
    keys = jax.random.split(jax.random.key(1), 2)
    found = sampled.elbo(gfn.model, state.params, keys[0], 4_000)
    assert 5.323741 - 0.15 < found < 5.323741 + 0.02
    angles = np.random.default_rng(0).vonmises(1.0, 2.0, (2_000, 2)).astype(np.float32)
    ends = TorusState(jnp.asarray(angles), jnp.full(2_000, 3, jnp.int32))
    above = sampled.eubo(gfn.model, state.params, keys[1], ends)
    assert 5.323741 - 0.02 < above < 5.323741 + 0.15


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="dim must be given: the reward does not say it"):
        Torus(lambda x: x.sum())
    with pytest.raises(ValueError, match="dim must be 2, that of the reward, got 3"):
        Torus(cosine(2), 3)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        Torus(cosine(2), num_steps=0)
    with pytest.raises(ValueError, match="kappa must be positive"):
        TorusCosine(np.zeros(2), kappa=-1.0)
    with pytest.raises(ValueError, match="reward must be a function of x"):
        Torus(3.0, 2)
    with pytest.raises(ValueError, match="x must have shape"):
        Torus(cosine(2)).at_point(jnp.zeros(3))
    with pytest.raises(TypeError, match="log_reward must return one"):
        Torus(lambda x: x[:1], 2).target()


def test_angles_may_be_integers():
    reward = TorusCosine(np.array([1.5]))
    np.testing.assert_allclose(reward(jnp.array([0])), 2 * np.cos(1.5), rtol=1e-6)
