"""Diffusion samplers of Gaussians: every quantity has a closed form."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_optimum import Marginal, gaussian_optimum

from gfnjax import DetailedBalance, GFlowNet, SubTrajectoryBalance, TrajectoryBalance
from gfnjax.distributions.gaussian import Step
from gfnjax.envs.diffusion import Diffusion
from gfnjax.metrics import sampled
from gfnjax.objectives import LogPartitionVariance, RelativeTrajectoryBalance
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.trajectory_balance import ContrastiveBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import FrozenPolicy, Policy
from gfnjax.policies.diffusion import diffusion_policy, see
from gfnjax.rewards.densities import ManyWell, gaussian, grid_mixture
from gfnjax.state import Params
from gfnjax.types import PolicyOutput

OBJECTIVES = {
    "tb": TrajectoryBalance(),
    "tb-flow": TrajectoryBalance(log_z="flow"),
    "vargrad": LogPartitionVariance(),
    "cb": ContrastiveBalance(),
    "db": DetailedBalance(),
    "subtb-.9": SubTrajectoryBalance(0.9),
    "subtb-2": SubTrajectoryBalance(2.0),
    "fl-tb": ForwardLooking(TrajectoryBalance(log_z="flow")),
    "fl-db": ForwardLooking(DetailedBalance()),
    "fl-subtb": ForwardLooking(SubTrajectoryBalance(0.9)),
}
# log R is the density plus this: log Z need not be 0.
LOG_Z = 1.5


def shifted(reward, log_z, x):
    return reward(x) + log_z


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_residual_is_zero_at_the_closed_form(name, key, x64):
    objective = OBJECTIVES[name]
    reward = jax.tree_util.Partial(shifted, gaussian(2, 1.0, 0.25), LOG_Z)
    env = Diffusion(reward, dim=2, num_steps=5, variance=1.0)
    policy = gaussian_optimum(env, 1.0, 0.25, LOG_Z, objective.looks_forward)
    gfn = GFlowNet(env, policy, objective, UniformBackward())
    params = gfn.model.init(*jax.random.split(key))._replace(log_z=jnp.asarray(LOG_Z))
    # From elsewhere: of the untrained policy, not of the optimum.
    wild = jax.tree.map(lambda x: x + 0.3, params.policy)
    paths = gfn.sample(params._replace(policy=wild), jax.random.key(1), 16)
    loss = jax.jit(jax.value_and_grad(partial(gfn.loss), allow_int=False))
    value, grads = loss(params, paths)
    assert abs(value) < 1e-20
    assert max(np.abs(g).max() for g in jax.tree.leaves(grads)) < 1e-9
    value, grads = loss(params._replace(policy=wild), paths)
    assert value > 1e-3
    assert max(np.abs(g).max() for g in jax.tree.leaves(grads)) > 1e-3


def test_the_closed_form_by_its_numbers():
    # x' = a x + b with variance r dt: the table of the specification.
    known = {0.1: (0.918919, 0.108108, 0.918919), 0.5: (0.88, 0.16, 0.88)}
    known |= {0.0: (0.0, 0.1, 0.925), 0.9: (0.769231, 0.307692, 0.769231)}
    marginal = Marginal(1.0, 0.25, 1.0)
    for t, (a, b, r) in known.items():
        at_0, variance = marginal.step(0.0, t, 0.1)
        at_1, _ = marginal.step(1.0, t, 0.1)
        np.testing.assert_allclose(at_0, b, atol=1e-5)
        np.testing.assert_allclose(variance / 0.1, r, atol=1e-5)
        if t > 0:
            np.testing.assert_allclose(at_1 - at_0, a, atol=1e-5)


def test_a_gaussian_as_wide_as_the_motion_takes_a_constant_drift(key, x64):
    # x + m dt with variance sigma^2 dt, at any T: what an untrained variance can do.
    env = Diffusion(gaussian(3, 0.7, 2.0), num_steps=4, variance=2.0)

    def apply(params, view):
        drift = jnp.full(3, 0.7) / (4 * view.scale)
        still = jnp.zeros(3)
        return PolicyOutput(Step(drift, still), Step(still, still), jnp.zeros(()))

    policy = Policy(lambda key, observation: {}, apply, see)
    gfn = GFlowNet(env, policy, TrajectoryBalance(), UniformBackward())
    params = Params({}, jnp.zeros(()))
    weights = sampled.log_weights(gfn.model, params, gfn.sample(params, key, 50))
    np.testing.assert_allclose(weights, 0.0, atol=1e-10)


# Per dimension, KL(P_B || P_F) and KL(P_F || P_B) of exact means and a fixed variance.
LEFTOVERS = {
    (5, 0.25): (0.098905, 0.126095),
    (5, 4.0): (0.126095, 0.098905),
    (5, 0.01): (1.196433, 8.604567),
    (10, 0.25): (0.052767, 0.059733),
    (10, 4.0): (0.059733, 0.052767),
    (10, 0.01): (0.910771, 3.989729),
    (100, 0.25): (0.005590, 0.005660),
    (100, 4.0): (0.005660, 0.005590),
    (100, 0.01): (0.207143, 0.282907),
}


@pytest.mark.parametrize(("num_steps", "variance"), LEFTOVERS)
def test_what_a_fixed_variance_leaves(num_steps, variance, x64):
    expected = LEFTOVERS[num_steps, variance]
    marginal, dt = Marginal(1.0, variance, 1.0), 1 / num_steps
    ratios = [float(marginal.step(0.0, i * dt, dt)[1]) / dt for i in range(num_steps)]
    found = [sum((r - 1 - np.log(r)) / 2 for r in ratios)]
    found.append(sum((1 / r - 1 + np.log(r)) / 2 for r in ratios))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    if num_steps == 100:
        return
    # The same from both bounds of the library, up to sampling error.
    env = Diffusion(gaussian(1, 1.0, variance), num_steps=num_steps)
    optimum = gaussian_optimum(env, 1.0, variance)

    def fixed(params, view):
        output = optimum.apply(params, view)
        step = output.forward_logits
        return output._replace(forward_logits=step._replace(log_variance=jnp.zeros(1)))

    gfn = GFlowNet(env, Policy(optimum.init, fixed, see), TrajectoryBalance(), UniformBackward())
    keys = jax.random.split(jax.random.key(0), 5)
    params = gfn.model.init(*keys[:2])
    target = env.reward.sample(keys[2], 20_000)
    above = sampled.log_weights(
        gfn.model, params, gfn.sample_backward(params, keys[3], jax.vmap(env.at_point)(target))
    )
    np.testing.assert_allclose(above.mean(), expected[0], atol=4 * above.std() / 20_000**0.5)
    below = sampled.log_weights(gfn.model, params, gfn.sample(params, keys[4], 20_000))
    np.testing.assert_allclose(-below.mean(), expected[1], atol=5 * below.std() / 20_000**0.5)


# The untrained sampler: Brownian motion, whose gaps are KLs of a Gaussian and the target.
UNTRAINED = {
    "gmm25": (grid_mixture(), 5.0, 6.1490, 8.6546),
    "many-well": (ManyWell(32), 1.0, 79.2896, 33.5873),
    "gaussian": (gaussian(1, 1.0, 0.25), 1.0, 2.806853, 0.818147),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNTRAINED)
def test_bounds_of_the_untrained_sampler(name, x64):
    reward, variance, elbo_gap, eubo_gap = UNTRAINED[name]
    env = Diffusion(reward, num_steps=4, variance=variance)
    gfn = GFlowNet(env, diffusion_policy(env), TrajectoryBalance(), UniformBackward())
    keys = jax.random.split(jax.random.key(1), 5)
    params = gfn.model.init(*keys[:2])
    num = 8_000
    below = sampled.log_weights(gfn.model, params, gfn.sample(params, keys[2], num))
    target = jax.vmap(env.at_point)(reward.sample(keys[3], num))
    above = sampled.log_weights(gfn.model, params, gfn.sample_backward(params, keys[4], target))
    for found, gap in ((reward.log_z - below, elbo_gap), (above - reward.log_z, eubo_gap)):
        np.testing.assert_allclose(found.mean(), gap, atol=4 * found.std() / num**0.5 + 1e-4)


def test_relative_balance_of_a_posterior(key, x64):
    # Prior N(0, 2), likelihood N(x; 1, 1/2): posterior N(.8, .4), evidence N(1; 0, 5/2).
    env = Diffusion(gaussian(1, 1.0, 0.5), num_steps=6, variance=2.0)
    still = diffusion_policy(env)
    prior = FrozenPolicy(
        still, still.init(jax.random.key(0), still.observe(env, env.initial_state()))
    )
    policy = gaussian_optimum(env, 0.8, 0.4)
    gfn = GFlowNet(env, policy, RelativeTrajectoryBalance(), UniformBackward(), prior=prior)
    log_z = -0.5 * np.log(2 * np.pi * 2.5) - 0.5 / 2.5
    params = gfn.model.init(*jax.random.split(key))._replace(log_z=jnp.asarray(log_z))
    paths = gfn.sample(params, jax.random.key(1), 50)
    assert gfn.loss(params, paths) < 1e-20
    assert gfn.loss(params._replace(log_z=params.log_z + 0.1), paths) > 9e-3
