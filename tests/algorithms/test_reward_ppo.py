"""PPO on the reward: values by hand, what it converges to, errors."""

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
from gfnjax.algorithms import RewardPPO
from gfnjax.algorithms.returns import entropy, with_return
from gfnjax.algorithms.reward_ppo import advantages
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import diamond


def one(**changes):
    """A trajectory of two steps, padded to three, whose return is 2."""
    half = [np.log(0.5), np.log(0.5)]
    before = Scores(
        log_pf=jnp.array([-1.0, -2.0, 0.0]),
        log_pb=jnp.zeros(3),
        log_flow=jnp.array([0.5, 1.5, 2.0, 0.0]),
        log_reward=jnp.array(2.0),
        log_z=jnp.array(0.0),
        mask=jnp.array([True, True, False]),
        length=jnp.array(2, jnp.int32),
        complete=jnp.array(True),
    )
    return before._replace(
        log_pf=jnp.array([-1.0 + np.log(1.5), -2.0 + np.log(0.9), 0.0]),
        log_flow=jnp.array([1.0, 1.0, 2.0, 0.0]),
        log_policy=jnp.array([half, [0.0, masking.FILL], half, half]),
        previous=before,
        **changes,
    )


def test_advantages_by_hand():
    scores = one().previous  # values .5, 1.5 and, at the end, 2
    np.testing.assert_allclose(advantages(scores, 1.0), [1.5, 0.5, 0.0])
    np.testing.assert_allclose(advantages(scores, 0.0), [1.0, 0.5, 0.0])
    np.testing.assert_allclose(advantages(scores, 0.5), [1.25, 0.5, 0.0])


def test_clipped_surrogate_by_hand():
    # rho is 1.5, clipped to 1.2, and .9; both advantages are positive.
    loss = RewardPPO(lambda_=1.0).extra_loss(one())
    np.testing.assert_allclose(loss, -(1.2 * 1.5 + 0.9 * 0.5), rtol=1e-6)
    # With a return of 0 the advantages are -.5 and -1.5, and the larger loss counts: no clipping.
    low = one(log_reward=jnp.array(0.0))
    low = low._replace(previous=low.previous._replace(log_flow=jnp.array([0.5, 1.5, 0.0, 0.0])))
    loss = RewardPPO(lambda_=1.0).extra_loss(low)
    np.testing.assert_allclose(loss, 1.5 * 0.5 + 0.9 * 1.5, rtol=1e-6)


def test_entropy_by_hand():
    plain, with_entropy = (RewardPPO(entropy_weight=w).extra_loss(one()) for w in (0.0, 0.1))
    np.testing.assert_allclose(plain - with_entropy, 0.1 * np.log(2), rtol=1e-5)
    double = RewardPPO(entropy_weight=0.1, policy_weight=2.0).extra_loss(one())
    np.testing.assert_allclose(double, 2 * with_entropy, rtol=1e-6)
    np.testing.assert_allclose(entropy(jnp.log(jnp.array([0.25, 0.75]))), 0.5623351, rtol=1e-6)


@pytest.mark.long
def test_without_entropy_nothing_is_asked_of_all_actions():
    plain = RewardPPO(entropy_weight=None)
    assert plain.needs == {"previous"}
    assert RewardPPO().needs == {"previous", "log_policy"}
    known = one()._replace(log_policy=None)
    np.testing.assert_array_equal(plain.extra_loss(known), RewardPPO().extra_loss(one()))
    env = diamond()
    gfn = GFlowNet(env, tabular_policy(env), plain, backward=UniformBackward(), num_updates=2)
    state = gfn.init(jax.random.key(0))
    batch, _ = gfn.draw(state)
    assert gfn.score(state.params, batch.trajectories).log_policy is None
    assert batch.rows is not None
    _, info = gfn.step(state)
    assert np.isfinite(info.loss)
    # An estimate that the batch makes: log R + log P_B - log P_F, of two or three ways.
    scores = gfn.score(state.params, batch.trajectories)
    found = scores.log_reward + (scores.log_pb - scores.log_pf).sum(axis=1)
    np.testing.assert_allclose(info.log_z, found.mean(), rtol=1e-5)


def test_values_are_fitted_to_the_return():
    values, weights = RewardPPO(lambda_=1.0).residuals(one())
    np.testing.assert_allclose(values, [1.0 - 2.0, 1.0 - 2.0, 0.0])
    np.testing.assert_array_equal(weights, [1.0, 1.0, 0.0])
    values, _ = RewardPPO(lambda_=0.0).residuals(one())
    np.testing.assert_allclose(values, [1.0 - 1.5, 1.0 - 2.0, 0.0])


def test_the_return_may_be_the_reward_itself():
    flow = with_return(one(), "reward").log_flow
    np.testing.assert_allclose(flow, [1.0, 1.0, np.exp(2.0), 0.0], rtol=1e-6)
    np.testing.assert_array_equal(with_return(one(), "log_reward").log_flow, one().log_flow)
    unfinished = one(complete=jnp.array(False))
    np.testing.assert_array_equal(with_return(unfinished, "reward").log_flow, one().log_flow)


@pytest.mark.parametrize("returns", ["log_reward", "reward"])
def test_it_looks_for_the_best_object(returns, key):
    env = diamond()
    policy = tabular_policy(env)
    gfn = GFlowNet(
        env,
        policy,
        RewardPPO(returns=returns),
        backward=UniformBackward(),
        hyperparameters=Hyperparameters(learning_rate=0.05),
        num_updates=4,
    )
    state, _ = train(gfn, key, 100, chunk_size=100)
    table = exact.policy_table(gfn.model, state.params)
    found = np.exp(exact.terminating_distribution(build_graph(env), table.log_pf))
    # R(3) = 1 and R(4) = 2: not one third and two thirds, as from a GFlowNet.
    assert found[4] > 0.95
    value = {"log_reward": np.log(2), "reward": 2.0}[returns]
    np.testing.assert_allclose(table.log_flow[0], value, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip": 1.0}, r"clip must be in \(0, 1\), got 1.0"),
        ({"lambda_": -0.1}, r"lambda_ must be in \[0, 1\], got -0.1"),
        ({"entropy_weight": -1.0}, "entropy_weight must not be negative, got -1.0"),
        ({"policy_weight": 0.0}, "policy_weight must be positive, got 0.0"),
        ({"returns": "R"}, 'returns must be "log_reward" or "reward", got \'R\''),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        RewardPPO(**arguments)


def test_exploration_is_refused():
    env = diamond()
    with pytest.raises(ValueError, match=r"RewardPPO learns from the policy's own trajectories"):
        GFlowNet(
            env, tabular_policy(env), RewardPPO(), hyperparameters=Hyperparameters(epsilon=0.1)
        )
