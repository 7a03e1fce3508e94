"""Records of trajectories: rebuilt bit for bit, of whatever kind they were, in few bytes."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gfnjax
from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    TrajectoryBalance,
    equality,
    random_dag,
    rollout,
)
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.phylogeny import phylogeny, phylogeny_benchmark
from gfnjax.policies.uniform import uniform_policy
from gfnjax.replay import (
    Fifo,
    Recalled,
    RewardPrioritised,
    TerminalReplay,
    rebuild,
    record,
    records,
)
from gfnjax.rollout import terminal_states
from gfnjax.samplers import Batch, Mixed, OnPolicy, Windows

TREES = phylogeny({f"species {i}": "ACGTTGCA"[i:] + "ACGTTGCA"[:i] for i in range(6)})
# States of thousands of bytes, two steps of the way: kept as ways to them.
LARGE = phylogeny({f"s{i}": "ACGT"[i] * 50 + "GATTACA" * i + "C" * (7 * (5 - i)) for i in range(4)})
ENVS = {
    "dag": random_dag(0),
    "grid": Hypergrid(2, 4),
    "trees": TREES,
    "large trees": LARGE,
    "conditional": temperature_conditional(Hypergrid(2, 4), 0.5, 2.0),
    "conditional trees": temperature_conditional(LARGE, 0.5, 2.0),
}


def uniform(env, **options):
    policy = uniform_policy(env)
    options = {"batch_size": 8, "log_z_init": 0.0, "backward": gfnjax.UniformBackward()} | options
    objective = options.pop("objective", DetailedBalance())
    return GFlowNet(env, policy, objective, **options)


@jax.jit
def batches(gfn, key):
    """`[3, B, ...]` three batches in a row, by the run's sampler."""

    def step(state, _):
        batch, memory = gfn.draw(state)
        return state._replace(memory=memory, step=state.step + 1), batch.trajectories

    return jax.lax.scan(step, gfn.init(key), length=3)[1]


@partial(jax.jit, static_argnames="whole")
def there_and_back(env, trajectories, whole):
    return rebuild(env, record(env, trajectories, whole))


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


# ---------------------------------------------------------------- bit for bit


@pytest.mark.parametrize("name", ENVS)
@pytest.mark.parametrize("sampler", [OnPolicy(), Windows(1), Windows(2)], ids=repr)
def test_trajectories_come_back_bit_for_bit(name, sampler, key):
    env = ENVS[name]
    drawn = batches(uniform(env, sampler=sampler), key)
    for i in range(3):
        batch = jax.tree.map(lambda x, i=i: x[i], drawn)
        assert_same_bits(there_and_back(env, batch, isinstance(sampler, OnPolicy)), batch)
        # Those that may have started anywhere need not have.
        assert_same_bits(there_and_back(env, batch, False), batch)


@pytest.mark.long
@given(seed=st.integers(0, 2**16), length=st.integers(1, 4), states=st.integers(4, 12))
def test_any_graph(seed, length, states):
    env = random_dag(seed, states, 3)
    sampler = Windows(length)
    drawn = batches(uniform(env, sampler=sampler), jax.random.key(seed))
    assert_same_bits(
        *(
            jax.vmap(lambda x, f=f: f(x))(drawn)
            for f in (lambda x: there_and_back(env, x, False), lambda x: x)
        )
    )


@pytest.mark.parametrize("name", ["dag", "trees", "conditional"])
def test_trajectories_taken_back_from_objects(name, key):
    gfn = uniform(ENVS[name])
    keys = jax.random.split(key, 3)
    params = gfn.init(keys[0]).params
    ends = terminal_states(gfn.sample(params, keys[1], 9))
    taken_back = gfn.sample_backward(params, keys[2], ends)
    assert_same_bits(there_and_back(gfn.env, taken_back, True), taken_back)


def test_nothing_but_the_source_and_the_actions(key):
    def kept(name, sampler, whole):
        gfn = uniform(ENVS[name], sampler=sampler)
        batch = jax.tree.map(lambda x: x[1], batches(gfn, key))
        return record(gfn.env, batch, whole), batch

    found, batch = kept("trees", OnPolicy(), True)
    assert found.source is None
    assert num_bytes(found) == num_bytes(batch._replace(states=None, cut=None))
    # Of a source with a condition only the condition.
    found, batch = kept("conditional trees", OnPolicy(), True)
    np.testing.assert_array_equal(found.source.start[0], batch.states.condition[:, 0])
    assert num_bytes(found.source) == 8 * (4 + 4)
    # A small state is kept as it is, a large one as a way to it.
    found, batch = kept("grid", Windows(2), False)
    assert_same_bits(found.source, jax.tree.map(lambda x: x[:, 0], batch.states))
    found, batch = kept("large trees", Windows(2), False)
    assert isinstance(found.source, records.Path)
    assert 8 * num_bytes(found.source) < num_bytes(batch.states) / 3
    assert set(found.source.length.tolist()) == {2}


@pytest.mark.slow
def test_an_empty_buffer_rebuilds_the_source(key):
    for name, env in ENVS.items():
        gfn = uniform(env, sampler=Mixed(Fifo(9)))
        buffer = gfn.init(key).memory.buffer
        void = rebuild(env, buffer.items)
        assert void.length.max() == 0, name
        assert int(buffer.size) == 0


# ---------------------------------------------------------------- in runs


@pytest.mark.long
def test_a_run_learns_from_what_was_sampled(key):
    # The same batches, whether their states were kept or are built again.
    gfn = uniform(TREES, sampler=Mixed(Fifo(100)), objective=TrajectoryBalance())
    step = jax.jit(GFlowNet.step)
    state, seen = gfn.init(key), []
    for _ in range(4):
        batch = gfn.draw(state)[0]
        if seen:
            whole = jax.tree.map(lambda *x: jnp.concatenate(x), *seen)
            old = jax.tree.map(lambda x, slots=batch.note[1]: x[slots], whole)
            assert_same_bits(jax.tree.map(lambda x: x[4:], batch.trajectories), old)
        seen.append(jax.tree.map(lambda x: x[:4], batch.trajectories))
        state, _ = step(gfn, state)


@dataclass(frozen=True)
class Restarts:
    """A sampler of one's own: whole horizons, from one step after s_0."""

    def check(self, model, objective, batch_size):
        return None

    def init(self, model, params, key, batch_size):
        return None

    def draw(self, model, params, memory, key, behaviour, batch_size):
        first = rollout.draw_sources(model.env, key, batch_size)
        zero = jnp.zeros(batch_size, jnp.int32)
        window = rollout.Window(jax.vmap(model.env.step)(first, zero), model.env.max_steps)
        return Batch(*model.explore(params, key, batch_size, behaviour, window)), memory

    def learn(self, model, memory, batch, errors):
        return memory


def test_a_sampler_that_starts_anywhere(key):
    env = Hypergrid(2, 4)
    gfn = uniform(env, sampler=Mixed(Fifo(100), fresh=Restarts()))
    with jax.debug_key_reuse(False):
        state, _ = jax.jit(GFlowNet.step)(gfn, gfn.init(key))
    kept = rebuild(env, state.memory.buffer.items)
    assert kept.states.position[:4, 0].tolist() == [[1, 0]] * 4


class Recent(Fifo):
    """Ranks objects by what they are: the first coordinate of the position they end in."""

    def priority(self, log_reward, errors, trajectories):
        assert log_reward.shape == errors.shape
        return terminal_states(trajectories).position[:, 0].astype(jnp.float32)


def test_a_priority_of_ones_own_sees_the_object(key):
    env = Hypergrid(2, 4)
    for replay in (Recent(100), TerminalReplay(Recent(100))):
        gfn = uniform(env, sampler=Mixed(replay), objective=TrajectoryBalance())
        state = gfn.init(key)
        for _ in range(2):
            state, _ = jax.jit(GFlowNet.step)(gfn, state)
        buffer = state.memory.buffer
        ends = buffer.items
        if not isinstance(replay, TerminalReplay):
            ends = terminal_states(rebuild(env, buffer.items))
        np.testing.assert_array_equal(buffer.priority[:8], ends.position[:8, 0])


@dataclass(frozen=True)
class LastBatch:
    """A buffer that shares no code with the others: the batch before, in order."""

    room = 1000
    whole_only = False

    def start(self, env, example, whole):
        rows = jax.tree.map(lambda x: jnp.zeros((4, *x.shape), x.dtype), example)
        return rows, jnp.zeros((), jnp.int32)

    def recall(self, model, params, memory, key, num_samples):
        slots = jnp.arange(num_samples, dtype=jnp.int32)
        rows = jax.tree.map(lambda x: x[slots], memory[0])
        return Recalled(rows, slots, jnp.broadcast_to(memory[1] > 0, num_samples))

    def refresh(self, memory, slots, trajectories, errors, keep):
        return memory

    def store(self, env, memory, trajectories, errors, keep):
        return rollout.choose(jnp.broadcast_to(keep, 4), trajectories, memory[0]), memory[1] + 1


def test_a_buffer_of_ones_own(key):
    gfn = uniform(Hypergrid(2, 4), sampler=Mixed(LastBatch()), objective=TrajectoryBalance())
    state, last = gfn.init(key), None
    for _ in range(3):
        rows = gfn.draw(state)[0].trajectories
        new, old = (jax.tree.map(lambda x, p=p: x[p], rows) for p in (slice(4), slice(4, 8)))
        assert_same_bits(old, new if last is None else last)
        last = new
        state, _ = jax.jit(GFlowNet.step)(gfn, state)


# ---------------------------------------------------------------- one slot per object


@pytest.mark.parametrize("collide", [False, True])
@pytest.mark.parametrize("make", [lambda replay: replay, TerminalReplay])
def test_objects_are_compared_by_building_them_again(make, collide, key, monkeypatch):
    if collide:
        # All are candidates for each other: only a comparison of the objects tells them apart.
        monkeypatch.setattr(equality, "fingerprint", lambda x: jnp.zeros(8, jnp.uint32))
    env = LARGE
    replay = make(Fifo(100, unique=True))
    gfn = uniform(env, objective=TrajectoryBalance())
    drawn = jax.tree.map(lambda x: x[0], batches(gfn, key))
    buffer = replay.start(env, jax.tree.map(lambda x: x[0], drawn), True)
    assert isinstance(buffer.items, records.Path | records.Record)
    errors, keep = jnp.zeros(8), jnp.ones((), bool)
    ends = terminal_states(drawn)
    trees = {tuple(row) for row in np.concatenate([ends.into, ends.rank], axis=1).tolist()}
    for _ in range(2):
        buffer = jax.jit(type(replay).store, static_argnums=0)(
            replay, env, buffer, drawn, errors, keep
        )
        if not collide:
            assert int(buffer.size) == len(trees)
    # Where all collide the first one is found again, the others become duplicates at worst.
    assert len(trees) <= int(buffer.size) <= 2 * len(trees) - 1


@pytest.mark.slow
def test_ways_to_one_object_share_its_slot(key):
    env = TREES
    gfn = uniform(env, objective=TrajectoryBalance())
    params = gfn.init(key).params
    replay = Fifo(40, unique=True)
    first = gfn.sample(params, jax.random.key(1), 8)
    again = gfn.sample_backward(params, jax.random.key(2), terminal_states(first))
    assert (first.actions != again.actions).any()
    buffer = replay.start(env, jax.tree.map(lambda x: x[0], first), True)
    buffer = replay.store(env, buffer, first, jnp.zeros(8), jnp.ones((), bool))
    size = int(buffer.size)
    buffer = replay.store(env, buffer, again, jnp.zeros(8), jnp.ones((), bool))
    assert int(buffer.size) == size
    kept = jax.tree.map(lambda x: x[:size], rebuild(env, buffer.items))
    ways = {tuple(row) for row in np.asarray(again.actions).tolist()}
    assert {tuple(row) for row in np.asarray(kept.actions).tolist()} <= ways


# ---------------------------------------------------------------- taken back


@pytest.mark.slow
@pytest.mark.parametrize(
    "replay",
    [
        Fifo(10),
        Fifo(10, unique=True),
        RewardPrioritised(10),
        RewardPrioritised(10, unique=True),
        TerminalReplay(Fifo(10, unique=True)),
    ],
    ids=repr,
)
def test_a_step_that_is_taken_back_leaves_the_buffer_as_it_was(replay, key):
    gfn = uniform(Hypergrid(2, 4), sampler=Mixed(replay), objective=TrajectoryBalance())
    state = gfn.init(key)
    for _ in range(3):
        batch, memory = gfn.draw(state)
        lost = gfn.sampler.learn(gfn, memory, batch, jnp.full(8, jnp.nan))
        assert_same_bits(lost, memory)
        # One error of NaN among others is for the loop to judge.
        other = gfn.sampler.learn(gfn, memory, batch, jnp.ones(8).at[0].set(jnp.nan))
        assert int(other.buffer.size) > 0
        state, _ = jax.jit(GFlowNet.step)(gfn, state)


# ---------------------------------------------------------------- size


def init_bytes(env, replay, fresh=None):
    sampler = Mixed(replay) if fresh is None else Mixed(replay, fresh=fresh)
    gfn = uniform(env, sampler=sampler)
    state = jax.eval_shape(gfn.init, jax.random.key(0))
    return num_bytes(state.memory.buffer)


@pytest.mark.slow
def test_ten_thousand_trajectories_of_ds8_are_megabytes():
    try:
        env = phylogeny_benchmark("DS8")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    states = num_bytes(jax.eval_shape(env.initial_state))
    assert 10_000 * (env.max_steps + 1) * states > 24e9  # what all states would take
    for replay in (
        Fifo(10_000),
        RewardPrioritised(10_000, unique=True),
        TerminalReplay(Fifo(10_000, unique=True)),
    ):
        assert init_bytes(env, replay) < 3.2e6
    assert init_bytes(temperature_conditional(env, 0.5, 2.0), Fifo(10_000)) < 3.2e6
    assert init_bytes(env, Fifo(10_000), Windows(4)) < 3.2e6
