"""Rollouts: valid by replaying them in plain Python, distributed as enumeration says."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from path_enumeration import all_paths, padded_dag

import gfnjax
from gfnjax import rollout, tuning
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.envs.tabular import TabularState
from gfnjax.testing import diamond

NUM_SAMPLES = 20_000


def minus_sum(position, side):
    return -position.sum().astype(float)


def grid(num_dims=2, side=4):
    return gfnjax.Hypergrid(num_dims, side, minus_sum)


ENVIRONMENTS = {
    "grid": grid,
    "line": partial(grid, 1, 2),
    "diamond": diamond,
    "dag": partial(padded_dag, 1),
}


def random_table(num_rows, num_columns, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(num_rows, num_columns)))


def forward_table(env):
    return random_table(env.num_states, env.num_actions)


def backward_table(env):
    return random_table(env.num_states, env.num_backward_actions, seed=1)


@partial(jax.jit, static_argnames=("batch_size", "recording", "ends"))
def sample(env, logits, key, batch_size, recording=False, ends=True, window=None):
    """Act by a table of logits; the record, if any, is the row that was used, and the visit."""

    def decide(state):
        row = logits[env.state_index(state)]
        return rollout.Decision(row, {"row": row, "index": env.state_index(state)})

    def record(said, state, action, undo):
        return {**said, "action": action, "undo": undo}

    record = rollout.Record(record, ends) if recording else None
    window = window and rollout.Window(*window)
    return rollout.sample_forward(env, decide, key, batch_size, window, record)


@jax.jit
def sample_back(env, logits, key, terminals):
    return rollout.sample_backward(env, lambda s: logits[env.state_index(s)], key, terminals)


class GridRules:
    """The hypergrid in plain Python: a state is (coordinates, stopped)."""

    def __init__(self, env):
        self.env = env
        self.start = (0,) * env.num_dims, False

    def path(self, states, b):
        return list(zip(map(tuple, states.position[b]), states.stopped[b], strict=True))

    def step(self, state, action):
        position, stopped = state
        assert not stopped
        if action == self.env.num_dims:
            return position, True
        assert position[action] < self.env.side - 1
        return tuple(x + (d == action) for d, x in enumerate(position)), False

    def ended(self, state):
        return state[1]

    def log_reward(self, state):
        return -float(sum(state[0]))


class TableRules:
    """A tabular DAG in plain Python: a state is its index."""

    start = 0

    def __init__(self, env):
        self.children, self.log_rewards = np.asarray(env.children), np.asarray(env.log_rewards)

    def path(self, states, b):
        return states.index[b].tolist()

    def step(self, state, action):
        assert self.children[state, action] >= 0
        return self.children[state, action]

    def ended(self, state):
        return (self.children[state] < 0).all()

    def log_reward(self, state):
        return self.log_rewards[state]


def assert_valid(env, trajectories):
    """Replay the actions; after the end there must be nothing but padding."""
    rules = TableRules(env) if isinstance(env, gfnjax.TabularDAG) else GridRules(env)
    states, actions, lengths, log_rewards, cut = jax.device_get(trajectories[:5])
    assert not cut.any()
    assert actions.dtype == lengths.dtype == np.int32
    assert actions.shape == (len(lengths), env.max_steps)
    for b, length in enumerate(lengths):
        path, state = rules.path(states, b), rules.start
        assert len(path) == env.max_steps + 1
        assert path[0] == state
        for t in range(length):
            assert not rules.ended(state)
            state = rules.step(state, actions[b, t])
            assert path[t + 1] == state
        assert rules.ended(state)
        assert all(s == state for s in path[length:])
        assert not actions[b, length:].any()
        np.testing.assert_allclose(log_rewards[b], rules.log_reward(state), rtol=1e-6)


def assert_frequencies(counts, probs):
    """Every count within 4.5 standard errors, and nothing that cannot happen."""
    total = sum(counts.values())
    assert set(counts) <= set(probs)
    for outcome, p in probs.items():
        error = np.sqrt(p * (1 - p) / total)
        assert abs(counts.get(outcome, 0) / total - p) <= 4.5 * error + 1e-9, (outcome, p)


def softmax_rows(logits, table):
    """Probabilities of the valid entries (table >= 0) of each row."""
    weights = np.where(np.asarray(table) >= 0, np.exp(np.asarray(logits, np.float64)), 0.0)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)


def exact_path_probs(env, logits):
    """The probability of each path as a tuple of states, by enumeration."""
    probs = softmax_rows(logits, env.children)
    return {
        tuple(s for s, _ in path): float(np.prod([probs[s, a] for s, a in path[:-1]]))
        for path in all_paths(env)
    }


def path_counts(trajectories):
    states, _, lengths, *_ = jax.device_get(trajectories)
    return Counter(
        tuple(row[: n + 1].tolist()) for row, n in zip(states.index, lengths, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "batch_size", "recording"),
    [
        ("grid", 40, True),
        ("grid", 1, False),
        ("line", 1, True),
        ("diamond", 1, False),
        ("diamond", 40, True),
        ("dag", 40, False),
        ("dag", 1, True),
    ],
)
def test_forward_trajectories_replay(name, batch_size, recording, key):
    env = ENVIRONMENTS[name]()
    trajectories, _ = sample(env, forward_table(env), key, batch_size, recording)
    assert trajectories.length.shape == (batch_size,)
    assert_valid(env, trajectories)


@pytest.mark.parametrize("recording", [False, True])
def test_the_longest_trajectory_keeps_its_last_action(recording, key):
    env = grid()
    never_stop = forward_table(env).at[:, -1].set(-1e4)
    trajectories, _ = sample(env, never_stop, key, 5, recording)
    assert_valid(env, trajectories)
    np.testing.assert_array_equal(trajectories.length, env.max_steps)
    np.testing.assert_array_equal(trajectories.actions[:, -1], env.num_dims)


def test_records_belong_to_their_states(key):
    env = padded_dag(1)
    logits = forward_table(env)
    trajectories, records = sample(env, logits, key, 40, True)
    states, actions, lengths, *_ = jax.device_get(trajectories)
    undo = jax.jit(jax.vmap(jax.vmap(env.backward_action)))(
        jax.tree.map(lambda x: x[:, :-1], trajectories.states), trajectories.actions
    )
    assert records["row"].shape == (40, env.max_steps + 1, env.num_actions)
    for b, n in enumerate(lengths):
        visited = states.index[b, : n + 1]
        np.testing.assert_array_equal(records["index"][b, : n + 1], visited)
        np.testing.assert_array_equal(records["row"][b, : n + 1], logits[visited])
        np.testing.assert_array_equal(records["action"][b, :n], actions[b, :n])
        np.testing.assert_array_equal(records["undo"][b, 1 : n + 1], undo[b, :n])


def test_without_ends_all_but_terminal_states_are_recorded(key):
    env = padded_dag(1)
    logits = forward_table(env)
    trajectories, records = sample(env, logits, key, 40, True, ends=False)
    jax.tree.map(np.testing.assert_array_equal, trajectories, sample(env, logits, key, 40)[0])
    for b, n in enumerate(trajectories.length.tolist()):
        index = trajectories.states.index[b, :n]
        np.testing.assert_array_equal(records["index"][b, :n], index)
        np.testing.assert_array_equal(records["action"][b, :n], trajectories.actions[b, :n])


@pytest.mark.slow
def test_the_last_state_of_a_window_is_recorded_unless_it_is_terminal(key):
    env = grid()
    logits = forward_table(env)
    states = rollout.tile(env.initial_state(), 64)
    arguments = env, logits, key, 64, True
    # The length is no array: `jit` would make it one.
    with jax.disable_jit():
        window, records = sample(*arguments, ends=False, window=(states, 3))
    ended = np.asarray(window.states.stopped[:, -1])
    assert 0 < ended.sum() < 64
    index = jax.vmap(jax.vmap(env.state_index))(window.states)
    visited = np.arange(4)[None] < (np.asarray(window.length) + ~ended)[:, None]
    assert visited[~ended].all()
    np.testing.assert_array_equal(records["index"][visited], index[visited])


@pytest.mark.parametrize("make", [diamond, partial(padded_dag, 1), partial(padded_dag, 4)])
def test_paths_are_as_frequent_as_enumeration_says(make, key):
    env = make()
    logits = 0.7 * forward_table(env)
    counts = path_counts(sample(env, logits, key, NUM_SAMPLES)[0])
    assert_frequencies(counts, exact_path_probs(env, logits))


def test_a_large_batch_is_packed_and_the_same(key, monkeypatch):
    env = padded_dag(1)
    arguments = env, forward_table(env), key, 50, True
    monkeypatch.setattr(tuning, "CPU", tuning.CPU._replace(packed_batch=10))
    sample.clear_cache()
    packed, packed_records = sample(*arguments)
    monkeypatch.setattr(tuning, "CPU", tuning.CPU._replace(packed_batch=None))
    sample.clear_cache()
    plain, records = sample(*arguments)
    jax.tree.map(np.testing.assert_array_equal, packed, plain)
    live = np.arange(env.max_steps + 1)[None] <= np.asarray(plain.length)[:, None]
    np.testing.assert_array_equal(packed_records["row"][live], records["row"][live])


@pytest.mark.parametrize("steps_at_once", [2, 3, 5, 100])
@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("name", ["grid", "line", "dag"])
def test_several_steps_at_once_are_the_same(name, recording, steps_at_once, key, monkeypatch):
    env = ENVIRONMENTS[name]()
    arguments = env, forward_table(env), key, 9, recording
    sample.clear_cache()
    one, records = sample(*arguments)
    monkeypatch.setattr(tuning, "CPU", tuning.CPU._replace(steps_at_once=steps_at_once))
    sample.clear_cache()
    several, several_records = sample(*arguments)
    jax.tree.map(np.testing.assert_array_equal, several, one)
    live = np.arange(env.max_steps + 1)[None] <= np.asarray(one.length)[:, None]
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(x[live], y[live]), several_records, records
    )
    assert_valid(env, several)


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_several_steps_at_once_do_not_leave_a_window(length, recording, key, monkeypatch):
    env = grid()

    def draw(key):
        decide, record = (
            undecided(env),
            rollout.Record(lambda said, *visit: visit, True) if recording else None,
        )
        window = rollout.Window(rollout.tile(env.initial_state(), 6), length)
        return rollout.sample_forward(env, decide, key, 6, window, record)[0]

    one = draw(key)
    monkeypatch.setattr(tuning, "CPU", tuning.CPU._replace(steps_at_once=3))
    jax.tree.map(np.testing.assert_array_equal, draw(key), one)
    assert (np.asarray(one.length) == length).any()


def undecided(env):
    return lambda state: rollout.Decision(jnp.zeros(env.num_actions))


def test_keys_and_rows_give_different_trajectories():
    env = grid()
    draw = jax.vmap(lambda key: sample(env, forward_table(env), key, 8)[0])
    batches = draw(jax.random.split(jax.random.key(3), 4))
    single, _ = sample(env, forward_table(env), jax.random.split(jax.random.key(3), 4)[2], 8)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[2], y), batches, single)
    actions = np.asarray(batches.actions).reshape(32, -1)
    assert len({tuple(row) for row in actions}) > 7


@pytest.mark.parametrize(
    ("name", "batch_size"), [("grid", 40), ("line", 1), ("diamond", 1), ("dag", 40)]
)
def test_backward_trajectories_replay_and_end_where_told(name, batch_size, key):
    env = ENVIRONMENTS[name]()
    forward, _ = sample(env, forward_table(env), key, batch_size)
    terminals = gfnjax.terminal_states(forward)
    back = sample_back(env, backward_table(env), jax.random.key(7), terminals)
    assert_valid(env, back)
    jax.tree.map(np.testing.assert_array_equal, gfnjax.terminal_states(back), terminals)
    np.testing.assert_array_equal(back.log_reward, forward.log_reward)


def test_backward_from_the_far_corner_takes_max_steps(key):
    env = grid()
    corner = HypergridState(jnp.full((2, 2), 3, jnp.int32), jnp.ones(2, bool))
    back = sample_back(env, backward_table(env), key, corner)
    assert_valid(env, back)
    np.testing.assert_array_equal(back.length, env.max_steps)


def shifted(method):
    """A method of `TabularDAG` on states numbered from one."""

    def call(self, state, *arguments):
        result = method(self, TabularState(state.index - 1), *arguments)
        return TabularState(result.index + 1) if isinstance(result, TabularState) else result

    return call


# All but is_terminal, which asks forward_mask.
METHODS = (
    "step backward_step forward_mask backward_mask backward_action forward_action "
    "state_index log_reward"
)
Shifted = struct.dataclass(
    type(
        "Shifted",
        (gfnjax.TabularDAG,),
        {name: shifted(getattr(gfnjax.TabularDAG, name)) for name in METHODS.split()}
        | {"initial_state": lambda self: TabularState(jnp.ones((), jnp.int32))},
    )
)


def test_a_source_that_is_not_all_zeros(key):
    env = diamond()
    env = Shifted(env.children, env.parents, env.undo, env.redo, env.log_rewards, env.max_steps)
    forward, _ = sample(env, forward_table(env), key, 8, True)
    back = sample_back(env, backward_table(env), key, gfnjax.terminal_states(forward))
    for trajectories in (forward, back):
        path = set(map(tuple, trajectories.states.index.tolist()))
        assert path <= {(1, 2, 4), (1, 2, 5), (1, 3, 4)}
        np.testing.assert_array_equal(trajectories.length, 2)


def test_backward_paths_are_as_frequent_as_p_b(key):
    # P_B(1 | 3) = 1 / (1 + e^0.8): the only choice there is in the diamond.
    env = diamond()
    logits = jnp.zeros((5, 2)).at[3].set(jnp.array([0.0, 0.8]))
    terminals = TabularState(jnp.array([3, 4] * NUM_SAMPLES, jnp.int32))
    trajectories = sample_back(env, logits, key, terminals)
    counts = path_counts(jax.tree.map(lambda x: x[::2], trajectories))
    p = 1 / (1 + np.exp(0.8))
    assert_frequencies(counts, {(0, 1, 3): p, (0, 2, 3): 1 - p})
    assert set(path_counts(jax.tree.map(lambda x: x[1::2], trajectories))) == {(0, 1, 4)}


def test_backward_paths_on_a_random_dag(key):
    env = padded_dag(1)
    logits = backward_table(env)
    probs = softmax_rows(logits, env.parents)
    parents = np.asarray(env.parents)
    final = int(np.flatnonzero((np.asarray(env.children) < 0).all(axis=1))[-1])

    def ways(state):
        """Every path from s_0 to a state with its probability under P_B."""
        if state == 0:
            return {(0,): 1.0}
        return {
            (*path, state): p * probs[state, k]
            for k in range(parents.shape[1])
            if parents[state, k] >= 0
            for path, p in ways(int(parents[state, k])).items()
        }

    expected = ways(final)
    assert len(expected) > 3
    terminals = TabularState(jnp.full(NUM_SAMPLES, final, jnp.int32))
    assert_frequencies(path_counts(sample_back(env, logits, key, terminals)), expected)


@pytest.mark.slow
def test_forward_and_backward_make_one_batch(key):
    env = padded_dag(1)
    forward, _ = sample(env, forward_table(env), key, 6)
    back = sample_back(env, backward_table(env), key, gfnjax.terminal_states(forward))
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), forward, back)
    assert_valid(env, both)
    gfn = gfnjax.GFlowNet(env, gfnjax.tabular_policy(env), gfnjax.TrajectoryBalance())
    params = gfn.init(key).params
    loss = jax.jit(gfn.loss)
    halves = loss(params, forward) + loss(params, back)
    np.testing.assert_allclose(loss(params, both), halves / 2, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_double_precision(key):
    env = grid()
    forward, _ = sample(env, forward_table(env), key, 4, True)
    assert forward.log_reward.dtype == jnp.float64
    assert_valid(env, forward)
    terminals = gfnjax.terminal_states(forward)
    assert_valid(env, sample_back(env, backward_table(env), key, terminals))
