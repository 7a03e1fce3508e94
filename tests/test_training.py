import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import training
from gfnjax.algorithms import Teacher
from gfnjax.objectives.trajectory_balance import trajectory_balance
from gfnjax.policies import PessimisticBackward
from gfnjax.replay import Fifo, ResidualPrioritised, RewardPrioritised, TerminalReplay
from gfnjax.samplers import Mixed
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.types import Residuals

ENV = gfnjax.Hypergrid(2, 4)
TRACES = []


def counted(scores):
    TRACES.append(1)
    return trajectory_balance(scores)


def nan_beyond_log_z(scores):
    """Trajectory balance until the learned log Z, which starts at 0, exceeds 0.45."""
    values, weights = trajectory_balance(scores)
    return Residuals(jnp.where(scores.log_z > 0.45, jnp.nan, values), weights)


def describe(objective=counted, **options):
    policy = gfnjax.mlp_policy(ENV, (8,))
    return gfnjax.GFlowNet(ENV, policy, objective, batch_size=4, **options)


def words(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(words(x), words(y), equal_nan=True) for x, y in pairs)


def test_training_is_repeated_steps(key):
    gfn = describe()
    step = jax.jit(gfnjax.GFlowNet.step)
    expected, losses = training.init(gfn, key), []
    for _ in range(7):
        expected, info = step(gfn, expected)
        losses.append(float(info.loss))

    state, history = gfnjax.train(gfn, key, 7, chunk_size=3)

    assert int(state.step) == 7
    np.testing.assert_allclose(history.info.loss, losses, rtol=1e-4)
    for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_the_chunk_size_changes_nothing_but_the_visits(key):
    gfn = describe()
    visits = []

    def evaluate(gfn, state):
        return {"double": 2 * state.step}

    whole, _ = gfnjax.train(gfn, key, 10, chunk_size=8)
    state, history = gfnjax.train(gfn, key, 4, chunk_size=8, evaluate=evaluate)
    state, more = gfnjax.train(
        gfn, state, 6, chunk_size=8, evaluate=evaluate, callback=lambda c: visits.append(c)
    )

    assert same(state, whole)
    assert history.evaluations == [{"step": 4, "double": 8.0}]
    # Visits fall on multiples of the chunk size, wherever the call started.
    assert more.evaluations == [{"step": 8, "double": 16.0}, {"step": 10, "double": 20.0}]
    assert [c.info.loss.shape for c in visits] == [(4,), (2,)]
    assert more.info.loss.shape == (6,)


def test_a_callback_that_returns_true_stops(key):
    state, history = gfnjax.train(describe(), key, 9, chunk_size=3, callback=lambda chunk: True)
    assert int(state.step) == 3
    assert history.info.loss.shape == (3,)


def test_one_compilation_serves_all_chunks_and_all_runs_of_the_same_shapes(key):
    gfnjax.train(describe(), key, 5, chunk_size=5)
    before = len(TRACES)
    assert before > 0
    gfnjax.train(describe(), key, 13, chunk_size=5)
    again = describe().replace(env=gfnjax.Hypergrid(2, 4, gfnjax.corners("hard")))
    gfnjax.train(again, jax.random.key(1), 5, chunk_size=5)
    assert len(TRACES) == before
    gfnjax.train(describe(regression=gfnjax.regression.huber), key, 1, chunk_size=5)
    assert len(TRACES) > before


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [3, 8])
def test_nan_stops_with_the_state_right_before_the_step(key, chunk_size):
    finite = gfnjax.train(describe(log_z_init=0.0), key, 10, chunk_size=8)[1]
    bad = int(np.argmax(finite.info.log_z > 0.45))
    assert 3 < bad < 9

    gfn = describe(nan_beyond_log_z, log_z_init=0.0)
    with pytest.raises(gfnjax.NonFiniteError, match=f"step {bad}") as caught:
        gfnjax.train(gfn, key, 50, chunk_size=chunk_size)

    expected, history = gfnjax.train(gfn, key, bad, chunk_size=chunk_size)
    assert caught.value.step == bad
    assert same(caught.value.state, expected)
    np.testing.assert_allclose(history.info.loss, finite.info.loss[:bad], rtol=1e-3)


SAMPLERS = {
    "on-policy": {},
    "fifo": {"sampler": Mixed(Fifo(20))},
    "unique": {"sampler": Mixed(Fifo(9, unique=True))},
    "prioritised": {"sampler": Mixed(RewardPrioritised(20))},
    "residual": {"sampler": Mixed(ResidualPrioritised(20))},
    "terminal": {"sampler": Mixed(TerminalReplay(Fifo(20, unique=True)))},
    "search": {"sampler": Mixed(Fifo(20), 0.25, LocalSearch(1), 0.25)},
    "teacher": {},
    "pessimistic": {"backward": PessimisticBackward(gfnjax.mlp_policy(ENV, (4,)), capacity=9)},
    "target": {"target_rate": 0.1, "num_updates": 2},
}


@pytest.mark.long
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("chunk_size", [3, 50])
def test_the_state_before_a_failure_is_that_of_a_run_that_stopped_there(name, chunk_size, key):
    gfn = describe(nan_beyond_log_z, log_z_init=0.0, **SAMPLERS[name])
    if name == "teacher":
        gfn = Teacher(gfn, gfnjax.mlp_policy(ENV, (4,)), 0.5)
    with pytest.raises(gfnjax.NonFiniteError) as caught:
        gfnjax.train(gfn, key, 50, chunk_size=chunk_size)
    bad = caught.value.step
    assert 2 < bad < 30
    expected, _ = gfnjax.train(gfn, key, bad, chunk_size=chunk_size)
    assert same(caught.value.state, expected)
    # Once more from there: the same end at once.
    with pytest.raises(gfnjax.NonFiniteError) as again:
        gfnjax.train(gfn, caught.value.state, 5, chunk_size=chunk_size)
    assert again.value.step == bad
    assert same(again.value.state, expected)


def test_states_that_were_handed_out_stay(key):
    gfn = describe(sampler=Mixed(Fifo(20)))
    start = training.init(gfn, key)
    first = jax.tree.map(np.asarray, start.params)
    kept, seen = [], []

    def evaluate(gfn, state):
        seen.append(state)
        return {}

    end, _ = gfnjax.train(
        gfn, start, 7, chunk_size=3, evaluate=evaluate, callback=lambda c: kept.append(c.state)
    )
    for states in (kept, seen, [state for state, _ in training.chunks(gfn, start, 7, 3)]):
        assert [int(state.step) for state in states] == [3, 6, 7]
        assert same(states[-1], end)
    for state in (start, training.run_chunk(gfn, start, 2, 3)[0], start):
        assert np.isfinite(float(training.run_chunk(gfn, state, 1, 3)[1].loss[0]))
    jax.tree.map(np.testing.assert_array_equal, start.params, first)


def test_only_one_state_is_held(key):
    gfn = describe(sampler=Mixed(Fifo(20)))
    start = training.copy(training.init(gfn, key))
    states = [state for state, _ in training.chunks(gfn, start, 7, 3, donate=True)]
    gone = [all(x.is_deleted() for x in jax.tree.leaves(state)) for state in (start, *states)]
    assert gone == [True, True, True, False]


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("unique", [False, True])
def test_a_chunk_sets_no_memory_aside_for_the_buffer(unique):
    gfn = describe(sampler=Mixed(Fifo(200_000, unique=unique)))
    state = jax.eval_shape(gfn.init, jax.random.key(0))
    used = training._run.lower(gfn, state, 3, 5).compile().memory_analysis()
    buffer = state.memory.buffer.items
    assert num_bytes(buffer) > 5e6
    assert used.alias_size_in_bytes > num_bytes(buffer)
    # Which slots may be written takes some bytes a slot where objects are unique.
    spare = used.temp_size_in_bytes
    assert spare < (200_000 * 20 if unique else 1e6), spare


def test_step_counts_must_be_positive(key):
    for arguments in ({"num_steps": 0}, {"num_steps": 3, "chunk_size": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            gfnjax.train(describe(), key, **arguments)
