"""TB's on-policy expected gradient is twice that of KL(P_F || R P_B / Z), by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_trajectories, padded_dag

from gfnjax import GFlowNet, Params, TrajectoryBalance, tabular_policy
from gfnjax.testing import diamond


def tables(env, key):
    forward, backward = jax.random.split(key)
    return {
        "forward_logits": jax.random.normal(forward, env.children.shape, jnp.float64),
        "backward_logits": jax.random.normal(backward, env.parents.shape, jnp.float64),
        "log_flow": jnp.zeros(env.num_states),
    }


def log_probs(gfn, table, paths):
    """log P_F and log (R P_B) of all trajectories."""
    scores = gfn.score(Params({"params": table}, jnp.zeros(())), paths)
    return scores.log_pf.sum(axis=1), scores.log_pb.sum(axis=1) + scores.log_reward


@pytest.mark.parametrize("seed", range(3))
def test_expected_gradient_of_trajectory_balance(seed, x64):
    env = padded_dag(seed)
    gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
    paths = all_trajectories(env, 40)
    # Repeated paths count once.
    first = jnp.arange(40) < len(all_trajectories(env).length)
    table = tables(env, jax.random.key(seed))

    def kl(forward_logits):
        log_p, log_q = log_probs(gfn, {**table, "forward_logits": forward_logits}, paths)
        log_z = jax.nn.logsumexp(jnp.where(first, log_q, -jnp.inf))
        return jnp.where(first, jnp.exp(log_p) * (log_p - (log_q - log_z)), 0.0).sum()

    def expected_loss(forward_logits, log_z, probability):
        # gfn.loss of each trajectory on its own, weighted by its constant probability.
        params = Params({"params": {**table, "forward_logits": forward_logits}}, log_z)
        each = jax.tree.map(lambda x: x[:, None], paths)
        return (probability * jax.vmap(gfn.loss, (None, 0))(params, each)).sum()

    @jax.jit
    def compare(forward_logits, log_z):
        log_p, log_q = log_probs(gfn, table, paths)
        p = jnp.where(first, jnp.exp(log_p), 0.0)
        grads = jax.grad(expected_loss, (0, 1))(forward_logits, log_z, p)
        residual = (p * (log_z + log_p - log_q)).sum()
        return p.sum(), *grads, jax.grad(kl)(forward_logits), residual

    # An estimate of log Z that is off adds E[grad log P_F] = 0.
    mass, actual, log_z_grad, expected, residual = compare(
        table["forward_logits"], jnp.array(0.7, jnp.float64)
    )
    np.testing.assert_allclose(mass, 1, rtol=1e-12)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(actual, 2 * expected, atol=1e-12)
    np.testing.assert_allclose(log_z_grad, 2 * residual, rtol=1e-10)


def test_a_batch_in_the_policys_own_proportions(x64):
    # Uniform on the diamond: 0-1-3 and 0-1-4 with 1/4 each, 0-2-3 with 1/2, so four
    # trajectories make the exact expectation. R = (1, 2), P_B(1 | 3) = P_B(2 | 3) = 1/2:
    # KL is minus E[log R P_B] up to a constant, and d log P(1) / d logit = 1/2.
    env = diamond()
    gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
    paths = jax.tree.map(lambda x: x[jnp.array([0, 1, 2, 2])], all_trajectories(env))
    np.testing.assert_array_equal(paths.states.index[:, 1:], [[1, 3], [1, 4], [2, 3], [2, 3]])
    table = jax.tree.map(jnp.zeros_like, tables(env, jax.random.key(0)))
    params = Params({"params": table}, jnp.log(jnp.array(3.0, jnp.float64)))
    grads = jax.jit(jax.grad(gfn.loss))(params, paths)
    actual = grads.policy["params"]["forward_logits"]
    # Residuals without log Z: log 1/4 - log 1/2, log 1/4 - log 2, log 1/2 - log 1/2.
    first, second, third = np.log(0.5), np.log(0.125), 0.0
    at_source = 2 * (0.25 * first + 0.25 * second - 0.5 * third) * 0.5
    at_one = 2 * (0.25 * first - 0.25 * second) * 0.5
    np.testing.assert_allclose(actual[0], [at_source, -at_source], rtol=1e-12)
    np.testing.assert_allclose(actual[1], [at_one, -at_one], rtol=1e-12)
    np.testing.assert_allclose(actual[2:], 0, atol=1e-12)
