"""On eight devices a sweep gives what it gives on one."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import jax
import numpy as np

import gfnjax
from gfnjax.sweeps import Placement, sweep

assert jax.device_count() == 8
env = gfnjax.Hypergrid(2, 4)
policy, objective = gfnjax.mlp_policy(env, (8,)), gfnjax.TrajectoryBalance()
gfn = gfnjax.GFlowNet(env, policy, objective, batch_size=8)
keys = jax.random.split(jax.random.key(0), 3)
vary = {"learning_rate": [1e-3, 1e-2, 1e-1], "epsilon": [0.0, 0.2]}
states = []
for placement in (Placement(1), Placement(8), Placement(8, 4), Placement(7)):
    found = sweep(gfn, jax.random.clone(keys), 30, vary=vary, chunk_size=20, placement=placement)
    states.append([state.params for state in found.states])
for others in states[1:]:
    for one, other in zip(states[0], others, strict=True):
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
"""


@pytest.mark.long
def test_a_sweep_on_eight_devices_is_that_on_one():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env={**os.environ, **flags})
