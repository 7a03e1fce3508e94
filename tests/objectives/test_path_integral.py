"""The reverse KL through the sampling, against a rollout written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_optimum import gaussian_optimum
from jax.scipy.stats import norm
from scipy import stats

from gfnjax import GFlowNet, Hypergrid, Hyperparameters, TrajectoryBalance, tabular_policy, train
from gfnjax.distributions.gaussian import Step
from gfnjax.envs.diffusion import Diffusion
from gfnjax.objectives import PathIntegral
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import Policy
from gfnjax.policies.diffusion import diffusion_policy, see
from gfnjax.rewards.densities import gaussian
from gfnjax.types import PolicyOutput

T, SIGMA2, MEAN, VARIANCE = 3, 2.0, 1.0, 0.5
ENV = Diffusion(gaussian(1, MEAN, VARIANCE), num_steps=T, variance=SIGMA2)


def linear(params, view):
    shift = params["slope"] * view.x + params["bias"]
    log_variance = params["spread"] * jnp.ones(1)
    still = jnp.zeros(1)
    return PolicyOutput(Step(shift, log_variance), Step(still, still), jnp.zeros(()))


POLICY = Policy(
    lambda key, view: {"slope": jnp.zeros(()), "bias": jnp.zeros(()), "spread": jnp.zeros(())},
    linear,
    see,
)


def by_hand(params, noise):
    """log P_F - log P_B - log R of the path that `noise` `[T]` makes.

    Without the score: log P_F knows the parameters by way of the states.
    """
    seen = jax.lax.stop_gradient(params)
    step, x, total = np.sqrt(SIGMA2 / T), jnp.zeros(()), 0.0
    for t in range(T):
        mean = x + step * (params["slope"] * x + params["bias"])
        std = step * jnp.exp(params["spread"] / 2)
        after = mean + std * noise[t]
        mean = x + step * (seen["slope"] * x + seen["bias"])
        total += norm.logpdf(after, mean, step * jnp.exp(seen["spread"] / 2))
        if t > 0:
            kept = t / (t + 1)
            total -= norm.logpdf(x, kept * after, np.sqrt(kept) * step)
        x = after
    return total - norm.logpdf(x, MEAN, np.sqrt(VARIANCE))


@pytest.mark.slow
def test_gradient_of_a_rollout_by_hand(key, x64):
    gfn = GFlowNet(ENV, POLICY, PathIntegral(), UniformBackward())
    values = {"slope": jnp.asarray(0.2), "bias": jnp.asarray(-0.3), "spread": jnp.asarray(0.4)}
    params = gfn.model.init(*jax.random.split(key))._replace(policy=values)
    paths = gfn.sample(params, jax.random.key(1), 6)
    x = np.asarray(paths.states.x[:, :, 0])
    step = np.sqrt(SIGMA2 / T)
    noise = ((x[:, 1:] - x[:, :-1]) / step - (0.2 * x[:, :-1] - 0.3)) / np.exp(0.2)

    def mean(values):
        return jax.vmap(lambda u: by_hand(values, u))(jnp.asarray(noise)).mean()

    expected, slopes = jax.value_and_grad(mean)(values)
    found, grads = jax.value_and_grad(gfn.loss)(params, paths)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    for name in values:
        np.testing.assert_allclose(grads.policy[name], slopes[name], rtol=1e-8)
    # It is not the gradient of the same number along fixed paths.
    fixed = jax.grad(lambda p: gfn.model.score(p, paths).log_pf.sum(axis=1).mean())(params)
    assert abs(fixed.policy["slope"] - slopes["slope"]) > 1e-2


@pytest.mark.long
def test_one_step_has_the_gradient_of_the_divergence(key, x64):
    # T = 1: KL(N(b, s) || N(m, v)) in closed form; balance on policy has twice its gradient.
    env = Diffusion(gaussian(1, MEAN, VARIANCE), num_steps=1, variance=1.0)
    values = {"slope": jnp.asarray(0.0), "bias": jnp.asarray(0.4), "spread": jnp.asarray(-0.3)}

    def divergence(values):
        variance = jnp.exp(values["spread"])
        away = (values["bias"] - MEAN) ** 2
        return 0.5 * (jnp.log(VARIANCE) - values["spread"] + (variance + away) / VARIANCE - 1)

    slopes = jax.grad(divergence)(values)
    found = {}
    for name, objective in (("pis", PathIntegral()), ("tb", TrajectoryBalance())):
        gfn = GFlowNet(env, POLICY, objective, UniformBackward())
        params = gfn.model.init(*jax.random.split(key))._replace(policy=values)
        paths = gfn.sample(params, jax.random.key(1), 40_000)
        found[name] = jax.jit(jax.grad(gfn.loss))(params, paths).policy
    for name in ("bias", "spread"):
        np.testing.assert_allclose(found["pis"][name], slopes[name], atol=0.03)
        np.testing.assert_allclose(found["tb"][name], 2 * slopes[name], atol=0.1)


@pytest.mark.slow
def test_zero_gradient_at_the_closed_form(key, x64):
    env = Diffusion(gaussian(2, 1.0, 0.25), num_steps=4)
    policy = gaussian_optimum(env, 1.0, 0.25)
    gfn = GFlowNet(env, policy, PathIntegral(), UniformBackward())
    params = gfn.model.init(*jax.random.split(key))
    paths = gfn.sample(params, jax.random.key(1), 4)
    value, grads = jax.jit(jax.value_and_grad(gfn.loss))(params, paths)
    # On each path, not in the mean alone.
    assert abs(value) < 1e-10
    assert max(np.abs(g).max() for g in jax.tree.leaves(grads.policy)) < 1e-9
    off = params._replace(policy=jax.tree.map(lambda x: x + 0.3, params.policy))
    assert gfn.loss(off, gfn.sample(off, jax.random.key(2), 64)) > 1e-2


@pytest.mark.long
def test_the_gradient_goes_through_that_of_the_reward(key, x64):
    network = diffusion_policy(ENV, width=4, langevin=True)
    gfn = GFlowNet(ENV, network, PathIntegral(), UniformBackward())
    params = gfn.model.init(*jax.random.split(key))
    paths = gfn.sample(params, jax.random.key(1), 3)
    x, step = np.asarray(paths.states.x), np.sqrt(SIGMA2 / T)
    start = ENV.initial_state()

    def shift(policy, x, t):
        state = start._replace(x=jnp.asarray(x), t=jnp.asarray(t, jnp.int32))
        return np.asarray(network.evaluate(policy, ENV, state).forward_logits.shift)

    noise = [
        [(x[i, t + 1] - x[i, t]) / step - shift(params.policy, x[i, t], t) for t in range(T)]
        for i in range(3)
    ]

    def loss(policy):
        # log P_F of a path is that of its noise: the variance is fixed.
        total = 0.0
        for draws in noise:
            place = np.zeros(1)
            for t in range(T):
                after = place + step * (shift(policy, place, t) + draws[t])
                if t > 0:
                    kept = t / (t + 1)
                    total -= stats.norm.logpdf(place, kept * after, np.sqrt(kept) * step)[0] / 3
                place = after
            total -= stats.norm.logpdf(place, MEAN, np.sqrt(VARIANCE))[0] / 3
        return total

    score = jax.grad(lambda p: gfn.model.score(p, paths).log_pf.sum(axis=1).mean())(params)
    found = jax.grad(gfn.loss)(params, paths)
    for name in ("gradient_2", "heads"):
        values = params.policy["params"][name]["bias"]
        moved = [
            {
                "params": {
                    **params.policy["params"],
                    name: {**params.policy["params"][name], "bias": b},
                }
            }
            for b in (values.at[0].add(1e-5), values.at[0].add(-1e-5))
        ]
        whole = (loss(moved[0]) - loss(moved[1])) / 2e-5
        parts = [g.policy["params"][name]["bias"][0] for g in (found, score)]
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-5)


@pytest.mark.long
def test_it_learns_a_gaussian(key):
    env = Diffusion(gaussian(1, 1.0, 0.25), num_steps=4)
    policy = diffusion_policy(env, width=16, variance_range=2.0)
    gfn = GFlowNet(env, policy, PathIntegral(), UniformBackward(), batch_size=64)
    _, history = train(gfn, key, 300)
    assert history.info.loss[-20:].mean() < 0.08 < history.info.loss[:5].mean()


def test_what_it_cannot_be_used_with():
    grid = Hypergrid(2, 4)
    with pytest.raises(TypeError, match=r"differentiates through the sampling.*Categorical"):
        GFlowNet(grid, tabular_policy(grid), PathIntegral(), UniformBackward())
    noisy = Hyperparameters(exploration_std=0.1)
    policy = diffusion_policy(ENV)
    with pytest.raises(ValueError, match="exploration_std must be 0"):
        GFlowNet(ENV, policy, PathIntegral(), UniformBackward(), hyperparameters=noisy)
