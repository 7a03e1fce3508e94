import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.base import Enumerable, PartialReward, Renderable
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.metrics import exact
from gfnjax.metrics.graph import build_graph
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.rewards.ising import IsingReward, lattice
from gfnjax.testing import check_environment, check_objective


@pytest.mark.parametrize("side", [2, 5])
def test_it_keeps_the_contract(side, key):
    env = Ising(side, lattice(side, 0.2))
    assert isinstance(env, Enumerable)
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
