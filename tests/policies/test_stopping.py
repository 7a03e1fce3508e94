import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.dags import DAGs
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.policies.stopping import flow_from_stop
from gfnjax.policies.tabular import tabular_policy
from gfnjax.testing import exact_optimum
from gfnjax.training import GFlowNet


def edge_reward(adjacency):
    weights = jnp.sin(jnp.arange(adjacency.size).astype(jnp.result_type(float)))
    return jnp.where(adjacency.reshape(-1), weights, 0.0).sum()


ENV = DAGs(3, edge_reward)
GFN = GFlowNet(ENV, flow_from_stop(tabular_policy(ENV), ENV), DetailedBalance())


def test_wrapping_twice_gives_one_policy():
    assert flow_from_stop(tabular_policy(ENV), ENV) is GFN.policy


def test_detailed_balance_becomes_its_modified_form(key):
    table = jax.tree.map(lambda x: jax.random.normal(key, x.shape), exact_optimum(ENV, key))
    trajectories = GFN.sample(table, key, 16)
    scores = GFN.score(table, trajectories)
    residuals = jax.vmap(GFN.objective.residuals)(scores).values

    def log_stop(state):
        output = tabular_policy(ENV).evaluate(table.policy, ENV, state)
        mask = ENV.forward_mask(state)
        return output.forward_logits[-1] - jax.nn.logsumexp(
            jnp.where(mask, output.forward_logits, -jnp.inf)
        )

    stop = np.asarray(jax.vmap(jax.vmap(log_stop))(trajectories.states))
    rewards = np.asarray(jax.vmap(jax.vmap(ENV.log_reward))(trajectories.states))
    log_pf, log_pb = np.asarray(scores.log_pf), np.asarray(scores.log_pb)
    for row, length in enumerate(np.asarray(trajectories.length)):
        for t in range(length - 1):
            expected = (rewards[row, t + 1] + log_pb[row, t] + stop[row, t]) - (
                rewards[row, t] + log_pf[row, t] + stop[row, t + 1]
            )
            np.testing.assert_allclose(residuals[row, t], -expected, atol=1e-4)
        np.testing.assert_allclose(residuals[row, length - 1], 0.0, atol=1e-5)


def test_it_vanishes_at_the_exact_optimum_whatever_the_table_says_of_flows(key):
    optimum = exact_optimum(ENV, key)
    trajectories = GFN.sample(optimum, key, 64)
    table = optimum.policy["params"]
    wrong = {"params": {**table, "log_flow": table["log_flow"] + 3.0}}
    loss, grads = jax.value_and_grad(GFN.loss)(optimum._replace(policy=wrong), trajectories)
    assert float(loss) < 1e-8
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-3
    scores = GFN.score(optimum, trajectories)
    np.testing.assert_allclose(scores.log_flow[:, 0], optimum.log_z, rtol=1e-5)


def test_errors():
    env = Hypergrid(2, 3)
    with pytest.raises(TypeError, match="log_partial_reward, got Hypergrid"):
        flow_from_stop(tabular_policy(env), env)
