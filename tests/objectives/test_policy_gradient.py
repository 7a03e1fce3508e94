import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, Hyperparameters, tabular_policy
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.policy_gradient import PolicyGradient
from gfnjax.objectives.regression import square
from gfnjax.testing import diamond

# log P_B - log P_F is .5, .3 and .1, .1, .1 in the two trajectories, log R is .3 and -1, the
# values are 2.2, 1.5 and 1, .5, .25: the TD errors are minus the residuals of DB.
ADVANTAGES = {
    PolicyGradient("reinforce"): [[1.1, 1.1, 0], [-0.7, -0.7, -0.7]],
    PolicyGradient("reward-to-go"): [[1.1, 0.6, 0], [-0.7, -0.8, -0.9]],
    PolicyGradient("baseline"): [[-1.1, -0.9, 0], [-1.7, -1.3, -1.15]],
    PolicyGradient("gae", lambda_=1.0): [[-1.1, -0.9, 0], [-1.7, -1.3, -1.15]],
    PolicyGradient("gae", lambda_=0.5): [[-0.65, -0.9, 0], [-0.7625, -0.725, -1.15]],
    PolicyGradient("gae", lambda_=0.0): [[-0.2, -0.9, 0], [-0.4, -0.15, -1.15]],
}


@pytest.mark.parametrize("objective", ADVANTAGES, ids=str)
def test_advantages_by_hand(objective, two):
    actual = jax.vmap(objective.advantages)(two)
    np.testing.assert_allclose(actual, ADVANTAGES[objective], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective", ADVANTAGES, ids=str)
def test_gradients_by_hand(objective, two):
    # Of the surrogate, summed over steps and averaged over trajectories: -A. Of the values,
    # averaged over the five transitions: 2 (V - (V + A)). Nothing reaches P_B.
    advantages = np.array(ADVANTAGES[objective])

    def loss(log_pf, log_flow, log_pb):
        scores = two._replace(log_pf=log_pf, log_flow=log_flow, log_pb=log_pb)
        return weighted_loss(objective, square, scores)

    by_pf, by_flow, by_pb = jax.grad(loss, (0, 1, 2))(two.log_pf, two.log_flow, two.log_pb)
    np.testing.assert_allclose(by_pf, -advantages / 2, rtol=1e-5, atol=1e-6)
    valued = objective.advantage in ("baseline", "gae")
    expected = np.pad(-2 * advantages / 5, ((0, 0), (0, 1))) if valued else np.zeros((2, 4))
    np.testing.assert_allclose(by_flow, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(by_pb, 0)


def test_a_window_goes_on_with_the_value_of_its_last_state(two):
    # log F = 2 in s_2 of the first, instead of log R = .3.
    window = two._replace(
        complete=jnp.array([False, True]), log_flow=two.log_flow.at[0, 2].set(2.0)
    )
    actual = jax.vmap(PolicyGradient("baseline").advantages)(window)
    np.testing.assert_allclose(actual[0], [0.6, 0.8, 0], rtol=1e-5)


def test_where_log_z_comes_from():
    sources = [PolicyGradient(x).log_z for x in ("reinforce", "reward-to-go", "baseline", "gae")]
    assert sources == ["batch", "batch", "flow", "flow"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"advantage": "vtrace"}, "must be one of reinforce, reward-to-go, .* got 'vtrace'"),
        ({"lambda_": 1.5}, r"lambda_ must be in \[0, 1\], got 1.5"),
        ({"policy_weight": 0.0}, "policy_weight must be positive, got 0.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        PolicyGradient(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hyperparameters": Hyperparameters(epsilon=0.1)}, "epsilon must be 0.0"),
        ({"num_updates": 2}, "num_updates must be 1, got 2; EntropyPPO takes more"),
    ],
)
def test_only_for_the_policys_own_trajectories(options, message):
    env = diamond()
    with pytest.raises(ValueError, match=message):
        GFlowNet(env, tabular_policy(env), PolicyGradient(), **options)
