import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, tabular_policy
from gfnjax.objectives.base import resolve_log_z
from gfnjax.objectives.soft_q_learning import SoftDQN
from gfnjax.testing import diamond, exact_optimum


def seen(two, objective):
    """Values logsumexp l of 2, 1 and 3, 1, .5; the target network's differ by .25 everywhere."""
    two = two._replace(log_value=jnp.array([[2.0, 1.0, 0.3, 0.0], [3.0, 1.0, 0.5, -1.0]]))
    before = jnp.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    other = two._replace(
        log_value=two.log_value + 0.25 * before, log_pf=jnp.where(two.mask, two.log_pf - 0.5, 0.0)
    )
    scores = jax.vmap(objective.adapt)(two)
    return scores._replace(target=jax.vmap(objective.adapt)(other))


def test_log_z_is_the_value_of_the_source(two):
    for objective, expected in ((SoftDQN(), [2, 3]), (SoftDQN(0.5), [4, 6])):
        scores = resolve_log_z(objective.log_z, seen(two, objective))
        np.testing.assert_allclose(scores.log_z, expected, rtol=1e-6)


def test_the_fixed_point_is_the_exact_flow_of_the_diamond(key):
    # Logits log P_F + log F / tau; without the right tau the value is off.
    tau = 1 / (1 - 0.15)
    env = diamond()
    gfn = GFlowNet(env, tabular_policy(env), SoftDQN(0.15), target_rate=0.1)
    right, wrong = (exact_optimum(env, key, scale) for scale in (tau, 0.9 * tau))

    @jax.jit
    def loss(params):
        trajectories = gfn.sample(params, key, 8)
        return gfn.loss(params, trajectories, params.policy), gfn.log_z(params)

    (zero, log_z), (off, _) = loss(right), loss(wrong)
    assert zero < 1e-10
    np.testing.assert_allclose(log_z, np.log(3), rtol=1e-5)
    assert off > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.0}, r"alpha must be in \[0, 1\), got 1.0"),
        ({"log_policy_floor": 0.0}, "log_policy_floor must be negative, got 0.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SoftDQN(**options)


def test_a_target_network_is_needed():
    env = diamond()
    with pytest.raises(ValueError, match="SoftDQN needs a target network: set target_rate"):
        GFlowNet(env, tabular_policy(env), SoftDQN())
