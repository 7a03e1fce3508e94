"""In a file of its own: all it compares must have been compiled with the same effort."""

import jax
import numpy as np
import pytest

import gfnjax
from gfnjax import training
from gfnjax.sweeps import Placement, sweep


@pytest.mark.long
@pytest.mark.optimised
def test_one_after_another_members_are_single_runs_bit_for_bit(key):
    env = gfnjax.Hypergrid(2, 4)
    policy, objective = gfnjax.mlp_policy(env, (8,)), gfnjax.SubTrajectoryBalance(0.9)
    gfn = gfnjax.GFlowNet(env, policy, objective, batch_size=4)
    vary = {"learning_rate": [1e-3, 0.1], "epsilon": [0.0, 0.3], "objective.lambda_": [0.5, 0.9]}
    one = Placement(num_devices=1, members_at_once=1)
    found = sweep(gfn, jax.random.split(key, 2), 7, vary=vary, chunk_size=4, placement=one)
    for member, state in zip(found.members, found.states, strict=True):
        alone, _ = training.train(member.gfn, jax.random.clone(member.key), 7, chunk_size=4)
        for x, y in zip(jax.tree.leaves(alone.params), jax.tree.leaves(state.params), strict=True):
            np.testing.assert_array_equal(x, y)
