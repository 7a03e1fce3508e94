"""Objects that have several states, and trajectories that are cut before their end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from gfnjax import Hypergrid, rollout, tuning
from gfnjax.envs.base import canonical_of
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.metrics import modes
from gfnjax.replay import Fifo, TerminalReplay
from gfnjax.testing import ConformanceError, check_environment


class Pair(NamedTuple):
    """Two numbers in the order they were chosen; -1 where there is none yet."""

    first: jax.Array
    second: jax.Array


@struct.dataclass
class Pairs:
    """Unordered pairs of numbers below 3, kept in the order they were chosen in."""

    num_actions: int = struct.field(pytree_node=False, default=3)
    num_backward_actions: int = struct.field(pytree_node=False, default=1)
    max_steps: int = struct.field(pytree_node=False, default=2)

    def initial_state(self):
        return Pair(jnp.int32(-1), jnp.int32(-1))

    def step(self, state, action):
        second = jnp.where((state.first >= 0) & (state.second < 0), action, state.second)
        return Pair(jnp.where(state.first < 0, action, state.first), second)

    def backward_step(self, state, action):
        whole = state.second >= 0
        return Pair(jnp.where(whole, state.first, -1), jnp.int32(-1))

    def forward_mask(self, state):
        return jnp.broadcast_to(state.second < 0, 3)

    def backward_mask(self, state):
        return (state.first >= 0)[None]

    def backward_action(self, state, action):
        return jnp.zeros((), jnp.int32)

    def forward_action(self, state, action):
        return jnp.maximum(jnp.where(state.second >= 0, state.second, state.first), 0)

    def is_terminal(self, state):
        return state.second >= 0

    def observe(self, state):
        return jnp.stack([state.first, state.second]).astype(jnp.float32)

    def log_reward(self, state):
        return (state.first + state.second).astype(jnp.float32)

    def canonical(self, state):
        return Pair(jnp.maximum(state.first, state.second), jnp.minimum(state.first, state.second))


ENV = Pairs()
ALL = Pair(jnp.repeat(jnp.arange(3), 3), jnp.tile(jnp.arange(3), 3))


def paths():
    """All nine ways to a pair."""
    return rollout.sample_backward(ENV, lambda s: jnp.zeros(1), jax.random.key(0), ALL)


def test_objects_are_told_apart_not_states():
    assert int(modes.first_occurrences(ALL).sum()) == 9
    assert int(modes.first_occurrences(ALL, ENV).sum()) == 6
    best = modes.update_best(modes.empty_best(ENV, 6), ALL, jax.vmap(ENV.log_reward)(ALL), ENV)
    np.testing.assert_array_equal(best.log_reward, [4, 3, 2, 2, 1, 0])
    one = canonical_of(ENV, Pair(jnp.int32(0), jnp.int32(2)))
    assert (int(one.first), int(one.second)) == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda replay: replay, TerminalReplay])
def test_a_buffer_of_distinct_objects_keeps_one_each(make):
    replay = make(Fifo(20, unique=True))
    drawn = paths()
    buffer = replay.start(ENV, jax.tree.map(lambda x: x[0], drawn), True)
    for _ in range(2):
        buffer = replay.store(ENV, buffer, drawn, jnp.zeros(9), jnp.ones((), bool))
        assert int(buffer.size) == 6


def test_a_conditional_environment_passes_it_on(key):
    env = temperature_conditional(ENV, 0.5, 2.0)
    state = env.draw_initial_state(key)._replace(inner=Pair(jnp.int32(0), jnp.int32(2)))
    assert int(canonical_of(env, state).inner.first) == 2
    plain = temperature_conditional(Hypergrid(2, 4), 0.5, 2.0)
    assert not hasattr(plain, "canonical")


def test_conformance(key):
    check_environment(ENV, key)


class Growing(Pairs):
    """Its canonical states have canonical states of their own."""

    def canonical(self, state):
        return state._replace(second=jnp.where(state.second < 0, -1, state.second + 1))


class Unfair(Pairs):
    """Equal objects have other rewards."""

    def log_reward(self, state):
        return state.first.astype(jnp.float32)


@pytest.mark.parametrize(
    ("kind", "message"), [(Growing, "must be canonical"), (Unfair, "must have the reward of s")]
)
def test_a_form_that_is_none_is_refused(kind, message, key):
    with pytest.raises(ConformanceError, match=message):
        check_environment(struct.dataclass(kind)(), key)


# ---------------------------------------------------------------- cut before the end


@struct.dataclass
class Ring:
    """A walk among 5 places, to the right or to the left, that stops where it likes; cyclic."""

    num_actions: int = struct.field(pytree_node=False, default=3)
    num_backward_actions: int = struct.field(pytree_node=False, default=3)
    max_steps: int = struct.field(pytree_node=False, default=4)

    def initial_state(self):
        return jnp.zeros((), jnp.int32), jnp.zeros((), bool)

    def step(self, state, action):
        place, stopped = state
        moved = (place + jnp.array([1, 4, 0])[action]) % 5
        return jnp.where(stopped, place, moved).astype(jnp.int32), stopped | (action == 2)

    def backward_step(self, state, action):
        place, stopped = state
        moved = (place + jnp.array([4, 1, 0])[action]) % 5
        return jnp.where(stopped, place, moved).astype(jnp.int32), jnp.zeros((), bool)

    def forward_mask(self, state):
        return jnp.broadcast_to(~state[1], 3)

    def backward_mask(self, state):
        # s_0 is where it starts: nothing leads back from there.
        moved = (state[0] != 0) & ~state[1]
        return jnp.stack([moved, moved, state[1]])

    def backward_action(self, state, action):
        return action

    def forward_action(self, state, action):
        return action

    def is_terminal(self, state):
        return state[1]

    def observe(self, state):
        return jnp.stack(state).astype(jnp.float32)

    def log_reward(self, state):
        return jnp.zeros(())


@pytest.mark.parametrize("max_steps", [4, 5])
@pytest.mark.parametrize("recording", [False, True])
def test_a_walk_is_cut_where_it_was_with_several_steps_at_once(
    max_steps, recording, key, monkeypatch
):
    env = Ring(max_steps=max_steps)
    record = rollout.Record(lambda said, state, action, undo: action, True) if recording else None

    def walk():
        decide = lambda s: rollout.Decision(jnp.zeros(3))  # noqa: E731
        return rollout.sample_forward(env, decide, key, 64, record=record)[0]

    one = walk()
    monkeypatch.setattr(tuning, "CPU", tuning.CPU._replace(steps_at_once=3))
    jax.tree.map(np.testing.assert_array_equal, walk(), one)
    assert one.cut.any()


def test_a_walk_that_was_cut_says_so(key):
    env = Ring()
    forward_key, backward_key = jax.random.split(key)
    never = jnp.array([0.0, 0.0, -jnp.inf])
    stay, _ = rollout.sample_forward(env, lambda s: rollout.Decision(never), forward_key, 8)
    assert stay.cut.all()
    walks, _ = rollout.sample_forward(
        env, lambda s: rollout.Decision(jnp.zeros(3)), jax.random.key(1), 64
    )
    np.testing.assert_array_equal(walks.cut, ~walks.states[1][:, -1])
    assert walks.cut.any()
    assert not walks.cut.all()

    ends = jnp.full(64, 2, jnp.int32), jnp.ones(64, bool)
    back = rollout.sample_backward(env, lambda s: jnp.zeros(3), backward_key, ends)
    start = back.states[0][:, 0]
    np.testing.assert_array_equal(back.cut, start != 0)
    assert back.cut.any()
    assert not back.cut.all()
    # What there is of a path leads to its end all the same.
    place, stopped = start, jnp.zeros(64, bool)
    for t in range(4):
        moved = jax.vmap(env.step)((place, stopped), back.actions[:, t])
        live = t < back.length
        place, stopped = (
            jnp.where(live, a, b) for a, b in zip(moved, (place, stopped), strict=True)
        )
    np.testing.assert_array_equal(place, 2)
    assert stopped.all()


def test_no_trajectory_of_an_acyclic_environment_is_cut(key):
    env = Hypergrid(2, 4)
    paths, _ = rollout.sample_forward(env, lambda s: rollout.Decision(jnp.zeros(3)), key, 32)
    assert not paths.cut.any()
    back = rollout.sample_backward(
        env, lambda s: jnp.zeros(3), jax.random.key(1), rollout.terminal_states(paths)
    )
    assert not back.cut.any()
