import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance
from gfnjax.envs.diffusion import Diffusion
from gfnjax.envs.tempered import tempered
from gfnjax.policies.backward import LearnedBackward, UniformBackward
from gfnjax.policies.diffusion import diffusion_policy
from gfnjax.rewards.densities import gaussian

ENV = Diffusion(gaussian(2, 1.0, 0.25), num_steps=5, variance=2.0)
STATE = ENV.initial_state()._replace(x=jnp.array([0.5, -3.0]), t=jnp.asarray(2))


def test_untrained_it_proposes_what_the_environment_does(key):
    policy = diffusion_policy(ENV, width=8, variance_range=4.0)
    params = policy.init(key, policy.observe(ENV, ENV.initial_state()))
    output = policy.evaluate(params, ENV, STATE)
    for said in (*output.forward_logits, *output.backward_logits):
        np.testing.assert_array_equal(said, 0.0)


def test_the_gradient_of_the_reward_drives_it(key):
    policy = diffusion_policy(ENV, width=8, langevin=True)
    params = policy.init(key, policy.observe(ENV, ENV.initial_state()))
    shift = policy.evaluate(params, ENV, STATE).forward_logits.shift
    gradient = np.array([(1 - 0.5) / 0.25, 4 / 0.25])
    step_std = np.sqrt(2 / 5)
    np.testing.assert_allclose(shift, 0.01 * gradient / 5 / step_std, rtol=1e-4)
    # Steep rewards are clipped.
    steep = Diffusion(gaussian(2, 1.0, 1e-4), num_steps=5, variance=2.0)
    shift = policy.evaluate(params, steep, STATE).forward_logits.shift
    np.testing.assert_allclose(shift, 0.01 * np.array([100, 100]) / 5 / step_std, rtol=1e-4)


def test_a_reward_without_a_gradient_there_does_not_reach_it(key):
    for reward, gradient in (
        (jnp.linalg.norm, 0.0),  # NaN at the origin
        (lambda x: 0.0, 0.0),
        (lambda x: (x > 1).sum(), 0.0),
        (lambda x: 3 * x[0], np.array([3.0, 0.0])),
    ):
        env = Diffusion(reward, dim=2, num_steps=5)
        policy = diffusion_policy(env, width=8, langevin=True)
        start = env.initial_state()
        np.testing.assert_array_equal(policy.observe(env, start).gradient, gradient)


def test_a_tempered_reward_has_a_tempered_gradient(key):
    warm = tempered(ENV, 3.0)
    policy = diffusion_policy(warm, width=8, langevin=True)
    views = [policy.observe(env, STATE).gradient for env in (ENV, warm)]
    np.testing.assert_allclose(views[1], np.clip(3 * np.array([2.0, 16.0]), -100, 100), rtol=1e-5)
    assert not np.array_equal(*views)


@pytest.mark.slow
def test_a_learned_way_back_stays_near_the_bridge(key):
    policy = diffusion_policy(ENV, width=8)
    params = policy.init(key, policy.observe(ENV, ENV.initial_state()))
    wild = jax.tree.map(lambda x: x + 10.0, params)
    back = policy.evaluate(wild, ENV, STATE).backward_logits
    # Mean -x/t (1 + .1), variance 1.1 times as large.
    scale = np.sqrt(1 / 2 * 2 / 5)
    np.testing.assert_allclose(back.shift, -np.array([0.5, -3.0]) / 2 * 0.1 / scale, rtol=1e-3)
    np.testing.assert_allclose(back.log_variance, np.log(1.1), rtol=1e-3)
    learned = GFlowNet(ENV, policy, TrajectoryBalance(), LearnedBackward())
    fixed = GFlowNet(ENV, policy, TrajectoryBalance(), UniformBackward())
    held = learned.model.init(*jax.random.split(key))
    held = held._replace(policy=jax.tree.map(lambda x: x + 0.1, held.policy))
    paths = fixed.sample(held, jax.random.key(2), 4)
    grads = [jax.grad(gfn.loss)(held, paths).policy for gfn in (learned, fixed)]
    norms = [float(sum(jnp.abs(x).sum() for x in jax.tree.leaves(g))) for g in grads]
    assert norms[0] != norms[1]
    assert np.isfinite(norms).all()


def test_networks_for_others_are_refused():
    policy = diffusion_policy(ENV)
    longer = Diffusion(gaussian(2), num_steps=6)
    with pytest.raises(ValueError, match="num_steps = 5"):
        GFlowNet(longer, policy, TrajectoryBalance(), UniformBackward())
    with pytest.raises(ValueError, match=r"env must be a Diffusion.*mlp_policy"):
        diffusion_policy(Hypergrid(2, 4))
    with pytest.raises(ValueError, match="variance_range must not be negative"):
        diffusion_policy(ENV, variance_range=-1.0)
    assert diffusion_policy(ENV) is policy
