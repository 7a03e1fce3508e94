"""At the exact optimum every objective vanishes with its gradient, and only there.

For a random positive P_B the flow F and P_F = F(s') P_B / F(s) follow from R by dynamic
programming. All trajectories of small graphs, sampled ones of larger ones; double precision. To
add an objective, add it to `OBJECTIVES`.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_fragments import blocks_differ, two_fragments
from hypothesis import given, settings
from hypothesis import strategies as st
from path_enumeration import all_trajectories, padded_dag

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hypergrid,
    LogPartitionVariance,
    Residuals,
    SubTrajectoryBalance,
    TargetDetailedBalance,
    TrajectoryBalance,
    corners,
    tabular_policy,
)
from gfnjax.data.graphs import path
from gfnjax.envs.base import RandomSource
from gfnjax.envs.cyclic_hypergrid import UniformSourceHypergrid
from gfnjax.envs.dags import DAGs
from gfnjax.envs.graph_building import GraphBuilding
from gfnjax.envs.graph_problems import graph_problem
from gfnjax.envs.molecule_tasks import molecules
from gfnjax.envs.sets import additive_set
from gfnjax.envs.tabular import tabular_graph
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.objectives.base import (
    NEEDS,
    as_objective,
    check_abilities,
    loss_and_errors,
    resolve_log_z,
)
from gfnjax.objectives.cyclic_balance import RegularisedDetailedBalance, StableDetailedBalance
from gfnjax.objectives.entropy_ppo import EntropyPPO
from gfnjax.objectives.f_trajectory_balance import FTrajectoryBalance
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.objectives.modified_subtrajectory_balance import ModifiedSubTrajectoryBalance
from gfnjax.objectives.policy_gradient import PolicyGradient
from gfnjax.objectives.prefix_balance import PrefixTrajectoryBalance
from gfnjax.objectives.regression import REGRESSIONS
from gfnjax.objectives.soft_q_learning import SoftDQN
from gfnjax.objectives.trajectory_balance import ContrastiveBalance
from gfnjax.objectives.weighted_balance import WeightedDetailedBalance
from gfnjax.rewards.graph_building import Triangles
from gfnjax.scoring import terminal_step
from gfnjax.testing import binary_tree, diamond, exact_optimum


def prefix_balance(scores):
    """A user's own objective: log Z + sum of log P_F - log P_B up to t - log F(s_t), all t > 0."""
    balance = scores.log_z + jnp.cumsum(scores.log_pf - scores.log_pb) - scores.log_flow[1:]
    return Residuals(jnp.where(scores.mask, balance, 0.0), scores.mask.astype(balance.dtype))


OBJECTIVES = {
    "tb": TrajectoryBalance(),
    "db": DetailedBalance(),
    "subtb-.9": SubTrajectoryBalance(0.9),
    "fm": FlowMatching(),
    "vargrad": LogPartitionVariance(),
    "subtb-2": SubTrajectoryBalance(2.0),
    "fm-weighted": FlowMatching(epsilon=1e-3, terminal_weight=10.0),
    "target-db": TargetDetailedBalance(),
    "function": prefix_balance,
    "cb": ContrastiveBalance(),
    "mdb": ModifiedDetailedBalance(),
    "msubtb": ModifiedSubTrajectoryBalance(),
    "msubtb-.5": ModifiedSubTrajectoryBalance(0.5),
    "vargrad-group": LogPartitionVariance("group"),
    "fl-db": ForwardLooking(DetailedBalance()),
    "fl-subtb": ForwardLooking(SubTrajectoryBalance()),
    "fl-tb": ForwardLooking(TrajectoryBalance(log_z="flow")),
    "soft-dqn": SoftDQN(),
    "munchausen": SoftDQN(0.15),
    "pg-baseline": PolicyGradient("baseline"),
    "pg-gae": PolicyGradient("gae"),
    "ent-ppo": EntropyPPO(),
    "flow-db": RegularisedDetailedBalance(0.0, "flow"),
    "sdb": StableDetailedBalance(),
    "sdb-flow": StableDetailedBalance("flow", beta=2.0, eta=0.5),
    "prefix-tb": PrefixTrajectoryBalance(),
    "wdb": WeightedDetailedBalance(),
    "f-tb": FTrajectoryBalance(),
    "f-tb-js": FTrajectoryBalance("jensen-shannon"),
}
# The others with the square alone, for the time it takes to compile.
ALL_REGRESSIONS = ("tb", "db")
NUM_PATHS = 40


def is_for(objective, env):
    try:
        check_abilities(as_objective(objective), env)
    except TypeError:
        return False
    return True


def cases(env):
    """Names of objectives that `env` is fit for, each with its regressions."""
    fit = [name for name, objective in OBJECTIVES.items() if is_for(objective, env)]
    return [
        (name, g) for name in fit for g in (REGRESSIONS if name in ALL_REGRESSIONS else ["square"])
    ]


@dataclass(frozen=True)
class Everything(TrajectoryBalance):
    """Asks for all that any objective needs, so that one scoring serves them all."""

    needs: frozenset = frozenset()

    @classmethod
    def of(cls, env):
        given = [need for need, what in NEEDS.items() if what is None or hasattr(env, what[1])]
        return cls(needs=frozenset(given) - {"log_prior", "target", "previous"})


def as_seen(objective, scores, drawn=False):
    """Scores as `GFlowNet.score` gives them to an objective, of tables in the form it wants.

    The form is that of `exact_optimum`: logits plus log F / value_scale, log F minus the partial
    reward. On scores that is the same as on tables, and they need not be scored again.
    """
    interior = ~jax.vmap(terminal_step)(scores)
    if drawn:
        # Where s_1 is drawn the value of s_0 is log Z already; in the table it is 0 there.
        first = scores.log_value[:, 0] - jnp.where(scores.from_source, scores.log_flow[:, 0], 0.0)
        scores = scores._replace(log_value=scores.log_value.at[:, 0].set(first))
    if objective.value_scale is not None:
        offset = jnp.where(interior, scores.log_flow, 0.0) / objective.value_scale
        scores = scores._replace(log_value=scores.log_value + offset)
    if objective.looks_forward:
        offset = jnp.where(interior, scores.log_partial_reward, 0.0)
        scores = scores._replace(log_flow=scores.log_flow - offset)
    seen = jax.vmap(objective.adapt)(scores)
    same = jax.lax.stop_gradient(seen)
    seen = seen._replace(target=same, previous=same)
    return resolve_log_z(objective.log_z, seen, objective.log_z_power)


# Compiling is all that takes time here.
def losses_and_gradients(env, policy, params, trajectories):
    """Losses `[n]`, one for each of `cases`, and their gradients, a row a loss."""
    # Of an environment that is traced not all can be told that it lacks.
    return _losses_and_gradients(env, policy, tuple(cases(env)), params, trajectories)


@partial(
    jax.jit,
    static_argnames=("policy", "chosen"),
    compiler_options={"xla_backend_optimization_level": 0},
)
def _losses_and_gradients(env, policy, chosen, params, trajectories):
    gfn = GFlowNet(env, policy, Everything.of(env))

    def losses(params):
        scores = gfn.score(params, trajectories)
        values = []
        for name, g in chosen:
            objective = as_objective(OBJECTIVES[name])
            seen = as_seen(objective, scores, isinstance(env, RandomSource))
            # Of trajectories that were cut only transitions count.
            cut = scores.from_source is not None and objective.cycles == "complete"
            keep = scores.whole if cut else None
            values.append(loss_and_errors(objective, REGRESSIONS[g], seen, keep)[0])
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
    assert_all(env, np.abs(losses) < 1e-12, "loss at the optimum")
    assert_all(env, largest(grads) < 1e-6, "gradient at the optimum")
    losses, grads = losses_and_gradients(env, policy, perturbed(params, 1), trajectories)
    # The surrogate of a policy gradient may have either sign.
    assert_all(env, np.abs(losses) > 1e-3, "loss away from the optimum")
    assert_all(env, largest(grads) > 1e-4, "gradient away from the optimum")


def largest(grads):
    rows = [np.abs(x).reshape(len(x), -1).max(axis=1) for x in jax.tree.leaves(grads)]
    return np.max(rows, axis=0)


def assert_all(env, good, what):
    wrong = [case for case, ok in zip(cases(env), good, strict=True) if not ok]
    assert np.all(good), f"{what}: {wrong}"


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
        return with_trajectories(Hypergrid(num_dims, 8, corners(reward)))


def with_trajectories(env):
    params = exact_optimum(env, jax.random.key(0))
    gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
    uniform = jax.tree.map(jnp.zeros_like, params)
    sample = jax.jit(gfn.sample, static_argnums=2)
    return env, params, sample(uniform, jax.random.key(1), 64)


def edge_reward(adjacency):
    weights = jnp.sin(jnp.arange(adjacency.size).astype(jnp.result_type(float)))
    return jnp.where(adjacency.reshape(-1), weights, 0.0).sum()


def test_sampled_trajectories_of_grids(grid, x64):
    check(*grid)


@pytest.mark.parametrize(
    "make",
    [
        lambda: additive_set(np.array([0.3, -1.0, 0.5, 0.9]), 2),
        lambda: graph_problem("dominating-set", path(6), 0.7),
        pytest.param(lambda: graph_problem("max-cut", path(5), 0.7), marks=pytest.mark.long),
        pytest.param(lambda: DAGs(3, edge_reward), marks=pytest.mark.slow),
        pytest.param(lambda: GraphBuilding(3, 2, reward=Triangles()), marks=pytest.mark.slow),
        pytest.param(
            lambda: molecules(blocks_differ, two_fragments(), max_blocks=4), marks=pytest.mark.long
        ),
    ],
    ids=["sets", "dominating-sets", "cuts", "dags", "graphs", "molecules"],
)
def test_sampled_trajectories_with_partial_rewards(make, x64):
    check(*with_trajectories(make()))


def around():
    """s_0 -> 1 -> 2 -> 3 -> {4, 5} with 3 -> 2 and 2 -> 1: a walk may go round."""
    return tabular_graph([[1], [2], [3, 1], [4, 2, 5], [], []], [0.0] * 4 + [0.3, -1.0], 8)


REFUSED = {"vargrad", "cb", "mdb", "msubtb", "msubtb-.5", "vargrad-group", "pg-baseline"}
REFUSED |= {"pg-gae", "ent-ppo", "f-tb", "f-tb-js"}


def test_a_tabular_graph_with_cycles(x64):
    env, params, trajectories = with_trajectories(around())
    assert trajectories.cut.any()
    assert not trajectories.cut.all()
    check(env, params, trajectories)


@pytest.mark.long
def test_a_grid_with_cycles_and_a_random_source(x64):
    env, params, trajectories = with_trajectories(UniformSourceHypergrid(2, 3, max_steps=9))
    assert trajectories.cut.any()
    assert {name for name, _ in cases(env)} == OBJECTIVES.keys() - REFUSED
    check(env, params, trajectories)


def test_each_objective_is_checked_somewhere():
    # A typing mistake in an ability would drop an objective from every list.
    assert {name for name, _ in cases(Hypergrid(2, 8))} == set(OBJECTIVES)
    everywhere = {name for name, _ in cases(diamond())}
    assert set(OBJECTIVES) - everywhere == {
        "mdb",
        "msubtb",
        "msubtb-.5",
        "fl-db",
        "fl-subtb",
        "fl-tb",
        "prefix-tb",
    }


def test_the_optimum_of_a_grid_pushes_forward_to_the_target(grid, x64):
    env, params, trajectories = grid
    assert int(trajectories.length.max()) > 8
    graph = build_graph(env)
    table = exact.policy_table(Model(env, tabular_policy(env)), params)
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
    loss = dict(zip(cases(env), losses, strict=True))
    np.testing.assert_allclose(loss["tb", "square"], 1, atol=1e-12)
    for name in ("vargrad", "db", "fm", "subtb-.9"):
        np.testing.assert_allclose(loss[name, "square"], 0, atol=1e-12)
