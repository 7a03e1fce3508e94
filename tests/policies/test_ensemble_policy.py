"""The policy of an ensemble: the mixture of its members, and its factories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import Hypergrid, mlp_policy, tabular_policy
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.policies import EnsemblePolicy, ensemble_mlp_policy, ensemble_tabular_policy
from gfnjax.policies.backward import UniformBackward
from gfnjax.state import Params
from gfnjax.testing import binary_tree

GRID = Hypergrid(2, 3)


def test_the_mixture_by_hand(key):
    # In the corner (2, 0) the first direction is blocked; what members say of it must not matter.
    policy = ensemble_tabular_policy(GRID, 2)
    state = HypergridState(jnp.array([2, 0], jnp.int32), jnp.array(False))
    params = policy.init(key, policy.observe(GRID, state))
    row = jnp.log(jnp.array([1e6, 3, 1, 1, 1, 4])) + jnp.array([0.0, 0, 0, 9, 9, 9])
    logits = params["params"]["forward_logits"].at[GRID.state_index(state)].set(row)
    params = {"params": {**params["params"], "forward_logits": logits}}
    heads = policy.heads(params, GRID, state)
    np.testing.assert_allclose(heads.forward_logits, row.reshape(2, 3))
    output = policy.evaluate(params, GRID, state)
    found = np.exp(output.forward_logits)
    # Members go on with 3/4 and 1/5.
    np.testing.assert_allclose(found, [0, (3 / 4 + 1 / 5) / 2, (1 / 4 + 4 / 5) / 2], atol=1e-6)
    assert output.log_flow.shape == ()
    assert output.backward_logits.shape == (3,)


def test_the_mixture_is_of_states_not_of_trajectories(key):
    # One member always turns left, the other right: as a mixture state by state every leaf of a
    # tree of depth 2 has 1/4.
    env = binary_tree(2)
    policy = ensemble_tabular_policy(env, 2)
    params = policy.init(key, jnp.array(0))
    row = jnp.array([50.0, 0, 0, 50])
    params["params"]["forward_logits"] = jnp.tile(row, (env.num_states, 1))
    table = exact.policy_table(Model(env, policy, UniformBackward()), Params(params))
    found = exact.terminating_distribution(build_graph(env), table.log_pf)
    np.testing.assert_allclose(np.exp(found)[3:], 0.25, atol=1e-6)


@pytest.mark.parametrize("num_members", [1, 3])
def test_an_mlp_has_one_trunk_and_many_heads(num_members, key):
    policy = ensemble_mlp_policy(GRID, num_members, (8,))
    state = GRID.initial_state()
    params = policy.init(key, policy.observe(GRID, state))
    assert policy.heads(params, GRID, state).forward_logits.shape == (num_members, 3)
    sizes = sum(x.size for x in jax.tree.leaves(params))
    plain = mlp_policy(GRID, (8,))
    plain_sizes = sum(x.size for x in jax.tree.leaves(plain.init(key, plain.observe(GRID, state))))
    assert sizes == plain_sizes + (num_members - 1) * (8 + 1) * 3


def test_equal_ensembles_share_code():
    assert ensemble_mlp_policy(GRID, 3, (8,)) == ensemble_mlp_policy(GRID, 3, (8,))
    assert hash(ensemble_mlp_policy(GRID, 3, (8,))) == hash(ensemble_mlp_policy(GRID, 3, (8,)))
    assert ensemble_mlp_policy(GRID, 3, (8,)) != ensemble_mlp_policy(GRID, 3, (8,), keep=0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ensemble_mlp_policy(GRID, 0), "num_members must be at least 1, got 0"),
        (lambda: tabular_policy(GRID, 0), "num_members must be at least 1, got 0"),
        (lambda: EnsemblePolicy(tabular_policy(GRID), 0), "num_members must be at least 1, got 0"),
        (lambda: ensemble_mlp_policy(GRID, 2, keep=0.0), r"keep must be in \(0, 1\], got 0.0"),
        (lambda: ensemble_tabular_policy(GRID, 2, 1.5), r"keep must be in \(0, 1\], got 1.5"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_network_without_logits_for_all_members(key):
    policy = EnsemblePolicy(tabular_policy(GRID), 2)
    params = policy.init(key, jnp.array(0))
    with pytest.raises(ValueError, match=r"network must return 2 x 3 forward logits.*got shape"):
        policy.evaluate(params, GRID, GRID.initial_state())
