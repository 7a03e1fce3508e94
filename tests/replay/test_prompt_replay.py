"""The best texts of each prompt, against the rules in plain Python."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prompted import NUM_PROMPTS, Prompted, PromptedState, text_rules

from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.tempered import tempered
from gfnjax.replay.edit_distance import edit_distance
from gfnjax.replay.prompts import PromptReplay, num_letters
from gfnjax.rollout import tile
from gfnjax.types import Trajectory

LETTERS, LONGEST = 3, 6
ENV = Prompted(text_rules(LONGEST, LETTERS))
STOP = LETTERS
store = jax.jit(PromptReplay.store, static_argnums=0)


def levenshtein(one, other):
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        last, row[0] = row[0], i + 1
        for j, wanted in enumerate(other):
            best = min(last + (letter != wanted), row[j] + 1, row[j + 1] + 1)
            last, row[j + 1] = row[j + 1], best
    return row[-1]


def random_texts(rng, count, longest=LONGEST):
    return [tuple(rng.integers(0, LETTERS, rng.integers(0, longest + 1))) for _ in range(count)]


def trajectories_of(texts, prompts, log_rewards, stopped=True):
    """As if sampled: of the states only the ends and the prompts are looked at."""
    count, horizon = len(texts), LONGEST + 1
    actions, length = np.zeros((count, horizon), np.int32), np.zeros(count, np.int32)
    for row, text in enumerate(texts):
        word = [*text, STOP] if stopped else text
        actions[row, : len(word)], length[row] = word, len(word)
    inner = tile(tile(ENV.rules.initial_state(), horizon + 1), count)
    inner = inner._replace(stopped=jnp.full((count, horizon + 1), stopped))
    prompt = jnp.broadcast_to(jnp.asarray(prompts, jnp.int32)[:, None], (count, horizon + 1))
    state = PromptedState(inner, prompt)
    log_reward = jnp.asarray(log_rewards, jnp.float32)
    return Trajectory(state, jnp.asarray(actions), jnp.asarray(length), log_reward)


class Rules:
    """What `PromptReplay` says it does, of lists of (log R, text)."""

    def __init__(self, capacity, distance):
        self.capacity, self.distance = capacity, distance
        self.held = [[] for _ in range(NUM_PROMPTS)]

    def add(self, prompt, text, log_reward):
        held = self.held[prompt]
        if any(text == other for _, other in held):
            return
        near = [
            (value, other)
            for value, other in held
            if levenshtein(text, other) < self.distance * (len(text) + len(other))
        ]
        rivals = near or ([min(held)] if len(held) == self.capacity else [])
        if any(log_reward <= value for value, _ in rivals):
            return
        for rival in rivals:
            held.remove(rival)
        held.append((log_reward, text))


def content(memory, prompt):
    found = []
    for actions, length, log_reward in zip(*(np.asarray(x[prompt]) for x in memory), strict=True):
        if length:
            assert actions[length - 1] == STOP
            found.append((float(log_reward), tuple(actions[: length - 1])))
    return sorted(found)


def test_edit_distances_are_those_of_plain_python():
    rng = np.random.default_rng(0)
    ones, others = random_texts(rng, 300), random_texts(rng, 300, 4)

    def padded(texts, width):
        return np.array([[*t, *[9] * (width - len(t))] for t in texts], np.int32)

    found = jax.jit(jax.vmap(edit_distance))(
        padded(ones, LONGEST),
        np.array([len(t) for t in ones], np.int32),
        padded(others, 4),
        np.array([len(t) for t in others], np.int32),
    )
    expected = [levenshtein(a, b) for a, b in zip(ones, others, strict=True)]
    np.testing.assert_array_equal(found, expected)
    assert levenshtein("kitten", "sitting") == 3
    assert len(set(expected)) == LONGEST + 1


@pytest.mark.parametrize("distance", [0.0, 0.25, 0.4])
def test_what_is_kept_follows_the_rules(distance):
    rng = np.random.default_rng(1)
    replay, rules = PromptReplay(NUM_PROMPTS, 5, distance), Rules(5, distance)
    memory = replay.start(ENV)
    taken_back = memory
    for _ in range(8):
        texts = random_texts(rng, 16)
        prompts = rng.integers(0, NUM_PROMPTS, 16)
        # In float32, all different: min of the plain rules has no ties to break.
        values = rng.normal(size=16).astype(np.float32)
        new = trajectories_of(texts, prompts, values)
        taken_back = store(replay, ENV, memory, new, jnp.array(False))
        jax.tree.map(np.testing.assert_array_equal, taken_back, memory)
        memory = store(replay, ENV, memory, new, jnp.array(True))
        for prompt, text, value in zip(prompts, texts, values, strict=True):
            rules.add(prompt, text, float(value))
        for prompt in range(NUM_PROMPTS):
            assert content(memory, prompt) == sorted(rules.held[prompt])
    assert all(len(held) > 1 for held in rules.held)


def test_one_text_may_take_the_place_of_several():
    # A and B differ by 2 letters of 6 each, 2 < .2 * 12 is not: both stay. C is near to both.
    a, b, c = (0, 0, 0, 0, 0, 0), (0, 0, 0, 1, 1, 1), (0, 0, 0, 0, 1, 1)
    replay = PromptReplay(NUM_PROMPTS, 4, 0.2)
    memory = store(
        replay,
        ENV,
        replay.start(ENV),
        trajectories_of([a, b], [1, 1], [1.0, 3.0]),
        jnp.array(True),
    )
    better_than_one = trajectories_of([c], [1], [2.0])
    memory = store(replay, ENV, memory, better_than_one, jnp.array(True))
    assert content(memory, 1) == [(1.0, a), (3.0, b)]
    memory = store(replay, ENV, memory, trajectories_of([c], [1], [4.0]), jnp.array(True))
    assert content(memory, 1) == [(4.0, c)]
    assert content(memory, 0) == []


def test_unfinished_and_infinite_ones_are_not_kept():
    replay = PromptReplay(NUM_PROMPTS, 4)
    keep, memory = jnp.array(True), replay.start(ENV)
    texts = [(0, 1), (1, 1, 1, 1), (2, 2, 2)]
    new = trajectories_of(texts, [0, 0, 7], [np.inf, np.nan, 1.0])
    jax.tree.map(np.testing.assert_array_equal, store(replay, ENV, memory, new, keep), memory)
    new = trajectories_of(texts, [0, 0, 0], [1.0, 1.0, 1.0], stopped=False)
    jax.tree.map(np.testing.assert_array_equal, store(replay, ENV, memory, new, keep), memory)


@pytest.mark.slow
def test_recalls_are_of_the_prompt_asked_for_and_uniform():
    replay = PromptReplay(NUM_PROMPTS, 4, 0.0)
    texts = [(0,), (0, 1), (2, 1, 0), (1, 1)]
    state_of = lambda prompt: ENV.initial_state()._replace(prompt=jnp.int32(prompt))  # noqa: E731
    values = []
    for text, prompt in zip(texts, [0, 0, 0, 2], strict=True):
        state = state_of(prompt)
        for letter in [*text, STOP]:
            state = ENV.step(state, jnp.int32(letter))
        values.append(float(ENV.log_reward(state)))
    new = trajectories_of(texts, [0, 0, 0, 2], values)
    memory = replay.seed(ENV, replay.start(ENV), new)
    sources = jax.tree.map(lambda *x: jnp.stack(x), *(state_of(p) for p in [0, 1, 2] * 300))
    model = SimpleNamespace(env=ENV)
    recall = jax.jit(partial(PromptReplay.recall, replay, model, None))
    found = recall(memory, jax.random.key(0), sources)
    np.testing.assert_array_equal(found.found, [True, False, True] * 300)
    paths = jax.tree.map(np.asarray, found.trajectories)
    np.testing.assert_array_equal(paths.states.prompt[:, -1], [0, 1, 2] * 300)
    counts = dict.fromkeys(texts, 0)
    for row in range(900):
        if row % 3 == 1:
            assert paths.length[row] == 0
            continue
        text = tuple(paths.actions[row, : paths.length[row] - 1])
        counts[text] += 1
        last = paths.states.inner.tokens[row, -1]
        np.testing.assert_array_equal(last, [*text, *[-1] * (LONGEST - len(text))])
        assert paths.states.inner.stopped[row, [0, -1]].tolist() == [False, True]
    assert counts[1, 1] == 300
    # Each of three texts about 100 times of 300: five standard deviations.
    assert all(abs(counts[text] - 100) < 5 * np.sqrt(300 * 2 / 9) for text in texts[:3])
    rewards = jax.vmap(ENV.log_reward)(jax.tree.map(lambda x: x[:, -1], found.trajectories.states))
    there = np.asarray(found.found)
    np.testing.assert_allclose(np.asarray(rewards)[there], paths.log_reward[there], rtol=1e-6)


def test_rewards_follow_the_exponent_in_force():
    replay = PromptReplay(NUM_PROMPTS, 4)
    then, now = (tempered(ENV, jnp.asarray(beta)) for beta in (2.0, 0.5))
    new = trajectories_of([(0, 1)], [0], [3.0])
    memory = store(replay, then, replay.start(then), new, jnp.array(True))
    np.testing.assert_allclose(memory.log_reward[0, 0], 1.5)
    sources = tile(ENV.initial_state(), 1)
    found = replay.recall(SimpleNamespace(env=now), None, memory, jax.random.key(0), sources)
    np.testing.assert_allclose(found.trajectories.log_reward, [0.75])


def test_stops_are_no_letters_where_they_are_known():
    actions = jnp.array([0, 1, STOP, 0], jnp.int32)
    three, two = jnp.int32(3), jnp.int32(2)
    assert int(num_letters(ENV, actions, three)) == 2
    assert int(num_letters(ENV, actions, two)) == 2
    assert int(num_letters(ENV.rules, actions, three)) == 3


def test_errors():
    for options, words in [
        ({"num_prompts": 0}, "num_prompts must be at least 1"),
        ({"num_prompts": 1, "capacity": 0}, "capacity must be at least 1"),
        ({"num_prompts": 1, "distance": -0.1}, "distance must not be negative"),
    ]:
        with pytest.raises(ValueError, match=words):
            PromptReplay(**options)
    PromptReplay(3).check(ENV)
    PromptReplay(1).check(ENV.rules)
    conditional = temperature_conditional(ENV.rules, 1.0, 2.0)
    with pytest.raises(ValueError, match="prompt must tell the conditions of Conditional apart"):
        PromptReplay(3).check(conditional)
    own = PromptReplay(2, prompt=lambda state: (state.condition[0] > 1.5).astype(jnp.int32))
    own.check(conditional)
