import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs import dags
from gfnjax.envs.base import Enumerable, PartialReward
from gfnjax.envs.dags import DAGs
from gfnjax.envs.drawing import Renderable
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.testing import check_environment, check_objective


def edge_reward(adjacency):
    """Distinct weights of edges, so that no two graphs are confused."""
    weights = jnp.sin(jnp.arange(adjacency.size).astype(jnp.result_type(float)))
    return jnp.where(adjacency.reshape(-1), weights, 0.0).sum()


def is_acyclic(adjacency):
    power = np.eye(len(adjacency), dtype=int)
    for _ in range(len(adjacency)):
        power = power @ adjacency
    return not power.any()


@pytest.mark.slow
@pytest.mark.parametrize("num_nodes", [1, 3, 7])
def test_it_keeps_the_contract(num_nodes, key):
    env = DAGs(num_nodes, edge_reward)
    assert isinstance(env, Enumerable) == (num_nodes < 7)
    assert isinstance(env, PartialReward)
    assert isinstance(env, Renderable)
    check_environment(env, key, num_trajectories=2)


@pytest.mark.parametrize(
    ("num_nodes", "count"), [(1, 1), (2, 3), (3, 25), (4, 543), (5, 29281), (6, 3781503)]
)
def test_number_of_dags(num_nodes, count):
    assert dags.num_dags(num_nodes) == count
    if num_nodes <= 5:
        codes = dags.dag_codes(num_nodes)
        assert len(codes) == count
        assert (np.diff(codes) > 0).all()


@pytest.mark.slow
def test_enumeration_is_exactly_the_acyclic_graphs():
    env = DAGs(4, edge_reward)
    states = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32))
    listed = {bytes(a) for a in np.asarray(states.adjacency)}
    off_diagonal = ~np.eye(4, dtype=bool)
    expected = set()
    for bits in itertools.product([False, True], repeat=12):
        adjacency = np.zeros((4, 4), bool)
        adjacency[off_diagonal] = bits
        if is_acyclic(adjacency.astype(int)):
            expected.add(bytes(adjacency))
    assert listed == expected
    assert np.asarray(states.stopped).sum() == 543


@pytest.mark.slow
def test_masks_and_closures_of_all_states_by_matrix_powers():
    env = DAGs(4, edge_reward)
    states = jax.vmap(env.state_at)(jnp.arange(543, dtype=jnp.int32))
    masks = np.asarray(jax.vmap(env.forward_mask)(states))
    for adjacency, mask in list(zip(np.asarray(states.adjacency), masks, strict=True))[::7]:
        for u, v in itertools.product(range(4), repeat=2):
            child = adjacency.astype(int)
            child[u, v] = 1
            allowed = not adjacency[u, v] and is_acyclic(child)
            assert mask[4 * u + v] == allowed
        assert mask[16]


@pytest.mark.slow
def test_closure_is_kept_up_to_date_by_steps(key):
    env = DAGs(6, edge_reward)

    def walk(state, key):
        mask = env.forward_mask(state).at[-1].set(False)
        logits = jnp.where(mask, 0.0, -jnp.inf).at[-1].set(jnp.where(mask.any(), -jnp.inf, 0.0))
        state = env.step(state, jax.random.categorical(key, logits))
        return state, state

    _, states = jax.lax.scan(walk, env.initial_state(), jax.random.split(key, env.max_steps))
    for adjacency, closure in zip(states.adjacency, states.closure, strict=True):
        reached = np.linalg.matrix_power(np.eye(6, dtype=int) + np.asarray(adjacency).T, 6) > 0
        np.testing.assert_array_equal(closure, reached)
    assert bool(states.stopped[-1])
    assert int(states.adjacency[-1].sum()) == 15


def test_exact_posterior_is_the_normalised_reward():
    env = DAGs(3, edge_reward)
    graph = build_graph(env)
    log_z = exact.target_distribution(graph)[1]
    total = 0.0
    for bits in itertools.product([0, 1], repeat=6):
        adjacency = np.zeros((3, 3), int)
        adjacency[~np.eye(3, dtype=bool)] = bits
        if is_acyclic(adjacency):
            total += np.exp((np.sin(np.arange(9)) * adjacency.reshape(-1)).sum())
    np.testing.assert_allclose(log_z, np.log(total), rtol=1e-6)
    assert graph.levels.shape[0] == env.max_steps + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [TrajectoryBalance(), DetailedBalance(), SubTrajectoryBalance(), FlowMatching()],
    ids=lambda objective: type(objective).__name__,
)
def test_objectives_vanish_at_the_exact_optimum(objective, key):
    check_objective(objective, key, env=DAGs(3, edge_reward), batch_size=32)


def test_render_gives_edge_marginals():
    env = DAGs(2, edge_reward)
    states = jax.vmap(env.state_at)(jnp.arange(3, dtype=jnp.int32))
    (panel,) = env.render(states, np.array([0.2, 0.5, 0.3]))
    adjacency = np.asarray(states.adjacency)
    expected = 0.2 * adjacency[0] + 0.5 * adjacency[1] + 0.3 * adjacency[2]
    np.testing.assert_allclose(panel.values, expected)


def test_errors():
    with pytest.raises(ValueError, match="num_nodes must be at least 1, got 0"):
        DAGs(0, edge_reward)
    with pytest.raises(ValueError, match="num_nodes must be at most 6"):
        DAGs(7, edge_reward).state_at(jnp.zeros((), jnp.int32))
