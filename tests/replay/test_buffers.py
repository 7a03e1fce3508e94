"""Buffers against slots worked out by hand, a ring in plain Python, and frequencies."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gfnjax import equality
from gfnjax.replay import (
    Fifo,
    Replay,
    ResidualPrioritised,
    RewardPrioritised,
    TerminalReplay,
)
from gfnjax.replay.base import write_after
from gfnjax.types import Trajectory

EXAMPLE = jnp.zeros((), jnp.int32)
add = jax.jit(Replay.add, static_argnums=0)
sample = jax.jit(Replay.sample, static_argnums=(0, 3))
update = jax.jit(Replay.update, static_argnums=0)


def put(replay, buffer, items, priorities=None, complete=None):
    items = jnp.asarray(items, jnp.int32)
    priorities = jnp.asarray(items if priorities is None else priorities, jnp.float32)
    complete = jnp.ones(items.size, bool) if complete is None else jnp.asarray(complete)
    return add(replay, buffer, items, priorities, complete)


def content(buffer):
    return buffer.items[: int(buffer.size)].tolist()


# ---------------------------------------------------------------- what is kept


def test_fifo_overwrites_the_oldest():
    replay = Fifo(5)
    buffer = replay.init(EXAMPLE)
    assert content(buffer) == []
    for items, expected in [
        ([1, 2], [1, 2]),
        ([3, 4], [1, 2, 3, 4]),
        ([5, 6], [6, 2, 3, 4, 5]),
        ([7, 8], [6, 7, 8, 4, 5]),
        ([9, 10], [6, 7, 8, 9, 10]),
    ]:
        buffer = put(replay, buffer, items)
        assert content(buffer) == expected
    np.testing.assert_array_equal(buffer.priority, [6, 7, 8, 9, 10])


def test_the_best_by_reward_are_spared():
    replay = RewardPrioritised(5, top_share=0.2)  # one slot
    buffer = replay.init(EXAMPLE)
    for items, log_reward, expected in [
        ([1, 2], [0.0, 9.0], [1, 2]),
        ([3, 4], [1.0, 1.0], [1, 2, 3, 4]),
        ([5, 6], [2.0, 3.0], [6, 2, 3, 4, 5]),
        ([7, 8], [0.0, 0.0], [6, 2, 7, 8, 5]),  # 2 is skipped
        ([9, 10], [10.0, 0.0], [10, 2, 7, 8, 9]),  # 9 is the best from now on, 2 is the oldest
        ([11, 12], [0.0, 0.0], [10, 11, 12, 8, 9]),
        ([13, 14], [0.0, 0.0], [14, 11, 12, 13, 9]),
    ]:
        buffer = put(replay, buffer, items, log_reward)
        assert content(buffer) == expected


def test_a_prioritised_transition_buffer_keeps_interior_transitions():
    replay = RewardPrioritised(10, top_share=0.2)
    buffer = replay.init(EXAMPLE)
    for i in range(12):
        # One terminal transition, worth less each time, and three interior ones: what stands
        # where their reward would be means nothing, very low or very high.
        worth = [100.0 - i, -1e3, 1e3, -1e3]
        buffer = put(replay, buffer, range(4 * i, 4 * i + 4), worth, [True, False, False, False])
    # The two best terminal ones, and of the rest the last eight.
    assert sorted(content(buffer)) == [0, 4, *range(40, 48)]
    drawn = sample(replay, buffer, jax.random.key(0), 400).items
    assert set(drawn[:200].tolist()) == {0}  # a fifth of four terminal ones
    assert set(drawn[200:].tolist()) == {4, *range(40, 48)}


def test_interior_transitions_alone():
    replay = RewardPrioritised(10, top_share=0.2)
    buffer = replay.init(EXAMPLE)
    for i in range(6):
        buffer = put(replay, buffer, range(4 * i, 4 * i + 4), complete=[False] * 4)
    assert sorted(content(buffer)) == list(range(14, 24))
    drawn = sample(replay, buffer, jax.random.key(0), 400).items
    for half in (drawn[:200], drawn[200:]):
        assert set(half.tolist()) == set(range(14, 24))


def test_one_slot_per_object():
    replay = Fifo(4, unique=True)
    buffer = replay.init(EXAMPLE)
    for items, priorities, expected in [
        ([1, 1, 2], [0.1, 0.2, 0.3], {1: 0.1, 2: 0.3}),  # the first of a batch
        ([2, 3, 1], [0.4, 0.5, 0.6], {1: 0.6, 2: 0.4, 3: 0.5}),  # where it was
        # 1 is the oldest, but has just been found again.
        ([1, 4, 5], [0.7, 0.8, 0.9], {1: 0.7, 5: 0.9, 3: 0.5, 4: 0.8}),
        ([0, 0, 0], [1.0, 2.0, 3.0], {1: 0.7, 5: 0.9, 0: 1.0, 4: 0.8}),
    ]:
        buffer = put(replay, buffer, items, priorities)
        assert content(buffer) == list(expected)
        np.testing.assert_allclose(buffer.priority[: len(expected)], list(expected.values()))


def test_incomplete_items_are_never_taken_for_each_other():
    replay = Fifo(6, unique=True)
    buffer = replay.init(EXAMPLE)
    for complete in ([False, False, True], [False, True, True]):
        buffer = put(replay, buffer, [7, 7, 7], complete=complete)
    assert content(buffer) == [7] * 4
    np.testing.assert_array_equal(buffer.complete[:4], [False, False, True, False])


class Ring:
    """The same rules in plain Python: a list of [item, log reward, complete]."""

    def __init__(self, capacity, num_spared, unique):
        self.slots, self.cursor = [None] * capacity, 0
        self.num_spared, self.unique = num_spared, unique

    def top(self):
        ranked = [i for i, slot in enumerate(self.slots) if slot is not None and slot[2]]
        return sorted(ranked, key=lambda i: (-self.slots[i][1], i))[: self.num_spared]

    def add(self, batch):
        spared, writes, seen, new = set(self.top()), {}, set(), []
        where = {s[0]: i for i, s in enumerate(self.slots) if s is not None and s[2]}
        for entry in batch:
            item, _, complete = entry
            if self.unique and complete and item in seen:
                continue
            seen |= {item} if complete else set()
            if self.unique and complete and item in where:
                writes[where[item]] = entry
                spared.add(where[item])
            else:
                new.append(entry)
        for entry in new:
            while self.cursor in spared:
                self.cursor = (self.cursor + 1) % len(self.slots)
            writes[self.cursor] = entry
            self.cursor = (self.cursor + 1) % len(self.slots)
        for slot, entry in writes.items():
            self.slots[slot] = entry


@pytest.mark.parametrize(
    ("replay", "num_spared"),
    [
        (Fifo(9, unique=True), 0),
        (RewardPrioritised(9, 0.4), 4),
        (RewardPrioritised(9, 0.4, unique=True), 4),
    ],
)
def test_long_streams_agree_with_plain_python(replay, num_spared):
    rng = np.random.default_rng(0)
    ring = Ring(9, num_spared, replay.unique)
    buffer = replay.init(EXAMPLE)
    for _ in range(60):
        items, complete = rng.integers(0, 14, size=4), rng.random(4) < 0.7
        log_reward = rng.integers(0, 5, size=4).astype(float)  # with ties
        ring.add(list(zip(items.tolist(), log_reward.tolist(), complete.tolist(), strict=True)))
        buffer = put(replay, buffer, items, log_reward, complete)
        filled = [slot for slot in ring.slots if slot is not None]
        assert content(buffer) == [slot[0] for slot in filled]
        assert buffer.priority[: len(filled)].tolist() == [slot[1] for slot in filled]
        assert buffer.complete[: len(filled)].tolist() == [slot[2] for slot in filled]


# ---------------------------------------------------------------- what is drawn


def assert_frequencies(drawn, expected, size):
    """Chi-square at fixed seeds; `expected` `[size]` sums to one, with zeros."""
    counts = np.bincount(np.asarray(drawn), minlength=size)
    expected = np.asarray(expected)
    assert counts[expected == 0].sum() == 0
    live = expected > 0
    if live.sum() > 1:
        assert stats.chisquare(counts[live], expected[live] * counts.sum()).pvalue > 1e-3


def test_fifo_draws_uniformly_from_what_is_there(key):
    replay = Fifo(5)
    buffer = put(replay, replay.init(EXAMPLE), [10, 11, 12])
    items, slots = sample(replay, buffer, key, 3000)
    np.testing.assert_array_equal(items, 10 + slots)
    assert_frequencies(slots, [1 / 3, 1 / 3, 1 / 3, 0, 0], 5)


def test_half_of_a_batch_comes_from_the_best_tenth(key):
    replay = RewardPrioritised(40)
    log_reward = np.random.default_rng(0).normal(size=21)
    buffer = put(replay, replay.init(EXAMPLE), range(21), log_reward)
    slots = sample(replay, buffer, key, 4000).slots
    top = np.zeros(40)
    top[np.argsort(-log_reward)[:3]] = 1 / 3  # a tenth of 21, rounded up
    rest = np.where(np.arange(40) < 21, (top == 0) / 18, 0)
    assert_frequencies(slots[:2000], top, 40)
    assert_frequencies(slots[2000:], rest, 40)


@pytest.mark.parametrize(("fraction", "num_top"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_the_fraction_from_the_top(fraction, num_top, key):
    replay = RewardPrioritised(20, 0.1, fraction)
    buffer = put(replay, replay.init(EXAMPLE), range(10))
    drawn = sample(replay, buffer, key, 8).items.tolist()
    assert drawn.count(9) == num_top


@pytest.mark.parametrize(("size", "num_top"), [(1, 1), (2, 1), (9, 1), (10, 1), (11, 2), (100, 10)])
@pytest.mark.parametrize(("num_samples", "fraction"), [(1, 0.5), (3, 0.5), (7, 0.1), (2, 0.9)])
def test_the_fraction_is_met_on_average(num_samples, fraction, size, num_top, key):
    replay = RewardPrioritised(120, top_fraction_of_batch=fraction)
    buffer = put(replay, replay.init(EXAMPLE), range(100))._replace(size=jnp.int32(size))
    draw = jax.jit(jax.vmap(partial(replay.draw, num_samples=num_samples), (None, 0)))
    slots = np.asarray(draw(buffer, jax.random.split(key, 2000)))
    # The largest are the last ones; alike within the top and within the rest.
    top = (np.arange(120) >= size - num_top) & (np.arange(120) < size)
    rest = np.arange(120) < size - num_top
    expected = fraction if rest.any() else 1.0
    probabilities = top * expected / num_top + rest * (1 - expected) / max(rest.sum(), 1)
    assert_frequencies(slots.reshape(-1), probabilities, 120)
    # Never further from the fraction than rounding, and unbiased: 4.5 standard errors.
    counts, expected = top[slots].sum(axis=1), expected * num_samples
    assert np.abs(counts - expected).max() < 1
    spread = np.sqrt((expected % 1) * (1 - expected % 1) / 2000)
    assert abs(counts.mean() - expected) <= 4.5 * spread + 1e-9


BUFFERS = [Fifo(6), RewardPrioritised(6), RewardPrioritised(6, unique=True), ResidualPrioritised(6)]


@pytest.mark.slow
@pytest.mark.parametrize("replay", BUFFERS, ids=repr)
def test_it_works_without_jit(replay, key):
    compiled, eager = replay.init(EXAMPLE), replay.init(EXAMPLE)
    for items in ([3, 1, 4, 1], [5, 9, 2], [6, 5, 3, 5]):
        compiled = put(replay, compiled, items)
        with jax.disable_jit():
            eager = replay.add(eager, jnp.int32(items), jnp.float32(items))
    jax.tree.map(np.testing.assert_array_equal, compiled, eager)
    drawn = sample(replay, compiled, key, 7)
    with jax.disable_jit():
        jax.tree.map(np.testing.assert_array_equal, drawn, replay.sample(eager, key, 7))


def test_huge_residuals_do_not_overflow(key):
    replay = ResidualPrioritised(6, 4.0)
    priorities = replay.priority(jnp.zeros(3), jnp.array([1e30, 1.6e31, 1e-30]))
    buffer = put(replay, replay.init(EXAMPLE), range(3), priorities)
    slots = sample(replay, buffer, key, 6000).slots
    assert_frequencies(slots, np.array([1, 256, 0, 0, 0, 0]) / 257, 6)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_residuals_weigh(exponent, key):
    replay = ResidualPrioritised(6, exponent)
    errors = jnp.array([1.0, 4.0, 0.0, 9.0])  # squares
    priorities = replay.priority(jnp.zeros(4), errors)
    buffer = put(replay, replay.init(EXAMPLE), range(4), priorities)
    weights = np.array([1.0, 2.0, 0.0, 3.0, 0.0, 0.0]) ** exponent * (np.arange(6) < 4)
    slots = np.asarray(sample(replay, buffer, key, 6000).slots)
    # What has residual zero stays within reach, though hardly.
    slots = slots if exponent == 0 else slots[slots != 2]
    assert slots.size > 5990
    assert_frequencies(slots, weights / weights.sum(), 6)


def test_without_residuals_all_are_drawn_alike(key):
    replay = ResidualPrioritised(6)
    buffer = put(replay, replay.init(EXAMPLE), range(4), np.zeros(4))
    slots = sample(replay, buffer, key, 6000).slots
    assert_frequencies(slots, [0.25] * 4 + [0, 0], 6)


def test_updates_change_the_named_slots_and_the_largest_of_repeats_counts():
    replay = ResidualPrioritised(5)
    buffer = put(replay, replay.init(EXAMPLE), range(4), [1.0, 2.0, 3.0, 4.0])
    buffer = update(replay, buffer, jnp.array([3, 1, 3, 3]), jnp.array([0.1, 7.0, 0.3, 0.2]))
    np.testing.assert_allclose(buffer.priority, [1.0, 7.0, 3.0, 0.3, 0.0])
    assert content(buffer) == [0, 1, 2, 3]


# ---------------------------------------------------------------- as JAX values


def test_runs_side_by_side_are_runs_on_their_own(key):
    replay = RewardPrioritised(6, 0.3, unique=True)
    items = jax.random.randint(key, (3, 5, 3), 0, 8)

    def run(items):
        def step(buffer, items):
            return replay.add(buffer, items, items.astype(jnp.float32)), None

        buffer = jax.lax.scan(step, replay.init(EXAMPLE), items)[0]
        return buffer, replay.sample(buffer, key, 4)

    together = jax.jit(jax.vmap(run))(items)
    single = jax.jit(run)
    for i in range(3):
        alone = single(items[i])
        for x, y in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(x[i], y)


def test_trajectories_are_told_apart_by_where_they_end():
    replay = Fifo(4, unique=True)

    def batch(*paths):
        states = jnp.array(paths, jnp.int32)
        size = len(paths)
        zeros = jnp.zeros((size, 2), jnp.int32)
        return Trajectory(states, zeros, jnp.full(size, 2, jnp.int32), states[:, -1].astype(float))

    example = jax.tree.map(lambda x: x[0], batch([0, 0, 0]))
    buffer = replay.init(example)
    for paths in (batch([0, 1, 3], [0, 1, 4]), batch([0, 2, 3], [0, 2, 5])):
        buffer = replay.add(buffer, paths, paths.log_reward)
    assert buffer.items.states[:3].tolist() == [[0, 2, 3], [0, 1, 4], [0, 2, 5]]
    assert int(buffer.size) == 3


def test_fingerprints(monkeypatch):
    rng = np.random.default_rng(0)
    grids = jnp.asarray(rng.integers(0, 3, size=(4000, 9)), jnp.int8)
    halves = jnp.asarray(rng.integers(0, 3, size=(4000, 1)) / 2, jnp.float32)
    marks = np.asarray(equality.fingerprint((grids, halves)))
    rows = np.concatenate([np.asarray(grids), 2 * np.asarray(halves)], axis=1)
    # Equal where the objects are, else different: 4000 of 2^32 collide once in 500 runs.
    assert len(np.unique(marks)) == len(np.unique(rows, axis=0))
    one, other = jnp.array([[1]]), jnp.array([[2]])
    assert equality.fingerprint((one, other)) != equality.fingerprint((other, one))
    zeros = jnp.array([[0.0], [-0.0]])
    assert len(np.unique(equality.fingerprint(zeros))) == 1
    # A collision costs a duplicate at worst: objects are compared before one replaces another.
    constant = lambda objects: jnp.zeros(objects.shape[0], jnp.uint32)  # noqa: E731
    monkeypatch.setattr(equality, "fingerprint", constant)
    replay = Fifo(5, unique=True)
    buffer = replay.init(EXAMPLE)
    for items in ([1, 2], [3, 1]):
        buffer = replay.add(buffer, jnp.array(items, jnp.int32), jnp.zeros(2))
    assert content(buffer) == [1, 2, 3]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_step_does_not_copy_the_buffer(ordered, key):
    # Reading after writing would: that shows in the memory a loop over steps sets aside.
    replay, example = Fifo(1000), jnp.zeros(100)

    def step(buffer, key):
        draw_key, new_key = jax.random.split(key)
        drawn = replay.sample(buffer, draw_key, 4).items
        buffer = write_after(buffer, drawn) if ordered else buffer
        return replay.add(buffer, jax.random.normal(new_key, (4, 100)), jnp.zeros(4)), drawn.sum()

    run = jax.jit(partial(jax.lax.scan, step))
    compiled = run.lower(replay.init(example), jax.random.split(key, 3)).compile()
    spare = compiled.memory_analysis().temp_size_in_bytes
    assert (spare < 400_000) == ordered


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (partial(Fifo, 0), ValueError, "capacity must be at least 1, got 0"),
        (partial(RewardPrioritised, 9, 0.0), ValueError, r"top_share must be in \(0, 1\), got 0"),
        (partial(RewardPrioritised, 9, 0.1, 2), ValueError, r"top_fraction_of_batch must be in"),
        (partial(RewardPrioritised, 1), ValueError, "capacity must leave a slot besides the top 1"),
        (partial(ResidualPrioritised, 9, -1.0), ValueError, "exponent must not be negative, got"),
        (partial(TerminalReplay, 100), TypeError, r"must be a buffer such as Fifo\(10_000\), got"),
        (partial(TerminalReplay, TerminalReplay(Fifo(9))), TypeError, "buffer must be a buffer"),
    ],
)
def test_what_cannot_work_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_more_items_than_fit_are_refused():
    for replay, room in ((Fifo(4), 4), (RewardPrioritised(4, 0.5), 2)):
        message = f"capacity 4 takes at most {room} items at a time, got {room + 1}"
        with pytest.raises(ValueError, match=message):
            replay.add(replay.init(EXAMPLE), jnp.zeros(room + 1, jnp.int32), jnp.zeros(room + 1))
