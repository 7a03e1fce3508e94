"""Sets and sequences: every objective vanishes at the exact optimum, and only there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.bits import bit_sequence
from gfnjax.envs.sequences import FixedSequence
from gfnjax.envs.sets import additive_set
from gfnjax.metrics import exact
from gfnjax.metrics.graph import build_graph
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import LogPartitionVariance, TrajectoryBalance
from gfnjax.rewards.tables import TableReward
from gfnjax.testing import check_objective, exact_optimum

OBJECTIVES = [
    TrajectoryBalance(),
    DetailedBalance(),
    SubTrajectoryBalance(0.9),
    FlowMatching(),
    LogPartitionVariance(),
]


def _table(*shape):
    return TableReward(jax.random.normal(jax.random.key(7), shape))


ENVIRONMENTS = {
    "set": lambda: additive_set(np.array([0.1, -0.4, 0.3, 0.2, 1.0]), 3),
    "bits": lambda: bit_sequence(4, 1, num_modes=2),
    "append": lambda: FixedSequence(3, 3, _table(3, 3, 3)),
    "both_ends": lambda: FixedSequence(3, 2, _table(2, 2, 2), both_ends=True),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_objective_at_the_optimum(name, objective, x64, key):
    check_objective(objective, key, ENVIRONMENTS[name](), batch_size=64, tolerance=1e-6)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_optimal_policy_samples_the_target(name, x64, key):
    env = ENVIRONMENTS[name]()
    graph = build_graph(env)
    optimum = exact_optimum(env, key)
    log_pf = optimum.policy["params"]["forward_logits"]
    metrics = exact.evaluate(graph, log_pf, optimum.log_z)
    assert float(metrics.total_variation) < 1e-10
    terminal = jax.vmap(env.state_at)(jnp.flatnonzero(graph.terminal).astype(jnp.int32))
    total = jax.nn.logsumexp(jax.vmap(env.log_reward)(terminal))
    assert float(optimum.log_z) == pytest.approx(float(total), abs=1e-10)
