"""FlowRL by hand, and that it vanishes where its docstring says, which is not R / Z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prompted import Prompted, text_rules
from scipy.optimize import brentq

from gfnjax import GFlowNet, masking, mlp_policy, tabular_policy
from gfnjax.objectives import FlowRL
from gfnjax.policies.base import FrozenPolicy


def known(two):
    return two._replace(
        log_z=jnp.array([0.5, 0.5]),
        log_prior=jnp.array([[-0.4, -0.5, 0.0], [-0.1, -0.2, -0.3]]),
        previous=two._replace(log_pf=two.log_pf - jnp.array([[0.01, 0.02, 0.0], [1.0, 0.0, 0.0]])),
        group_reward=jnp.array([1.0, -1.0]),
    )


def test_residuals_by_hand(two):
    # log Z + (log pi - log prior) / n - 2 r: .5 - .6 / 2 - 2 and .5 - .6 / 3 + 2.
    # pi / pi before is exp(.03), and exp(1) clipped to 1.25.
    objective = FlowRL(beta=2.0, clip=0.25)
    values, weights = jax.vmap(objective.residuals)(known(two))
    expected = np.array([[np.exp(0.015) * -1.8], [np.sqrt(1.25) * 2.3]])
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_array_equal(weights, [[1.0], [1.0]])
    start = jax.vmap(objective.first_log_z)(known(two))
    np.testing.assert_allclose(start, [0.3, 0.2], rtol=1e-6)

    def weight_alone(log_pf):
        moved = known(two)._replace(log_pf=log_pf)
        same = moved._replace(log_prior=log_pf)  # the residual does not depend on it
        return (jax.vmap(objective.residuals)(same).values ** 2).sum()

    # No gradient through the clipped ratio; that of log_prior is the policy's, with another sign.
    grad = jax.grad(weight_alone)(two.log_pf)
    np.testing.assert_allclose(grad, np.zeros((2, 3)), atol=1e-6)


@pytest.mark.slow
def test_it_vanishes_at_a_target_of_its_own(x64):
    env = text_rules(2, 2)
    policy, network = tabular_policy(env), mlp_policy(env, (8,))
    prior_params = network.init(jax.random.key(5), env.observe(env.initial_state()))
    prior = FrozenPolicy(network, prior_params)
    gfn = GFlowNet(env, policy, FlowRL(beta=0.5), prior=prior)
    params = gfn.model.init(jax.random.key(0), jax.random.key(1))
    paths = gfn.sample(params, jax.random.key(2), 200)
    first = np.unique(np.asarray(paths.states.tokens[:, -1]), axis=0, return_index=True)[1]
    assert first.size == 7
    paths = jax.tree.map(lambda x: x[jnp.asarray(first)], paths)
    log_prior = np.asarray(gfn.score(params, paths).log_prior).sum(axis=1)
    length, log_r = np.asarray(paths.length), np.asarray(paths.log_reward)
    gain = 0.5 * (log_r - log_r.mean()) / log_r.std()
    # Of all seven texts, with the log Z for which probabilities add up to 1.
    mass = lambda log_z: np.exp(log_prior + length * (gain - log_z)).sum() - 1  # noqa: E731
    log_z = brentq(mass, -5, 5)
    p = np.exp(log_prior + length * (gain - log_z))
    table = params.policy["params"]
    logits = np.full((env.num_states, env.num_actions), masking.FILL)
    index = np.asarray(jax.vmap(jax.vmap(env.state_index))(paths.states))
    weight = np.zeros(env.num_states)
    for row in range(7):
        weight[index[row, : length[row] + 1]] += p[row]
    for row in range(7):
        for t in range(length[row]):
            logits[index[row, t], paths.actions[row, t]] = np.log(weight[index[row, t + 1]])
    flow = table["log_flow"] + log_z - np.asarray(gfn.log_z(params))
    best = {"forward_logits": jnp.asarray(logits), "log_flow": flow}
    best = params._replace(policy={"params": table | best})
    loss, grads = jax.jit(jax.value_and_grad(gfn.loss))(best, paths)
    assert loss < 1e-20
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-9
    np.testing.assert_allclose(np.exp(gfn.score(best, paths).log_pf.sum(axis=1)), p, rtol=1e-9)
    assert gfn.loss(params, paths) > 1e-2
    posterior = np.exp(log_prior + log_r) / np.exp(log_prior + log_r).sum()
    assert np.abs(p - posterior).sum() > 0.05


def test_rewards_are_normalised_within_groups(x64):
    env = Prompted(text_rules(2, 2))
    policy = mlp_policy(env, (4,))
    prior = FrozenPolicy(policy, policy.init(jax.random.key(9), env.observe(env.initial_state())))
    gfn = GFlowNet(env, policy, FlowRL(), prior=prior)
    params = gfn.model.init(jax.random.key(0), jax.random.key(1))
    paths = gfn.sample(params, jax.random.key(2), 30)
    found = np.asarray(gfn.score(params, paths).group_reward)
    prompt, log_r = np.asarray(paths.states.prompt)[:, 0], np.asarray(paths.log_reward)
    assert set(prompt) == {0, 1, 2}
    for value in range(3):
        own = log_r[prompt == value]
        np.testing.assert_allclose(found[prompt == value], (own - own.mean()) / own.std())
    alike = paths._replace(log_reward=jnp.ones(30))
    np.testing.assert_array_equal(gfn.score(params, alike).group_reward, np.zeros(30))


def test_errors():
    for options, words in [
        ({"beta": 0.0}, "beta must be positive"),
        ({"clip": 1.0}, "clip must be"),
    ]:
        with pytest.raises(ValueError, match=words):
            FlowRL(**options)
    env = text_rules(2, 2)
    with pytest.raises(ValueError, match="FlowRL needs a prior"):
        GFlowNet(env, tabular_policy(env), FlowRL())
