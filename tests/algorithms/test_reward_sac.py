"""Soft actor-critic on the reward: values by hand, what it converges to, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    GFlowNet,
    Hyperparameters,
    Scores,
    UniformBackward,
    masking,
    tabular_policy,
    train,
)
from gfnjax.algorithms import RewardSAC
from gfnjax.algorithms.reward_sac import Critique
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import diamond

FILL = masking.FILL


def one(log_policy=None):
    """A trajectory of two steps, padded to three, with two actions; the second state allows one."""
    half = [np.log(0.5), np.log(0.5)]
    values = jnp.array(
        [
            [[1.0, 3.0], [2.0, 9.0], [0.0, 0.0], [0.0, 0.0]],
            [[2.0, 1.0], [4.0, 9.0], [0.0, 0.0], [0.0, 0.0]],
        ]
    )
    target = Scores(
        log_pf=jnp.zeros(3),
        log_pb=jnp.zeros(3),
        log_flow=jnp.array([5.0, 0.5, 2.5, 0.0]),
        log_reward=jnp.array(2.5),
        log_z=jnp.array(0.0),
        mask=jnp.array([True, True, False]),
        length=jnp.array(2, jnp.int32),
        complete=jnp.array(True),
    )
    return target._replace(
        log_flow=jnp.array([1.0, 1.0, 2.5, 0.0]),
        log_policy=jnp.array([half, [0.0, FILL], half, half]) if log_policy is None else log_policy,
        target=target,
        auxiliary=Critique(values, values[:, :3, 0], jnp.log(jnp.array(0.1))),
    )


def test_residuals_by_hand():
    values, weights = RewardSAC().residuals(one())
    # min Q is (1, 1) and (2, 9), so that U_0 = 1 + .1 log 2 and U_1 = 2.
    expected = [1.0 - 0.5, 2.0 - 2.5, 0, 2.0 - 0.5, 4.0 - 2.5, 0]
    expected += [1.0 - (1 + 0.1 * np.log(2)), 1.0 - 2.0, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_array_equal(weights, [1, 1, 0] * 3)


def test_loss_of_the_policy_by_hand():
    np.testing.assert_allclose(
        RewardSAC().extra_loss(one()), -(1 + 0.1 * np.log(2) + 2.0), rtol=1e-6
    )
    # The entropy is log 2 where two actions are allowed and 0 = log 1 where one is.
    learned = RewardSAC(target_entropy=0.4).extra_loss(one()) - RewardSAC().extra_loss(one())
    np.testing.assert_allclose(learned, np.log(0.1) * 0.6 * np.log(2), rtol=1e-5)


def test_gradients_stay_where_they_belong():
    def total(scores):
        objective = RewardSAC(target_entropy=0.4)
        return (objective.residuals(scores).values ** 2).sum(), objective.extra_loss(scores)

    def of(part):
        return jax.grad(lambda s: total(s)[part], allow_int=True)(one())

    values, extra = of(0), of(1)
    assert not np.asarray(values.target.log_flow).any()
    assert not np.asarray(values.log_policy).any()
    assert not np.asarray(values.auxiliary.values).any()
    assert np.asarray(values.auxiliary.taken).any()
    assert not np.asarray(extra.auxiliary.values).any()
    assert not np.asarray(extra.log_flow).any()
    assert np.asarray(extra.log_policy)[0].any()
    np.testing.assert_allclose(extra.auxiliary.log_temperature, 0.6 * np.log(2), rtol=1e-5)


def trained(key, num_steps=400, **arguments):
    env = diamond()
    policy = tabular_policy(env)
    gfn = GFlowNet(
        env,
        policy,
        RewardSAC(critic=policy, **arguments),
        backward=UniformBackward(),
        hyperparameters=Hyperparameters(learning_rate=0.05, epsilon=0.1),
        target_rate=0.1,
    )
    state, _ = train(gfn, key, num_steps, chunk_size=400)
    table = exact.policy_table(gfn.model, state.params)
    found = np.exp(exact.terminating_distribution(build_graph(env), table.log_pf))
    return found, table, state


def test_it_looks_for_the_best_object(key):
    found, table, _ = trained(key, temperature=0.05)
    # R(3) = 1 and R(4) = 2: not one third and two thirds, as from a GFlowNet.
    assert found[4] > 0.95
    np.testing.assert_allclose(table.log_flow[0], np.log(2), atol=0.1)


def test_at_unit_temperature_it_counts_the_ways_to_an_object(key):
    found, table, state = trained(key, temperature=1.0)
    # Two ways lead to 3 and one to 4: 2 * 1 and 1 * 2 are in balance, 1 and 2 are not.
    np.testing.assert_allclose(found[3:], [0.5, 0.5], atol=0.05)
    np.testing.assert_allclose(table.log_flow[0], np.log(4), atol=0.1)
    np.testing.assert_allclose(state.params.objective.log_temperature, 0.0)


def test_a_learned_temperature_keeps_the_entropy(key):
    _, table, state = trained(key, temperature=0.05, target_entropy=0.9)
    p = np.exp(np.asarray(table.log_pf[0]))
    assert -(p * np.log(p)).sum() > 0.8 * np.log(2)
    assert float(state.params.objective.log_temperature) > np.log(0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"target_entropy": 1.0}, r"target_entropy must be in \(0, 1\) or None, got 1.0"),
        ({"returns": "R"}, 'returns must be "log_reward" or "reward", got \'R\''),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        RewardSAC(**arguments)


def test_a_target_network_is_needed():
    env = diamond()
    with pytest.raises(ValueError, match="RewardSAC needs a target network: set target_rate"):
        GFlowNet(env, tabular_policy(env), RewardSAC())
