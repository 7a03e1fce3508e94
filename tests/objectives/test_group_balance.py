"""Trajectory balance with the log Z of a group is a policy gradient, batch by batch and exactly."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prompted import Prompted, text_rules

from gfnjax import GFlowNet, mlp_policy
from gfnjax.objectives import LogPartitionVariance, RelativeTrajectoryBalance
from gfnjax.objectives.base import resolve_log_z
from gfnjax.policies.base import FrozenPolicy
from gfnjax.samplers import Groups

ENV = Prompted(text_rules(2, 2))
POLICY = mlp_policy(ENV, (6,))
OBJECTIVES = {
    "vargrad-group": LogPartitionVariance("group"),
    "tba": RelativeTrajectoryBalance("group"),
}


def params_of(seed):
    params = POLICY.init(jax.random.key(seed), ENV.observe(ENV.initial_state()))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 50), len(leaves))
    noise = [0.5 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return structure.unflatten([x + n for x, n in zip(leaves, noise, strict=True)])


def describe(name, env=ENV):
    prior = FrozenPolicy(POLICY, params_of(9)) if name == "tba" else None
    sampler = Groups(5, tempered_share=0.0)
    return GFlowNet(env, POLICY, OBJECTIVES[name], sampler=sampler, prior=prior, batch_size=30)


init = jax.jit(GFlowNet.init)


@jax.jit
def draw(gfn, state):
    return gfn.draw(state)[0]


def earned(name, scores):
    """log R, and log prior where there is one: what is maximised beside the entropy, `[B]`."""
    reward = scores.log_reward
    return reward + scores.log_prior.sum(axis=1) if name == "tba" else reward


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_its_gradient_is_reinforce_with_the_mean_of_the_group(name, x64):
    gfn = describe(name)
    state = init(gfn, jax.random.key(3))
    params = state.params._replace(policy=params_of(1))
    paths = draw(gfn, state._replace(params=params)).trajectories
    prompt = np.asarray(paths.states.prompt)[:, 0]
    assert len(set(prompt.tolist())) == 3
    scores = gfn.score(params, paths)
    gain = np.asarray(earned(name, scores) - scores.log_pf.sum(axis=1))
    mean = np.array([gain[prompt == value].mean() for value in prompt])
    np.testing.assert_allclose(scores.log_z, mean, rtol=1e-10)

    def reinforce(policy):
        log_p = gfn.score(params._replace(policy=policy), paths).log_pf.sum(axis=1)
        return -((gain - mean) * log_p).mean()

    expected = flat(jax.jit(jax.grad(reinforce))(params.policy))
    found = flat(jax.jit(jax.grad(gfn.loss))(params, paths).policy)
    np.testing.assert_allclose(found, 2 * expected, atol=1e-12)
    assert np.abs(expected).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_in_expectation_it_is_that_of_the_divergence(name, x64):
    """Of K = 2 trajectories, over all pairs: 2 (1 - 1 / K) = 1 times grad KL(P || R / Z)."""
    env = replace(ENV, prompt=1)
    gfn = describe(name, env)
    params = init(gfn, jax.random.key(3)).params._replace(policy=params_of(1))
    paths = gfn.sample(params, jax.random.key(4), 200)
    first = np.unique(np.asarray(paths.states.inner.tokens[:, -1]), axis=0, return_index=True)[1]
    assert first.size == 7
    paths = jax.tree.map(lambda x: x[first], paths)

    def log_p_of(policy):
        scores = gfn.score(params._replace(policy=policy), paths)
        return scores.log_pf.sum(axis=1), scores

    def divergence(policy):
        log_p, scores = log_p_of(policy)
        return (jnp.exp(log_p) * (log_p - jax.lax.stop_gradient(earned(name, scores)))).sum()

    def mean_loss(policy):
        log_p, scores = log_p_of(policy)
        p = jax.lax.stop_gradient(jnp.exp(log_p))

        def loss(i, j):
            pair = jax.tree.map(lambda x: jnp.stack([x[i], x[j]]), scores)
            pair = resolve_log_z("group", pair._replace(group=jnp.zeros(2, jnp.int32)))
            values, _ = jax.vmap(gfn.objective.residuals)(pair)
            return p[i] * p[j] * (values**2).mean()

        i, j = jnp.meshgrid(jnp.arange(7), jnp.arange(7))
        return jax.vmap(loss)(i.ravel(), j.ravel()).sum()

    expected = flat(jax.jit(jax.grad(divergence))(params.policy))
    found = flat(jax.jit(jax.grad(mean_loss))(params.policy))
    np.testing.assert_allclose(np.exp(log_p_of(params.policy)[0]).sum(), 1, rtol=1e-10)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(expected).max() > 1e-2


def test_a_prior_takes_the_place_of_the_backward_policy(two):
    prior = jnp.array([[-0.4, -0.5, 0.0], [-0.1, -0.2, -0.3]])
    scores = two._replace(group=jnp.array([0, 1], jnp.int32))
    alone = resolve_log_z("group", scores).log_z
    # log R + log P_B - log P_F = .3 - .7 + 1.5 and -1 - .9 + 1.2, each alone in its group.
    np.testing.assert_allclose(alone, [1.1, -0.7], rtol=1e-5)
    relative = resolve_log_z("group", scores._replace(log_prior=prior)).log_z
    np.testing.assert_allclose(relative, [0.3 - 0.9 + 1.5, -1 - 0.6 + 1.2], rtol=1e-5)
