"""Windows of unfinished rollouts: they chain, start anew, and end where trajectories do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    LogPartitionVariance,
    SubTrajectoryBalance,
    TrajectoryBalance,
    tabular_policy,
)
from gfnjax.objectives.cyclic_balance import RegularisedDetailedBalance
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.samplers import Windows
from gfnjax.testing import exact_optimum

ENV = Hypergrid(2, 4)
POLICY = tabular_policy(ENV)
LENGTH = 3
BATCH = 16


def describe(objective, env=ENV):
    return GFlowNet(env, POLICY, objective, sampler=Windows(LENGTH), batch_size=BATCH)


@jax.jit
def draws(gfn, params, key):
    """Seven batches in a row: `[7, B, ...]` windows."""
    init_key, memory_key, key = jax.random.split(key, 3)
    values = gfn.values(gfn.init(init_key).hyperparameters, jnp.zeros((), jnp.int32))
    act = gfn.behaviour(values)

    def draw(memory, key):
        batch, memory = gfn.sampler.draw(gfn.model, params, memory, key, act, BATCH)
        return memory, batch.trajectories

    memory = gfn.sampler.init(gfn.model, params, memory_key, BATCH)
    return jax.lax.scan(draw, memory, jax.random.split(key, 7))[1]


@pytest.fixture(scope="module")
def windows():
    gfn = describe(DetailedBalance())
    key = jax.random.key(3)
    uniform = jax.tree.map(jnp.zeros_like, exact_optimum(ENV, jax.random.key(4)))
    return jax.tree.map(np.asarray, draws(gfn, uniform, key))


def test_a_window_from_within_costs_the_flow_of_its_first_state(windows):
    gfn = describe(RegularisedDetailedBalance(1.0))
    params = exact_optimum(ENV, jax.random.key(4))
    paths = jax.tree.map(lambda x: jnp.asarray(x[3]), windows)
    scores = jax.jit(gfn.score)(params, paths)
    found = jax.vmap(gfn.objective.penalties)(scores)
    at_source = (windows.states.position[3, :, :LENGTH] == 0).all(axis=-1)
    live = np.arange(LENGTH) < windows.length[3][:, None]
    assert 0 < at_source[:, 0].mean() < 1
    expected = np.where(live & ~at_source, np.exp(scores.log_flow[:, :LENGTH]), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_transitions_follow_the_rules_and_each_other(windows):
    position, stopped = windows.states
    live = np.arange(LENGTH) < windows.length[..., None]
    assert windows.actions.shape == (7, BATCH, LENGTH)
    assert 0 < live.mean() < 1
    # Action d adds one to coordinate d, action 2 stops.
    step = np.where(windows.actions[..., None] == np.arange(2), 1, 0) * live[..., None]
    np.testing.assert_array_equal(position[:, :, 1:], position[:, :, :-1] + step)
    np.testing.assert_array_equal(
        stopped[:, :, 1:], stopped[:, :, :-1] | (live & (windows.actions == 2))
    )
    # A window goes on from where the one before ended, or from s_0 if that was the end.
    ended = stopped[:-1, :, -1]
    assert 0 < ended.mean() < 1
    expected = np.where(ended[..., None], 0, position[:-1, :, -1])
    np.testing.assert_array_equal(position[1:, :, 0], expected)
    assert not stopped[:, :, 0].any()
    np.testing.assert_array_equal(position[0, :, 0], 0)


def test_only_the_end_of_a_trajectory_cuts_a_window_short(windows):
    short = windows.length < LENGTH
    ended = windows.states.stopped[:, :, -1]
    assert short.any()
    assert ended[short].all()
    assert (windows.length[~ended] == LENGTH).all()
    # In some windows the end falls on the last step.
    assert (ended & ~short).any()


OBJECTIVES = [
    DetailedBalance(),
    SubTrajectoryBalance(0.9),
    ForwardLooking(DetailedBalance()),
    ModifiedDetailedBalance(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_objectives_vanish_at_the_optimum_and_see_the_reward_of_terminal_states_only(
    objective, windows, x64
):
    env = Hypergrid(2, 4)
    gfn = describe(objective, env)
    optimum = exact_optimum(env, jax.random.key(0), looks_forward=objective.looks_forward)
    third = jax.tree.map(lambda x: jnp.asarray(x[2]), windows)
    complete = third.states.stopped[:, -1]
    exactly = jax.vmap(env.log_reward)(jax.tree.map(lambda x: x[:, -1], third.states))
    value_and_grad = jax.jit(jax.value_and_grad(gfn.loss))

    def at(log_reward, params=optimum):
        return value_and_grad(params, third._replace(log_reward=log_reward))

    loss, grads = at(exactly)
    assert loss < 1e-20
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-9
    table = optimum.policy["params"]
    off = {**table, "forward_logits": table["forward_logits"] * 0.5}
    assert at(exactly, optimum._replace(policy={"params": off}))[0] > 1e-3
    # What an unfinished trajectory would be worth is not read; of a finished one it is, but by
    # modified detailed balance, which has log R of every state from the environment.
    assert at(jnp.where(complete, exactly, 100.0))[0] < 1e-20
    read = at(jnp.where(complete, exactly + 1, exactly))[0]
    assert (read > 1e-3) == (not isinstance(objective, ModifiedDetailedBalance))


@pytest.mark.parametrize("objective", [TrajectoryBalance(), LogPartitionVariance()])
def test_whole_trajectories_are_needed_by_some(objective):
    with pytest.raises(ValueError, match="needs complete trajectories; learn from windows with"):
        describe(objective)


def test_a_window_has_a_step():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        Windows(0)


def test_training_goes_on_from_the_memory(key):
    gfn = describe(DetailedBalance())

    @jax.jit
    def run(key):
        state = gfn.init(key)
        return state, gfn.log_z(state.params), *gfn.step(state)

    state, log_z, after, info = run(key)
    assert info.length <= LENGTH
    np.testing.assert_allclose(info.log_z, log_z, atol=0.1)
    assert (np.asarray(state.memory.position) == 0).all()
    moved = np.asarray(after.memory.position).sum(axis=1) + np.asarray(after.memory.stopped)
    assert (moved > 0).all()
