"""Graphs built of nodes and edges: every graph of four and five nodes, whatever its symmetry."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, TrajectoryBalance, tabular_policy
from gfnjax.envs.graph_building import BuiltGraph, GraphBuilding, GraphBuildingConfig, pairs
from gfnjax.envs.graph_symmetry import canonical, log_automorphisms
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.rewards.graph_building import Ring, Triangles
from gfnjax.testing import check_environment, exact_optimum


def graph(num_nodes, *edges, nodes=None, directed=False, size=None):
    """Nodes `[n]` and edges `[n, n]`; an edge is (u, v) or (u, v, class)."""
    size = num_nodes if size is None else size
    matrix = np.full((size, size), -1, np.int32)
    for u, v, *kind in edges:
        matrix[u, v] = kind[0] if kind else 0
        if not directed:
            matrix[v, u] = matrix[u, v]
    classes = np.full(size, -1, np.int32)
    classes[:num_nodes] = 0 if nodes is None else nodes
    return classes, matrix


TRIANGLE = (0, 1), (1, 2), (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        GraphBuilding(4),
        GraphBuilding(3, 2, 2, Triangles(directed=True), directed=True),
        GraphBuilding(4, fixed_nodes=True, labelled=True),
    ],
)
def test_conformance(env, key):
    check_environment(env, key, 32)


@pytest.mark.parametrize(
    ("automorphisms", "of"),
    [
        (6, graph(3, *TRIANGLE)),
        (2, graph(3, (0, 1), (1, 2))),
        (6, graph(4, (0, 1), (0, 2), (0, 3))),
        (8, graph(4, (0, 1), (1, 2), (2, 3), (3, 0))),
        (24, graph(4)),
        (3, graph(3, *TRIANGLE, directed=True)),
        (1, graph(3, (0, 1), (1, 2), directed=True)),
        (2, graph(3, *TRIANGLE, nodes=[0, 1, 1])),
        (2, graph(3, (0, 1, 1), (1, 2), (2, 0))),
        (6, graph(3, *TRIANGLE, size=5)),
        (1, graph(0, size=4)),
        (5_040, graph(7)),
    ],
)
def test_automorphisms_by_hand(automorphisms, of):
    found = log_automorphisms(*map(jnp.asarray, of))
    assert float(jnp.exp(found)) == pytest.approx(automorphisms, rel=1e-5)


def test_canonical_forms_are_those_of_all_numberings():
    rng = np.random.default_rng(0)
    form = jax.jit(jax.vmap(canonical))
    orders = np.array(list(permutations(range(4))))
    for _ in range(5):
        matrix = rng.integers(-1, 2, (4, 4)).astype(np.int32)
        nodes = rng.integers(0, 2, 4).astype(np.int32)
        numberings = np.stack([matrix[np.ix_(order, order)] for order in orders])
        found = form(nodes[orders], numberings)
        for x in found:
            assert (np.asarray(x) == np.asarray(x)[:1]).all()
    # Absent nodes come last.
    nodes, matrix = canonical(*map(jnp.asarray, graph(2, (0, 1), size=4)))
    np.testing.assert_array_equal(nodes, [0, 0, -1, -1])
    assert matrix[0, 1] == 0


def all_states(env):
    indices = jnp.arange(env.num_states, dtype=jnp.int32)
    return jax.jit(jax.vmap(env.state_at))(indices)


def objects(num_nodes, **options):
    """`[N]` for each state of the environment a number of its object."""
    env = GraphBuilding(num_nodes, **options)
    index = jax.jit(jax.vmap(lambda state: env.state_index(env.canonical(state))))
    return np.unique(index(all_states(env)), return_inverse=True)[1]


@pytest.mark.parametrize(("num_nodes", "classes"), [(3, 4), (4, 11), (5, 34)])
def test_numberings_of_a_graph_are_counted(num_nodes, classes):
    env = GraphBuilding(num_nodes, fixed_nodes=True)
    states = all_states(env)
    number = objects(num_nodes, fixed_nodes=True)
    assert env.num_states == 2 * 2 ** (num_nodes * (num_nodes - 1) // 2)
    assert number.max() + 1 == 2 * classes  # each unfinished and finished
    found = np.exp(jax.jit(jax.vmap(env.log_multiplicity))(states))
    np.testing.assert_allclose(found, np.bincount(number)[number], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_nodes", "fixed", "distance"), [(3, True, 0.25), (4, True, 0.295455), (4, False, None)]
)
def test_all_graphs_alike_at_the_optimum(num_nodes, fixed, distance, key, x64):
    """Without the correction the likeliest graphs are those with most numberings."""
    number = objects(num_nodes, fixed_nodes=fixed)
    for labelled in (False, True):
        env = GraphBuilding(num_nodes, fixed_nodes=fixed, labelled=labelled)
        states = build_graph(env)
        gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
        table = exact.policy_table(gfn.model, exact_optimum(env, key))
        learned = np.exp(exact.terminating_distribution(states, table.log_pf))
        terminal = np.asarray(states.terminal)
        mass = np.bincount(np.unique(number[terminal], return_inverse=True)[1], learned[terminal])
        assert (
            mass.size == {(3, True): 4, (4, True): 11, (4, False): 1 + 2 + 4 + 11}[num_nodes, fixed]
        )
        found = np.abs(mass - 1 / mass.size).sum() / 2
        if not labelled:
            assert found < 1e-6
        elif distance is None:
            assert found > 0.2
        else:
            assert found == pytest.approx(distance, abs=1e-6)


def test_steps_by_hand():
    env = GraphBuilding(3, 2, 2)
    assert env.num_actions == 2 + 2 * 3 + 1
    assert env.num_backward_actions == 3 + 2
    assert env.max_steps == 3 + 3 + 1
    state = env.initial_state()
    # Nodes of both classes, but neither an edge nor a stop.
    np.testing.assert_array_equal(np.flatnonzero(env.forward_mask(state)), [0, 1])
    for action in (1, 0, 2 + 1 * 3 + 0):  # two nodes, and an edge of class 1 between them
        assert env.forward_mask(state)[action]
        state = env.step(state, jnp.int32(action))
    np.testing.assert_array_equal(state.nodes, [1, 0, -1])
    np.testing.assert_array_equal(state.edges, [1, -1, -1])
    np.testing.assert_array_equal(env.matrix(state), [[-1, 1, -1], [1, -1, -1], [-1, -1, -1]])
    # The last node has an edge: that comes first.
    np.testing.assert_array_equal(env.backward_mask(state), [True, False, False, False, False])
    assert env.forward_action(state, jnp.int32(0)) == 2 + 1 * 3 + 0
    state = env.backward_step(state, jnp.int32(0))
    np.testing.assert_array_equal(env.backward_mask(state), [False, False, False, True, False])
    assert env.forward_action(state, jnp.int32(3)) == 0
    end = env.step(state, jnp.int32(env.stop_action))
    np.testing.assert_array_equal(env.backward_mask(end), [False, False, False, False, True])
    assert not env.forward_mask(end).any()


def test_rewards_by_hand():
    four = (0, 1), (1, 2), (2, 3), (3, 0)
    whole = tuple((u, v) for v in range(4) for u in range(v))

    def value(reward, *args, **options):
        reward = reward.replace(directed=options.get("directed", False))
        return float(reward(*map(jnp.asarray, graph(*args, **options))))

    triangles, ring = Triangles(0.5), Ring(3.0)
    assert value(triangles, 3, *TRIANGLE) == pytest.approx(0.5)
    assert value(triangles, 4, *whole) == pytest.approx(2.0)
    assert value(triangles, 4, *four) == 0.0
    assert value(triangles, 3, *TRIANGLE, directed=True) == pytest.approx(0.5)
    assert value(triangles, 3, (0, 1), (1, 2), (0, 2), directed=True) == 0.0
    assert value(ring, 4, *four) == 3.0
    assert value(ring, 4, *four, size=6) == 3.0
    assert value(ring, 4, *TRIANGLE) == 0.0  # a node is alone
    assert value(ring, 6, *TRIANGLE, (3, 4), (4, 5), (5, 3)) == 0.0  # two rings
    assert value(ring, 2, (0, 1)) == 0.0
    assert value(ring, 4, *four, directed=True) == 3.0
    assert value(ring, 4, *four, (0, 2)) == 0.0
    # Edges both ways are no undirected edge: two triangles, one each way round, and no ring.
    both = tuple(edge for u, v in TRIANGLE for edge in ((u, v), (v, u)))
    assert value(triangles, 3, *both, directed=True) == pytest.approx(1.0)
    assert value(ring, 3, *both, directed=True) == 0.0


def test_rewards_know_whether_edges_have_a_direction():
    for directed in (False, True):
        made = GraphBuildingConfig(3, reward="ring", directed=directed).make()
        assert made.reward.directed == directed
        with pytest.raises(ValueError, match=f"use Triangles.directed={directed}."):
            GraphBuilding(3, reward=Triangles(directed=not directed), directed=directed)


def test_pairs_of_few_nodes_come_first():
    np.testing.assert_array_equal(pairs(3, False), [[0, 1], [0, 2], [1, 2]])
    for directed in (False, True):
        for m in range(5):
            few = pairs(m, directed)
            np.testing.assert_array_equal(pairs(5, directed)[: len(few)], few)


def test_objects_with_many_nodes_are_labelled():
    with pytest.raises(ValueError, match=r"num_nodes must be at most 7 .*: set labelled=True"):
        GraphBuilding(8)
    assert GraphBuilding(8, labelled=True).num_actions == 1 + 28 + 1
    with pytest.raises(ValueError, match="num_node_classes must be 1 with fixed_nodes"):
        GraphBuilding(4, 2, fixed_nodes=True)
    with pytest.raises(ValueError, match="num_nodes must be at least 2"):
        GraphBuilding(1)
    state = BuiltGraph(*map(jnp.asarray, (np.zeros(8, np.int32), np.zeros(28, np.int32), True)))
    assert GraphBuilding(8, labelled=True).log_multiplicity(state) == 0.0
