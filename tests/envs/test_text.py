"""Texts after prompts: conformance, what they are worth, forced tokens, strings, errors."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from letters import Letters

import gfnjax
from gfnjax import rollout
from gfnjax.envs.base import (
    Conditioned,
    Enumerable,
    PartialReward,
    PathReward,
    SparselyObserved,
    Stoppable,
)
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.drawing import Renderable
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import ListedText, PromptedText, Text, TextState, text
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.policies.causal import causal_transformer_policy
from gfnjax.rewards.text import Prefixwise, uniform_over
from gfnjax.testing import ConformanceError, check_environment

TOKENIZER = Letters("abcd.", ["ab"])


def b_after_the_prompt(ids, prompt):
    """1/2 for each b (id 1), less with the prompt's number; past the end there is -1."""
    count = (ids == 1).sum(dtype=jnp.int32) - (ids == 3).sum(dtype=jnp.int32)
    return 0.5 * count.astype(float) - prompt.astype(float)


def letters(prompts="ab", reward=b_after_the_prompt, **options):
    options = {"stop": ".", "allowed": "bd", "max_length": 3} | options
    return text(TOKENIZER, prompts, reward, **options)


def d_after_b(tokens, prompt):
    """Action 1, letter d, must follow the first action 0, letter b."""
    size = (tokens >= 0).sum(dtype=jnp.int32)
    return jnp.where((size == 1) & (tokens[0] == 0), 1, -1)


SubTB = gfnjax.SubTrajectoryBalance()
SEVERAL = ["a", "ba", "c"]
KINDS = {
    "one": lambda: letters(),
    "short": lambda: letters(min_length=0, max_length=2),
    "long": lambda: letters(min_length=2, max_length=2),
    "several": lambda: letters(SEVERAL),
    "one-of-several": lambda: letters(SEVERAL).at(2),
    "forced": lambda: letters(SEVERAL, forced=d_after_b),
    "tempered": lambda: tempered(letters(SEVERAL), 2.5),
    "conditional": lambda: temperature_conditional(letters(), 0.5, 2.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_conforms(key, name):
    check_environment(KINDS[name](), key)


def test_abilities():
    one, several = letters(), letters(SEVERAL)
    for env in (one, several, several.at(0), tempered(one, 2.0)):
        assert isinstance(env, PartialReward)
        assert isinstance(env, Stoppable)
        assert isinstance(env, PathReward)
        assert isinstance(env, SparselyObserved)
        assert isinstance(env, Renderable)
        assert env.stop_action == 2
    assert isinstance(one, Enumerable)
    assert not isinstance(one, Conditioned)
    assert isinstance(several, Conditioned)
    assert not isinstance(several, Enumerable)
    assert isinstance(several.at(1), ListedText)
    assert isinstance(temperature_conditional(one, 0.5, 2.0), PathReward)
    assert not isinstance(letters(forced=d_after_b), Enumerable)
    assert not isinstance(gfnjax.Hypergrid(2, 4), PathReward)


@pytest.mark.parametrize(("min_length", "prompt"), [(0, 0), (1, 1), (3, 2)])
def test_partition_function_is_the_sum_over_all_texts(min_length, prompt):
    env = letters(SEVERAL, min_length=min_length).at(prompt)
    words = [w for n in range(min_length, 4) for w in itertools.product("bd", repeat=n)]
    rewards = [0.5 * (w.count("b") - w.count("d")) - prompt for w in words]
    graph = build_graph(env)
    assert int(graph.terminal.sum()) == len(words)
    _, log_z = exact.target_distribution(graph)
    np.testing.assert_allclose(log_z, np.logaddexp.reduce(rewards), rtol=1e-5)


def test_where_a_text_may_stop():
    env = letters(min_length=1, max_length=2)
    state = env.initial_state()
    assert env.forward_mask(state).tolist() == [True, True, False]
    state = env.step(state, jnp.int32(1))
    assert env.forward_mask(state).tolist() == [True, True, True]
    state = env.step(state, jnp.int32(0))
    assert state.tokens.tolist() == [1, 0]
    assert env.forward_mask(state).tolist() == [False, False, True]
    stopped = env.step(state, jnp.int32(2))
    assert stopped.stopped
    assert not env.forward_mask(stopped).any()


def test_a_forced_token_is_the_only_one_allowed():
    env = letters(forced=d_after_b)
    state = env.step(env.initial_state(), jnp.int32(0))
    assert env.forward_mask(state).tolist() == [False, True, False]
    assert env.forward_mask(env.step(state, jnp.int32(1))).tolist() == [True] * 3
    other = env.step(env.initial_state(), jnp.int32(1))
    assert env.forward_mask(other).tolist() == [True] * 3
    full = letters(forced=d_after_b, max_length=1)
    state = full.step(full.initial_state(), jnp.int32(0))
    assert full.forward_mask(state).tolist() == [False, False, True]
    assert not full.forward_mask(full.step(state, jnp.int32(2))).any()


def test_what_each_state_of_a_trajectory_is_worth():
    env = letters(SEVERAL)
    tokens = jnp.array([[-1, -1, -1], [0, -1, -1], [0, 1, -1], [0, 1, -1], [0, 1, -1]], jnp.int32)
    stopped = jnp.array([False, False, False, True, True])
    states = TextState(tokens[None], stopped[None], jnp.full((1, 5), 2, jnp.int32))
    actions = jnp.array([[0, 1, 2, 0]], jnp.int32)
    path = rollout.Trajectory(states, actions, jnp.array([3]), jnp.array([-2.0]))
    expected = [-2.0, -1.5, -2.0, -2.0, -2.0]
    np.testing.assert_allclose(env.log_path_rewards(path)[0], expected)
    np.testing.assert_allclose(
        tempered(env, 3.0).log_path_rewards(path)[0], np.multiply(3, expected)
    )
    window = path._replace(
        states=jax.tree.map(lambda x: x[:, 1:3], states), actions=actions[:, 1:2]
    )
    np.testing.assert_allclose(env.log_path_rewards(window)[0], expected[1:3])
    ends = jax.tree.map(lambda x: x[0], states)
    np.testing.assert_allclose(jax.vmap(env.log_reward)(ends), expected)


@struct.dataclass
class Crooked:
    """A reward whose path disagrees with what it says of whole texts."""

    error: float = 1.0

    def path(self, texts):
        return jnp.zeros((len(texts.ids), texts.ids.shape[1] + 1))

    def whole(self, texts):
        return jnp.where(texts.length == 2, self.error, 0.0)


def test_paths_that_disagree_are_named(key):
    with pytest.raises(
        ConformanceError, match=r"^log_path_rewards: must be the log_\w+ of each state; "
    ):
        check_environment(letters(reward=Crooked()), key)


def test_prompts_are_drawn_alike_and_seen(key):
    env = letters(SEVERAL)
    draws = jax.vmap(env.draw_initial_state)(jax.random.split(key, 3_000))
    np.testing.assert_allclose(np.bincount(draws.prompt) / 3_000, 1 / 3, atol=0.03)
    np.testing.assert_array_equal(env.prompts.tokens, [[0, 0], [1, 0], [2, 0]])
    np.testing.assert_array_equal(env.prompts.length, [1, 2, 1])
    state = env.step(env.at(2).initial_state(), jnp.int32(0))
    assert env.observe(state).tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1]
    assert env.at(2).observe(state).tolist() == env.observe(state).tolist()
    assert letters().observe(state).tolist() == env.observe(state).tolist()[:-3]


def test_strings_and_ids():
    env = letters(max_length=3, allowed=["b", 5, "d"])
    assert env.token_ids.tolist() == [1, 5, 3, 4]
    tokens = jnp.array([[0, 1, -1], [-1, -1, -1], [2, 2, 2]], jnp.int32)
    states = TextState(tokens, jnp.ones(3, bool), jnp.zeros(3, jnp.int32))
    assert env.texts(states) == ["bab", "", "ddd"]
    assert env.ids(tokens).tolist() == [[1, 5, -1], [-1, -1, -1], [3, 3, 3]]
    bare = Text(3, env.token_ids, b_after_the_prompt, env.prompts)
    assert bare.texts(states) == ["1 5", "", "3 3 3"]
    assert letters(allowed=None).token_ids.tolist() == [0, 1, 2, 3, 5, 4]
    assert letters([[0, 1], "c"]).prompts.tokens.tolist() == [[0, 1], [2, 0]]


def test_pictures_show_the_most_likely_texts():
    env = letters(reward=uniform_over(["b", "bd"], TOKENIZER))
    tokens = jnp.array([[0, 1, -1], [0, -1, -1], [0, 1, -1]], jnp.int32)
    states = TextState(tokens, jnp.ones(3, bool), jnp.zeros(3, jnp.int32))
    texts, rewards, lengths = env.render(states, np.array([0.25, 0.4, 0.35]))
    assert texts.x_ticks == ("bd", "b")
    np.testing.assert_allclose(texts.values, [0.6, 0.4])
    np.testing.assert_allclose(lengths.values, [0.4, 0.6])
    assert rewards.values.sum() == pytest.approx(1.0)
    assert float(env.measure(states)["text_length"]) == pytest.approx(5 / 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "several"])
@pytest.mark.parametrize("network", ["causal", "mlp"])
def test_ordinary_networks_train(key, name, network):
    env = KINDS[name]()
    causal = network == "causal"
    policy = causal_transformer_policy(env, 8, 2, 1) if causal else gfnjax.mlp_policy(env, (8,))
    gfn = GFlowNet(env, policy, SubTB, batch_size=4)
    _, info = jax.jit(gfn.step)(gfn.init(key))
    assert jnp.isfinite(info.loss)


@pytest.mark.long
def test_forced_tokens_are_what_is_sampled(key):
    env = letters(SEVERAL, forced=d_after_b)
    gfn = GFlowNet(env, causal_transformer_policy(env, 8, 2, 1), SubTB, batch_size=64)
    tokens = np.asarray(gfn.draw(gfn.init(key))[0].trajectories.states.tokens[:, -1])
    after_b = tokens[tokens[:, 0] == 0]
    assert len(after_b) > 10
    assert (after_b[:, 1] == 1).all()


def test_equal_and_pickled():
    for make in (KINDS["one"], KINDS["several"], KINDS["forced"]):
        assert make() == make()
        assert pickle.loads(pickle.dumps(make())) == make()
    assert letters() != letters("ba")
    env = letters()
    assert jax.tree.map(lambda x: x, env) == env
    assert isinstance(env.reward, Prefixwise)
    assert env.replace(max_length=2).reward == env.reward


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed": []}, "^allowed must hold at least one token, got none$"),
        ({"allowed": "b."}, "^allowed must not hold the stop token '.': leave it out$"),
        (
            {"allowed": ["b", "bc"]},
            "^allowed must be one token each, but 'bc' splits into 'b' 'c'$",
        ),
        ({"allowed": [1, 9]}, r"^allowed must be ids in 0\.\.5 of the vocabulary, got 9$"),
        ({"stop": ""}, "^stop must be one token each, but '' splits into nothing$"),
        ({"stop": 6}, r"^stop must be ids in 0\.\.5 of the vocabulary, got 6$"),
        ({"prompts": ""}, "^prompts must each have at least one token, number 0 has none$"),
        ({"prompts": ["a", ""]}, "^prompts must each have at least one token, number 1 has none$"),
        ({"prompts": []}, "^prompts must hold at least one text, got none$"),
        ({"prompts": [[7]]}, r"^prompts must be ids in 0\.\.5 of the vocabulary, got 7$"),
        (
            {"prompts": [1, 2]},
            "^prompts must be strings or lists of ids, got 1: wrap a list of ids in a list$",
        ),
        ({"prompts": np.array([1, 2])}, "^prompts must be strings or lists of ids, got "),
        ({"max_length": 0}, "^max_length must be at least 1, got 0$"),
        ({"min_length": 4}, r"^min_length must be in 0\.\.max_length = 3, got 4$"),
        ({"reward": 3.0}, "^reward must be a function of .*, got 3.0$"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ArgumentError, match=message):
        letters(**options)


def test_states_of_texts_after_prompts():
    env = letters(SEVERAL)
    assert env.states(["b", "db"]).prompt.tolist() == [0, 0]
    assert env.at(2).states(["b", "db"]).prompt.tolist() == [2, 2]
    assert env.at(2).states(["b", "db"], 1).prompt.tolist() == [1, 1]
    assert env.states(iter(["b", "db"]), [2, 0]).prompt.tolist() == [2, 0]
    assert float(env.at(2).log_rewards(env.at(2).states(["bb"]))[0]) == -1.0
    for wrong in (3, -1, [0, 3]):
        with pytest.raises(ArgumentError, match=r"^prompts must be in 0\.\.2, got (3|-1)$"):
            env.states(["b", "d"], wrong)
    with pytest.raises(ArgumentError, match=r"^prompts must be one for each of 3 texts, got 2$"):
        env.states(["b", "d", "b"], [0, 1])


def test_listed_texts_are_not_forced():
    message = r"^forced leaves states of a ListedText out, .*: give forced to text\(\)$"
    with pytest.raises(ArgumentError, match=message):
        letters().replace(forced=d_after_b)
    assert letters(SEVERAL).replace(forced=d_after_b).forced is not None


def test_unknown_prompts():
    with pytest.raises(ArgumentError, match=r"^prompt must be in 0\.\.2, got 3$"):
        letters(SEVERAL).at(3)
    env = letters()
    with pytest.raises(ArgumentError, match=r"^token_ids must be \[A \+ 1\] ids"):
        PromptedText(3, jnp.zeros(1, jnp.int32), b_after_the_prompt, env.prompts)
