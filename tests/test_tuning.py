import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, UniformBackward, tuning

GRID = Hypergrid(2, 6)


@pytest.mark.parametrize(
    ("machine", "batch_size", "numbers", "rows"),
    [
        (tuning.CPU, 16, 10, 192),  # a small batch
        (tuning.CPU, 100, 10, 400),  # four a trajectory
        (tuning.CPU, 4096, 10, 1024),
        (tuning.CPU, 4096, 3_151, 665),  # 2^21 numbers
        (tuning.CPU, 4096, 10**6, 96),  # but not less than this
        (tuning.GPU, 16, 10, 16_384),
        (tuning.GPU, 4096, 3_856, 4_350),  # 2^24 numbers
    ],
)
def test_rows_by_hand(machine, batch_size, numbers, rows):
    assert machine.rows(batch_size, numbers) == rows


def test_the_backend_decides(monkeypatch):
    assert tuning.tuning() == tuning.CPU  # tests run on CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert tuning.tuning() == tuning.GPU


@pytest.mark.long
def test_results_do_not_depend_on_it(key, monkeypatch):
    def step():
        policy = gfnjax.mlp_policy(GRID, (16,))
        gfn = GFlowNet(GRID, policy, TrajectoryBalance(), backward=UniformBackward(), batch_size=48)
        state, info = jax.jit(lambda key: gfn.step(gfn.init(key)))(key)
        return state.params, info.loss

    small = tuning.Tuning(packed_batch=8, least_rows=20, most_rows=20, most_numbers=10**6)
    found = []
    for machine in (small, tuning.GPU):
        monkeypatch.setattr(tuning, "CPU", machine)
        jax.clear_caches()
        found.append(step())
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5), *found)
    assert jnp.isfinite(found[0][1])
