"""The state graph: edges, levels, and errors that say what is wrong."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from gfnjax import Hypergrid, tabular_dag
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import diamond


@pytest.mark.slow
def test_diamond_edges_and_levels():
    graph = build_graph(diamond())
    assert graph.num_states == 5
    np.testing.assert_array_equal(graph.terminal, [False, False, False, True, True])
    np.testing.assert_array_equal(graph.children[0], [1, 2])
    np.testing.assert_array_equal(graph.children[1], [3, 4])
    np.testing.assert_array_equal(graph.forward_mask[2], [True, False])
    assert graph.children[2, 0] == 3
    # 3 is entered from 1 by its action 0 and from 2 by its action 0.
    np.testing.assert_array_equal(graph.parents[3], [1, 2])
    np.testing.assert_array_equal(graph.parent_actions[3], [0, 0])
    assert graph.parents[4, 0] == 1
    assert graph.parent_actions[4, 0] == 1
    np.testing.assert_array_equal(graph.backward_mask.sum(axis=1), [0, 1, 1, 2, 1])
    np.testing.assert_array_equal(np.sort(graph.levels[0]), [0, 5])
    np.testing.assert_array_equal(np.sort(graph.levels[1]), [1, 2])
    np.testing.assert_array_equal(np.sort(graph.levels[2]), [3, 4])


def test_levels_follow_the_longest_path():
    # 0 -> 2 directly and through 1: 2 belongs after 1.
    graph = build_graph(tabular_dag([[1, 2], [2], [3], []], [0.0] * 4))
    np.testing.assert_array_equal(graph.levels, [[0], [1], [2], [3]])


def test_grid_levels_hold_every_state_once():
    env = Hypergrid(2, 4)
    levels = np.asarray(build_graph(env).levels)
    states = levels[levels < env.num_states]
    np.testing.assert_array_equal(np.sort(states), np.arange(env.num_states))
    assert levels.shape[0] == env.max_steps + 1


def test_not_enumerable():
    class Plain:
        num_actions = 1

    with pytest.raises(TypeError, match="Enumerable environment, got Plain"):
        build_graph(Plain())


def test_too_many_states():
    with pytest.raises(ValueError, match=r"Hypergrid has 2,000,000,000 states, more than the .*"):
        build_graph(Hypergrid(9, 10))


@struct.dataclass
class Island(Hypergrid):
    """The last row of cells cannot be entered."""

    def forward_mask(self, state: HypergridState):
        mask = super().forward_mask(state)
        return mask & ((jnp.arange(self.num_actions) != 0) | (state.position[0] < self.side - 2))


@struct.dataclass
class Hurried(Hypergrid):
    """Promises too few steps."""

    @property
    def max_steps(self) -> int:
        return 3


def test_unreachable_states():
    with pytest.raises(ValueError, match="state 6 cannot be reached from s_0"):
        build_graph(Island(2, 3))


def test_trajectories_longer_than_promised():
    with pytest.raises(ValueError, match="a trajectory is longer than max_steps = 3"):
        build_graph(Hurried(2, 3))


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([0.0, -np.inf, -np.inf], "log_reward is -inf in all 2 terminal states"),
        ([0.0, 1.0, np.nan], "log_reward is nan in terminal state 2"),
        ([0.0, np.inf, 0.0], "log_reward is inf in terminal state 1"),
    ],
)
def test_rewards_that_make_no_distribution(rewards, message):
    env = tabular_dag([[1, 2], [], []], [0.0, 0.0, 0.0]).replace(log_rewards=jnp.array(rewards))
    with pytest.raises(ValueError, match=message):
        build_graph(env)


def test_rewards_off_terminal_states_do_not_matter():
    env = tabular_dag([[1, 2], [], []], [0.0, -np.inf, 1.0])
    graph = build_graph(env.replace(log_rewards=env.log_rewards.at[0].set(jnp.nan)))
    assert exact.target_distribution(graph)[1] == 1
