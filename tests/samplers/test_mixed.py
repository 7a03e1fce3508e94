"""Mixed batches: what stands in them, what is remembered, and that it all is part of the state."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    TrajectoryBalance,
    tabular_policy,
)
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.policies.causal import CausalPolicy
from gfnjax.replay import Fifo, ResidualPrioritised, RewardPrioritised, TerminalReplay, rebuild
from gfnjax.run import checkpoint
from gfnjax.samplers import Mixed, OnPolicy, Windows
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.testing import binary_tree, diamond
from gfnjax.types import PolicyOutput

ENV = diamond()
POLICY = tabular_policy(ENV)


def describe(sampler, objective=None, env=ENV, policy=POLICY, **options):
    options = {"batch_size": 8, "log_z_init": 0.0} | options
    return GFlowNet(env, policy, objective or TrajectoryBalance(), sampler=sampler, **options)


init = jax.jit(GFlowNet.init)
step = jax.jit(GFlowNet.step)


@jax.jit
def draw(gfn, state):
    return gfn.draw(state)[0]


def paths(trajectories):
    return [tuple(row) for row in np.asarray(trajectories.states.index).tolist()]


def kept(buffer):
    return paths(rebuild(ENV, buffer.items))


def bits(state):
    tree = state._replace(key=jax.random.key_data(state.key))
    return [(x.dtype, x.shape, np.asarray(x).tobytes()) for x in jax.tree.leaves(tree)]


# ---------------------------------------------------------------- batches and memory


@pytest.fixture(scope="module")
def residual_run():
    """Three steps with half of each batch replayed: states and the batches that were drawn."""
    gfn = describe(Mixed(ResidualPrioritised(9)))
    states = [init(gfn, jax.random.key(0))]
    for _ in range(3):
        states.append(step(gfn, states[-1])[0])
    return gfn, states, [draw(gfn, state) for state in states[:3]]


def test_before_there_is_anything_to_replay_fresh_ones_stand_in(residual_run):
    _, states, batches = residual_run
    assert int(states[0].memory.buffer.size) == 0
    rows = paths(batches[0].trajectories)
    assert rows[4:] == rows[:4]
    assert all(row in [(0, 1, 3), (0, 1, 4), (0, 2, 3)] for row in rows)


def test_fresh_ones_are_added_and_come_back(residual_run):
    _, states, batches = residual_run
    remembered = []
    for state, batch in zip(states[:3], batches, strict=True):
        buffer = state.memory.buffer
        assert kept(buffer)[: int(buffer.size)] == remembered
        rows = paths(batch.trajectories)
        slots = np.asarray(batch.note[1])
        if remembered:
            assert rows[4:] == [remembered[i] for i in slots]
        new = rows[:4]
        # Nine slots: the third batch takes the last and starts over.
        remembered = [*remembered, *new] if len(remembered) < 8 else remembered
    buffer = states[3].memory.buffer
    last = paths(batches[2].trajectories)[:4]
    assert kept(buffer) == [*last[1:], *remembered[3:8], last[0]]
    assert int(buffer.cursor) == 3


def test_priorities_are_the_residuals_of_the_step(residual_run):
    # Under the uniform policy, log Z = 0: log P_F - log P_B - log R by hand.
    residuals = {(0, 1, 3): np.log(1 / 4 / (1 / 2)), (0, 2, 3): np.log(1 / 2 / (1 / 2))}
    residuals[0, 1, 4] = np.log(1 / 4 / 2)
    _, states, batches = residual_run
    first = states[1].memory.buffer
    expected = [abs(residuals[path]) for path in kept(first)[:4]]
    np.testing.assert_allclose(first.priority[:4], expected, atol=1e-6)
    # A step later: those that were replayed have the residual they had then, others the old one.
    second, slots = states[2].memory.buffer, set(np.asarray(batches[1].note[1]).tolist())
    table = jax.tree.map(np.asarray, states[1].params.policy["params"])
    children, undo = np.asarray(ENV.children), np.asarray(ENV.undo)

    def log_prob(logits, valid, action):
        return logits[action] - np.log(np.exp(logits[valid]).sum())

    def residual(path):
        total = float(states[1].params.log_z) - float(ENV.log_rewards[path[-1]])
        for s, t in pairwise(path):
            action = children[s].tolist().index(t)
            total += log_prob(table["forward_logits"][s], children[s] >= 0, action)
            valid = np.asarray(ENV.parents)[t] >= 0
            total -= log_prob(table["backward_logits"][t], valid, undo[s, action])
        return abs(total)

    assert len(slots) > 0
    for slot, path in enumerate(kept(second)[:8]):
        now = slot in slots or slot >= 4
        expected = residual(path) if now else float(first.priority[slot])
        np.testing.assert_allclose(second.priority[slot], expected, rtol=1e-4, atol=1e-6)


def test_shares_are_fixed():
    mixed = Mixed(Fifo(99), 0.5, LocalSearch(), 0.25)
    assert mixed.counts(16) == (4, 4, 8)
    assert mixed.counts(10) == (3, 2, 5)
    assert Mixed(Fifo(99), 0.29).counts(100) == (71, 0, 29)  # .29 * 100 < 29 in binary
    assert Mixed(local_search=LocalSearch()).counts(8) == (6, 2, 0)


def test_searched_ones_are_learned_from_and_remembered(key):
    # A search that is greedy and goes all the way back: from 3 (R = 1) only 4 (R = 2) improves.
    how = LocalSearch(num_rounds=30, back_share=1.0)
    gfn = describe(Mixed(RewardPrioritised(40), 0.25, how, 0.5))
    state, info = step(gfn, init(gfn, key))
    buffer = state.memory.buffer
    assert int(buffer.size) == 6
    fresh, searched = kept(buffer)[:2], kept(buffer)[2:6]
    assert [row[-1] for row in searched] == [4] * 4
    # Two fresh ones stand in for the two to be replayed.
    log_reward = [np.log(2) * (row[-1] == 4) for row in [*fresh, *searched, *fresh]]
    np.testing.assert_allclose(info.log_reward, np.mean(log_reward), rtol=1e-6)


# ---------------------------------------------------------------- part of the state


def test_one_compilation_and_a_run_that_is_resumed_is_the_same_run(key, tmp_path):
    mixed = Mixed(TerminalReplay(RewardPrioritised(20, unique=True)), local_search=LocalSearch(1))
    gfn = describe(mixed, hyperparameters=Hyperparameters(0.05, 0.05, epsilon=0.1))
    traces = []

    @jax.jit
    def counted(gfn, state):
        traces.append(1)
        return gfn.step(state)

    state = init(gfn, key)
    for i in range(4):
        state, _ = counted(gfn, state)
        if i == 1:
            checkpoint.write(tmp_path / "half.ckpt", state)
    assert len(traces) == 1
    half = checkpoint.read(tmp_path / "half.ckpt", init(gfn, jax.random.key(9)))
    assert int(half.memory.buffer.size) > 0
    for _ in range(2):
        half, _ = counted(gfn, half)
    assert bits(half) == bits(state)
    # States of objects, not of trajectories.
    assert state.memory.buffer.items.index.shape == (20,)
    filled = int(state.memory.buffer.size)
    assert set(state.memory.buffer.items.index[:filled].tolist()) == {3, 4}


@pytest.mark.slow
def test_seeds_side_by_side(residual_run):
    gfn, states, _ = residual_run

    def run(key):
        return jax.lax.scan(lambda state, _: gfn.step(state), gfn.init(key), length=3)[0]

    keys = jax.random.clone(jnp.stack([jax.random.key(7), jax.random.key(0)]))
    memory = jax.jit(jax.vmap(run))(keys).memory
    alone = states[3].memory
    for x, y in zip(jax.tree.leaves(memory), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(x[1], y, rtol=1e-4, atol=1e-6)
    assert (memory.buffer.items.actions[0] != memory.buffer.items.actions[1]).any()


# ---------------------------------------------------------------- windows, causal policies


def test_a_stream_of_transitions_is_replayed(key):
    gfn = describe(Mixed(RewardPrioritised(40), fresh=Windows(1)), DetailedBalance())
    state = init(gfn, key)
    for _ in range(4):
        state, info = step(gfn, state)
    buffer = state.memory.buffer
    assert np.isfinite(float(info.loss))
    assert int(buffer.size) == 16
    pairs = kept(buffer)[:16]
    edges = {(0, 1), (0, 2), (1, 3), (1, 4), (2, 3)}
    assert set(pairs) <= edges
    # Rollouts have two transitions, in step with each other: every other batch is interior.
    assert [end in (3, 4) for _, end in pairs] == buffer.complete[:16].tolist()
    assert buffer.complete[:16].tolist() == [False] * 4 + [True] * 4 + [False] * 4 + [True] * 4


def by_table(num_actions, horizon):
    """A causal policy that looks only at how many actions were taken."""

    def output(params, t):
        return PolicyOutput(params[t], jnp.zeros(1), jnp.zeros(()))

    return CausalPolicy(
        init=lambda key, seen: jnp.zeros((horizon + 1, num_actions)),
        start=lambda params, seen: jnp.zeros(()),
        step=lambda params, memory, token, t: (memory, output(params, t)),
        unroll=lambda params, seen, tokens: jax.vmap(partial(output, params))(
            jnp.arange(tokens.size, dtype=jnp.int32)
        ),
    )


def test_a_causal_policy_goes_back_as_well(key):
    # Its states have one parent each: the way back is no choice, and P_B = 1.
    env = binary_tree()
    policy = by_table(env.num_actions, env.max_steps)
    mixed = Mixed(TerminalReplay(Fifo(30)), 0.25, LocalSearch(1, num_back=1), 0.25)
    gfn = describe(mixed, env=env, policy=policy)
    state, info = step(gfn, init(gfn, key))
    assert np.isfinite(float(info.loss))
    ends = np.asarray(state.memory.buffer.items.index)[:6]
    parents = (ends - 1) // 2  # as in a heap
    np.testing.assert_array_equal(parents[4:], parents[:2])  # searched: one step back
    stored = jax.tree.map(lambda x: x[:6], state.memory.buffer.items)
    rows = np.array(paths(mixed.replay.rebuild(gfn.model, state.params, key, stored)))
    np.testing.assert_array_equal(rows[:, -1], ends)
    np.testing.assert_array_equal(rows[:, :-1], (rows[:, 1:] - 1) // 2)


# ---------------------------------------------------------------- outcomes

GRID = Hypergrid(2, 8)
GRID_POLICY = tabular_policy(GRID)
KINDS = {
    "fresh": (OnPolicy(), TrajectoryBalance()),
    "fifo": (Mixed(Fifo(1000)), TrajectoryBalance()),
    "reward": (Mixed(RewardPrioritised(1000, unique=True)), TrajectoryBalance()),
    "residual": (Mixed(ResidualPrioritised(1000)), TrajectoryBalance()),
    "terminal": (Mixed(TerminalReplay(Fifo(1000))), TrajectoryBalance()),
    "transitions": (Mixed(RewardPrioritised(1000), fresh=Windows(2)), DetailedBalance()),
    "greedy": (Mixed(local_search=LocalSearch()), TrajectoryBalance()),
    "metropolis": (
        Mixed(Fifo(1000), 0.25, LocalSearch(acceptance="metropolis")),
        TrajectoryBalance(),
    ),
}


@pytest.fixture(scope="module")
def total_variation():
    graph = build_graph(GRID)

    @jax.jit
    def distance(params):
        table = exact.policy_table(Model(GRID, GRID_POLICY), params)
        return exact.evaluate(graph, table.log_pf).total_variation

    return distance


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("kind", list(KINDS))
def test_training_on_every_kind_of_batch_comes_close_to_the_target(kind, key, total_variation):
    sampler, objective = KINDS[kind]
    rates = Hyperparameters(0.05, 0.1, epsilon=0.05)
    gfn = describe(sampler, objective, GRID, GRID_POLICY, hyperparameters=rates, batch_size=32)

    @jax.jit
    def run(key):
        state = gfn.init(key)
        return state, jax.lax.scan(lambda state, _: gfn.step(state), state, length=1500)[0]

    before, after = (float(total_variation(state.params)) for state in run(key))
    print(f"{kind}: TV {before:.3f} -> {after:.4f}")
    assert before > 0.4
    assert after < 0.1


# ---------------------------------------------------------------- errors


class OnPolicyOnly(TrajectoryBalance):
    on_policy = True


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Mixed, ValueError, "replay or local_search must be given"),
        (partial(Mixed, 1000), TypeError, r"replay must be a buffer such as Fifo\(10_000\), got"),
        (partial(Mixed, local_search="greedy"), TypeError, "local_search must be a LocalSearch"),
        (partial(Mixed, Fifo(9), 1.0), ValueError, r"replay_share must be in \(0, 1\), got 1.0"),
        (partial(Mixed, Fifo(9), 0.5, LocalSearch(), 0), ValueError, "search_share must be in"),
        (
            partial(Mixed, Fifo(9), 0.5, LocalSearch(), 0.5),
            ValueError,
            r"\+ search_share must be",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (Mixed(Fifo(99), 0.1), {"batch_size": 4}, "4 is too small for replay_share = 0.1: raise"),
        (Mixed(Fifo(99), 0.9), {"batch_size": 2}, "2 leaves 0 fresh trajectories: raise it"),
        (Mixed(Fifo(3)), {}, "the buffer takes 3 items at a time, a step adds 4; raise the cap"),
        (Mixed(Fifo(99)), {"objective": OnPolicyOnly()}, "OnPolicyOnly learns from the policy's"),
        (Mixed(Fifo(99), fresh=Windows(1)), {}, "TrajectoryBalance needs complete trajectories"),
        (
            Mixed(TerminalReplay(Fifo(99)), fresh=Windows(1)),
            {"objective": DetailedBalance()},
            r"TerminalReplay and local_search need whole ones, from fresh=OnPolicy\(\)",
        ),
        (Mixed(local_search=LocalSearch(num_back=3)), {}, "num_back must be between 1 and max_st"),
    ],
)
def test_what_does_not_fit_the_run_is_refused_at_construction(sampler, options, message):
    with pytest.raises(ValueError, match=message):
        describe(sampler, **options)
