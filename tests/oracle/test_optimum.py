"""At the exact optimum every objective vanishes with its gradient, and only there.

For a random positive P_B the flow F and P_F = F(s') P_B / F(s) follow from R by dynamic
programming. All trajectories of small graphs, sampled ones of larger ones; double precision.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_enumeration import all_trajectories, padded_dag

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hypergrid,
    LearnedBackward,
    LogPartitionVariance,
    Residuals,
    SubTrajectoryBalance,
    TargetDetailedBalance,
    TrajectoryBalance,
    corners,
    tabular_policy,
)
from gfnjax.metrics import exact
from gfnjax.metrics.graph import build_graph
from gfnjax.objectives.base import as_objective, resolve_log_z, weighted_loss
from gfnjax.objectives.regression import REGRESSIONS
from gfnjax.testing import binary_tree, diamond, exact_optimum


def prefix_balance(scores):
    """A user's own objective: log Z + sum of log P_F - log P_B up to t - log F(s_t), all t > 0."""
    balance = scores.log_z + jnp.cumsum(scores.log_pf - scores.log_pb) - scores.log_flow[1:]
    return Residuals(jnp.where(scores.mask, balance, 0.0), scores.mask.astype(balance.dtype))


OBJECTIVES = {
    "tb": TrajectoryBalance(),
    "db": DetailedBalance(),
    "subtb-.9": SubTrajectoryBalance(0.9),
    "subtb-2": SubTrajectoryBalance(2.0),
    "fm": FlowMatching(),
    "fm-weighted": FlowMatching(epsilon=1e-3, terminal_weight=10.0),
    "vargrad": LogPartitionVariance(),
    "target-db": TargetDetailedBalance(),
    "function": prefix_balance,
}
CASES = [(name, g) for name in OBJECTIVES for g in REGRESSIONS]
NUM_PATHS = 40


class Everything(TrajectoryBalance):
    """Asks for all that any objective needs, so that one scoring serves them all."""

    needs = frozenset({"log_inflow", "target"})


@partial(jax.jit, static_argnames="policy")
def losses_and_gradients(env, policy, params, trajectories):
    """Losses `[45]`, nine objectives times five regressions, and their gradients, a row a loss."""
    gfn = GFlowNet(env, policy, Everything(), target_rate=1.0)

    def losses(params):
        target = jax.lax.stop_gradient(params.policy)
        scores = gfn.score(params, trajectories, target=target)
        values = []
        for objective in map(as_objective, OBJECTIVES.values()):
            seen = resolve_log_z(objective.log_z, scores)
            values += [weighted_loss(objective, g, seen) for g in REGRESSIONS.values()]
        return jnp.stack(values)

    return losses(params), jax.jacrev(losses)(params)


def perturbed(params, seed):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noise = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return structure.unflatten([x + 0.5 * n for x, n in zip(leaves, noise, strict=True)])


def check(env, params, trajectories):
    policy = tabular_policy(env)
    losses, grads = losses_and_gradients(env, policy, params, trajectories)
    assert losses.dtype == np.float64
    assert_all(np.abs(losses) < 1e-12, "loss at the optimum")
    assert_all(largest(grads) < 1e-6, "gradient at the optimum")
    losses, grads = losses_and_gradients(env, policy, perturbed(params, 1), trajectories)
    assert_all(losses > 1e-3, "loss away from the optimum")
    assert_all(largest(grads) > 1e-4, "gradient away from the optimum")


def largest(grads):
    rows = [np.abs(x).reshape(len(CASES), -1).max(axis=1) for x in jax.tree.leaves(grads)]
    return np.max(rows, axis=0)


def assert_all(good, what):
    assert np.all(good), f"{what}: {[case for case, ok in zip(CASES, good, strict=True) if not ok]}"


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_all_trajectories_of_random_dags(seed):
    with jax.enable_x64(True):
        env = padded_dag(seed)
        params = exact_optimum(env, jax.random.key(seed))
        check(env, params, all_trajectories(env, NUM_PATHS))


@pytest.mark.parametrize("make", [diamond, binary_tree])
def test_all_trajectories_of_known_dags(make, key, x64):
    env = make()
    check(env, exact_optimum(env, key), all_trajectories(env))


@pytest.fixture(scope="module", params=[(2, "standard"), (4, "easy")], ids=["8x8", "8^4"])
def grid(request):
    """A grid, its optimum for a random P_B, and trajectories of the uniform policy."""
    num_dims, reward = request.param
    with jax.enable_x64(True):
        env = Hypergrid(num_dims, 8, corners(reward))
        params = exact_optimum(env, jax.random.key(0))
        gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
        uniform = jax.tree.map(jnp.zeros_like, params)
        sample = jax.jit(gfn.sample, static_argnums=2)
        return env, params, sample(uniform, jax.random.key(1), 64)


def test_sampled_trajectories_of_grids(grid, x64):
    check(*grid)


def test_the_optimum_of_a_grid_pushes_forward_to_the_target(grid, x64):
    env, params, trajectories = grid
    assert int(trajectories.length.max()) > 8
    graph = build_graph(env)
    table = exact.policy_table(env, tabular_policy(env), LearnedBackward(), params.policy)
    metrics = exact.evaluate(graph, table.log_pf, params.log_z)
    assert metrics.total_variation < 1e-12
    assert metrics.log_z_error < 1e-12
    certificate = exact.certificate(graph, table.log_pf, table.log_pb, params.log_z)
    assert certificate < 1e-9
    np.testing.assert_allclose(table.log_flow[graph.source], params.log_z, rtol=1e-12)


def test_a_wrong_log_z_is_noticed_by_trajectory_balance_alone(key, x64):
    # Log Z 1 off: a residual of 1 for TB, nothing for VarGrad, DB and FM, which do not read it.
    env = diamond()
    params = exact_optimum(env, key)
    off = params._replace(log_z=params.log_z + 1)
    losses, _ = losses_and_gradients(env, tabular_policy(env), off, all_trajectories(env))
    loss = dict(zip(CASES, losses, strict=True))
    np.testing.assert_allclose(loss["tb", "square"], 1, atol=1e-12)
    for name in ("vargrad", "db", "fm", "subtb-.9"):
        np.testing.assert_allclose(loss[name, "square"], 0, atol=1e-12)
