import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, Hypergrid, tabular_policy
from gfnjax.objectives.base import resolve_log_z
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.testing import diamond, exact_optimum

MDB = ModifiedDetailedBalance()


@pytest.fixture
def seen(two):
    """The flows are log R - log P_F(stop): 1.1, 2.4 and .7, 1.2, 1.2 before the end."""
    return jax.vmap(MDB.adapt)(
        two._replace(
            log_partial_reward=jnp.array([[0.1, 0.4, 0.3, 0.0], [0.2, -0.3, 0.5, -1.0]]),
            log_stop=jnp.array([[-1.0, -2.0, 0.0, 0.0], [-0.5, -1.5, -0.7, 0.0]]),
        )
    )


def test_flows_by_hand(seen):
    expected = [[1.1, 2.4, 0.3, 0.0], [0.7, 1.2, 1.2, -1.0]]
    np.testing.assert_allclose(seen.log_flow, expected, rtol=1e-6)
    np.testing.assert_allclose(resolve_log_z(MDB.log_z, seen).log_z, [1.1, 0.7], rtol=1e-6)


def test_a_window_may_end_anywhere(seen):
    # Then its last transition is not a stop, and counts.
    weights = jax.vmap(MDB.residuals)(seen._replace(complete=jnp.array([False, True]))).weights
    np.testing.assert_array_equal(weights, [[1, 1, 0], [1, 1, 0]])


def test_the_tables_own_flows_are_not_used(key):
    env = Hypergrid(2, 3)
    gfn = GFlowNet(env, tabular_policy(env), MDB)
    optimum = exact_optimum(env, key)
    table = optimum.policy["params"]
    wrong = optimum._replace(policy={"params": {**table, "log_flow": table["log_flow"] + 3.0}})

    @jax.jit
    def at(params):
        trajectories = gfn.sample(params, key, 16)
        return gfn.log_z(params), *jax.value_and_grad(gfn.loss)(params, trajectories)

    log_z, loss, grads = at(wrong)
    np.testing.assert_allclose(log_z, optimum.log_z, rtol=1e-5)
    assert loss < 1e-9
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-4


def test_every_state_must_be_able_to_stop():
    env = diamond()
    with pytest.raises(TypeError, match="needs a PartialReward environment"):
        GFlowNet(env, tabular_policy(env), MDB)
