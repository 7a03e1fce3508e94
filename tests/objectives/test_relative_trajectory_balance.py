from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_paths, all_trajectories, padded_dag, path_log_probs

from gfnjax import GFlowNet, Params, masking, tabular_policy
from gfnjax.metrics import exact, sampled
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.relative_trajectory_balance import RelativeTrajectoryBalance
from gfnjax.policies.base import FrozenPolicy
from gfnjax.run.evaluation import ExactEvaluator
from gfnjax.testing import diamond

RTB = RelativeTrajectoryBalance()


def posterior(env, log_prior):
    """log F and log P_F with P_F(tau) = prior(tau) R(x) / F(s_0), backwards in NumPy."""
    children = np.asarray(env.children)
    log_flow, log_pf = np.array(env.log_rewards), np.full(children.shape, masking.FILL)
    for state in reversed(range(env.num_states)):  # children come after their parents
        actions = np.flatnonzero(children[state] >= 0)
        if actions.size:
            edges = log_prior[state, actions] + log_flow[children[state, actions]]
            log_flow[state] = np.logaddexp.reduce(edges)
            log_pf[state, actions] = edges - log_flow[state]
    return log_flow, log_pf


@pytest.fixture
def model(x64):
    """A random DAG with a random prior, the description, and its exact optimum."""
    env = padded_dag(3)
    policy = tabular_policy(env)
    logits = jax.random.normal(jax.random.key(0), env.children.shape)
    zeros = policy.init(jax.random.key(0), jnp.array(0))
    prior = FrozenPolicy(policy, {"params": zeros["params"] | {"forward_logits": logits}})
    gfn = GFlowNet(env, policy, RTB, prior=prior)
    log_prior = np.asarray(masking.log_softmax(logits, env.children >= 0))
    log_flow, log_pf = posterior(env, log_prior)
    table = zeros["params"] | {"forward_logits": jnp.asarray(log_pf)}
    return gfn, log_prior, Params({"params": table}, jnp.asarray(log_flow[0]))


@pytest.mark.long
def test_the_optimum_is_the_prior_times_the_reward(model):
    gfn, log_prior, optimum = model
    paths = all_trajectories(gfn.env)
    value_and_grad = jax.jit(jax.value_and_grad(gfn.loss))
    loss, grads = value_and_grad(optimum, paths)
    assert loss < 1e-20
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-9
    # At the optimum the importance of every trajectory is Z.
    weights = jax.jit(partial(sampled.log_weights, gfn.model))(optimum, paths)
    np.testing.assert_allclose(weights, float(optimum.log_z), rtol=1e-9)
    # Neither the prior itself nor another log Z will do.
    prior = optimum._replace(policy=gfn.prior.params)
    assert value_and_grad(prior, paths)[0] > 1e-2
    off = value_and_grad(optimum._replace(log_z=optimum.log_z + 0.5), paths)[0]
    np.testing.assert_allclose(off, 0.25, rtol=1e-9)

    # The target path by path, and what a run is evaluated by.
    weight = np.zeros(gfn.env.num_states)
    for path in all_paths(gfn.env):
        end = path[-1][0]
        forward, _ = path_log_probs(gfn.env, path, log_prior, np.zeros(gfn.env.parents.shape))
        weight[end] += np.exp(forward + float(gfn.env.log_rewards[end]))
    graph = build_graph(gfn.env)
    prior_of_objects = jax.jit(exact.terminating_distribution)(graph, jnp.asarray(log_prior))
    log_q, log_z = exact.target_distribution(graph, prior_of_objects)
    np.testing.assert_allclose(np.exp(log_q), weight / weight.sum(), atol=1e-12)
    np.testing.assert_allclose(log_z, np.log(weight.sum()), rtol=1e-12)
    np.testing.assert_allclose(log_z, optimum.log_z, rtol=1e-12)
    state = gfn.init(jax.random.key(1))._replace(params=optimum)
    evaluator = ExactEvaluator(gfn, graph)
    found = evaluator.evaluate(state, None)
    assert found["total_variation"] < 1e-12
    assert found["log_z_error"] < 1e-12
    pair = evaluator.distributions(state)
    np.testing.assert_allclose(pair.learned, pair.target, atol=1e-12)
    plain, _ = exact.target_distribution(graph)
    assert np.abs(np.exp(plain) - np.exp(log_q)).max() > 0.01


def test_a_prior_is_needed():
    env = diamond()
    with pytest.raises(ValueError, match="needs a prior: set prior=FrozenPolicy"):
        GFlowNet(env, tabular_policy(env), RTB)
