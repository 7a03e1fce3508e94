import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.base import Enumerable, PartialReward
from gfnjax.envs.drawing import Renderable
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.rewards.ising import IsingReward, lattice
from gfnjax.testing import check_environment, check_objective


@pytest.mark.parametrize("side", [2, 5])
def test_it_keeps_the_contract(side, key):
    env = Ising(side, lattice(side, 0.2))
    assert isinstance(env, Enumerable) == (side < 5)
    assert isinstance(env, PartialReward)
    assert isinstance(env, Renderable)
    check_environment(env, key, num_trajectories=2)


def test_actions_set_a_spin_and_only_once():
    env = Ising(2, lattice(2, 0.2))
    up = env.step(env.initial_state(), jnp.int32(4 + 1))
    np.testing.assert_array_equal(up.spins, [0, 1, 0, 0])
    np.testing.assert_array_equal(env.step(up, jnp.int32(1)).spins, [0, 1, 0, 0])
    down = env.step(up, jnp.int32(2))
    np.testing.assert_array_equal(down.spins, [0, 1, -1, 0])
    np.testing.assert_array_equal(env.forward_mask(down), [1, 0, 0, 1, 1, 0, 0, 1])
    np.testing.assert_array_equal(env.backward_mask(down), [0, 1, 1, 0])
    assert int(env.forward_action(down, jnp.int32(1))) == 5
    assert int(env.forward_action(down, jnp.int32(2))) == 2


def test_exact_log_z_of_the_3_by_3_lattice():
    env = Ising(3, lattice(3, 0.1))
    graph = build_graph(env)
    assert graph.num_states == 3**9
    np.testing.assert_allclose(exact.target_distribution(graph)[1], 6.66974, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [TrajectoryBalance(), DetailedBalance(), SubTrajectoryBalance(), FlowMatching()],
    ids=lambda objective: type(objective).__name__,
)
def test_objectives_vanish_at_the_exact_optimum(objective, key):
    couplings = jax.random.normal(key, (4, 4)) * 0.3
    check_objective(objective, key, env=Ising(2, IsingReward(couplings)), batch_size=32)


def test_render():
    env = Ising(2, lattice(2, 0.2))
    states = IsingState(jnp.array([[1, 1, -1, 1], [-1, -1, -1, -1]]))
    bars, heat = env.render(states, np.array([0.25, 0.75]))
    np.testing.assert_allclose(bars.values, [0.75, 0, 0, 0.25, 0])
    np.testing.assert_allclose(heat.values, [[1, 1], [0.5, 1]])


def test_errors():
    with pytest.raises(ValueError, match="side must be at least 2, got 1"):
        Ising(1, lattice(2, 0.2))
    env = Ising(5, lattice(5, 0.2))
    with pytest.raises(ValueError, match=r"side must be at most 4 .* got 5"):
        env.state_index(env.initial_state())


def test_the_target_is_known_where_all_neighbours_are_coupled_alike():
    assert Ising(4, lattice(4, 0.2)).target().log_z == pytest.approx(14.56109, abs=1e-5)
    assert Ising(3, IsingReward(jnp.eye(9))).target() is None
    assert Ising(3, lambda spins: jnp.float32(0)).target() is None
    assert Ising(11, lattice(11, 0.2)).target() is None


@pytest.mark.slow
def test_reference_samples_are_drawn_like_any_others():
    bars, heat = Ising(2, lattice(2, 0.3)).render_target()
    # Four spins in a ring, each bond counted twice: R = exp(2 sigma x sum of bonds).
    spins = np.array(list(itertools.product((-1, 1), repeat=4)))
    adjacency = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
    weight = np.exp(0.3 * np.einsum("ni,ij,nj->n", spins, adjacency, spins))
    weight /= weight.sum()
    expected = np.bincount((spins == 1).sum(axis=1), weight)
    np.testing.assert_allclose(bars.values, expected, atol=0.06)
    np.testing.assert_allclose(
        heat.values.ravel()[1], weight @ (spins[:, 0] * spins[:, 1]), atol=0.1
    )
