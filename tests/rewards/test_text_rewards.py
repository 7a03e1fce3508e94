"""Rewards of texts against sums by hand: of plain functions, sets, constraints, language models."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from letters import Letters

from gfnjax.envs.bigram import bigram, bigram_model
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import TextState, text
from gfnjax.errors import ArgumentError
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.rewards.language import Continuation, Infilling, Rationale
from gfnjax.rewards.text import (
    Constrained,
    Prefixwise,
    Texts,
    UniformOver,
    text_reward,
    uniform_over,
    whole,
)
from gfnjax.rewards.tokens import Prompts, encoded, prompt_table
from gfnjax.testing import check_environment

SIZE, WIDTH = 6, 4
TOKENIZER = Letters("abcd.e")
STOP = 4


@struct.dataclass
class Remembering:
    """A language model whose features are tanh of a sum over all tokens and their positions.

    Attributes:
        embedding: `[V, W]`; position p weighs its token by 1 + p / 4.
        head: `[W, V]`.
    """

    embedding: jax.Array
    head: jax.Array

    def read(self, tokens, length):
        places = jnp.arange(tokens.size, dtype=jnp.int32)
        return (1 + places.astype(float) / 4)[:, None] * self.embedding[tokens], length

    def unroll(self, memory, tokens):
        terms, length = memory
        read = jnp.arange(len(terms), dtype=jnp.int32) < length
        places = length + jnp.arange(tokens.size, dtype=jnp.int32)
        weight = 1 + places.astype(float) / 4
        own = jnp.cumsum(weight[:, None] * self.embedding[tokens], axis=0)
        return jnp.tanh(jnp.where(read[:, None], terms, 0.0).sum(axis=0)[None] + own)

    def log_probs(self, hidden, targets):
        return jnp.take_along_axis(jax.nn.log_softmax(hidden @ self.head), targets, axis=-1)

    def log_p(self, context, token):
        """By hand, in NumPy, from all that comes before."""
        embedding, head = np.asarray(self.embedding, float), np.asarray(self.head, float)
        total = sum((1 + p / 4) * embedding[t] for p, t in enumerate(context))
        logits = np.tanh(total) @ head
        return logits[token] - np.logaddexp.reduce(logits)

    def log_joint(self, context, tokens):
        steps = range(len(tokens))
        return sum(self.log_p([*context, *tokens[:i]], tokens[i]) for i in steps)


@struct.dataclass
class Cuttable(Remembering):
    """The same, whose memory holds what each token adds."""

    def cut(self, memory, length):
        return memory[0], length


def remembering(kind=Remembering):
    rng = np.random.default_rng(0)
    embedding, head = rng.normal(size=(SIZE, WIDTH)), 2 * rng.normal(size=(WIDTH, SIZE))
    return kind(jnp.asarray(embedding, float), jnp.asarray(head, float))


PROMPTS = [[0, 1], [2], [3, 0, 1]]
# Texts of every length up to 3, after all prompts, some after the same.
WORDS = [(), (1,), (3, 3), (5, 0, 1), (0,), (1, 3, 5), (2, 2)]
NUMBERS = [0, 1, 2, 2, 0, 1, 1]


def batch():
    words = np.array([[*word, 0, 0, 0][:3] for word in WORDS], np.int32)
    length = np.array([len(word) for word in WORDS], np.int32)
    allowed = jnp.array([0, 1, 2, 3, 5, STOP], jnp.int32)
    prompts = prompt_table(PROMPTS)
    numbers = jnp.array(NUMBERS, jnp.int32)
    return Texts(jnp.asarray(words), jnp.asarray(length), allowed[-1], allowed, numbers, prompts)


def check_paths(reward, expected, tolerance=1e-9):
    """All prefixes, whole texts, each text on its own, and under vmap."""
    texts = batch()
    found, ends = np.asarray(jax.jit(reward.path)(texts)), np.asarray(whole(reward, texts))
    assert found.shape == (len(WORDS), 4)
    for row, (word, number) in enumerate(zip(WORDS, NUMBERS, strict=True)):
        values = [expected(word[:n], number) for n in range(len(word) + 1)]
        np.testing.assert_allclose(found[row, : len(values)], values, rtol=tolerance, atol=1e-12)
        np.testing.assert_allclose(ends[row], values[-1], rtol=tolerance, atol=1e-12)
    axes = Texts(0, 0, None, None, 0, None)
    one = jax.vmap(lambda t: whole(reward, t)[0], (axes,))
    each = one(
        texts._replace(
            ids=texts.ids[:, None], length=texts.length[:, None], prompt=texts.prompt[:, None]
        )
    )
    np.testing.assert_allclose(each, ends, rtol=tolerance, atol=1e-12)


def test_functions_of_one_text(x64):
    def weighted(ids, prompt):
        place = jnp.arange(1, ids.size + 1, dtype=jnp.int32)
        return (place * (ids + 1)).sum(dtype=jnp.int32).astype(float) - prompt.astype(float)

    def expected(word, number):
        return sum((p + 1) * (t + 1) for p, t in enumerate(word)) - number

    check_paths(Prefixwise(weighted), expected)


def test_sets_of_texts(x64):
    members = [(1,), (1, 3), (5, 0, 1), (0, 0, 0, 0)]
    check_paths(uniform_over(members), lambda word, _: 0.0 if word in members else -99.0)
    reward = uniform_over(["b", "bd", "eab"], TOKENIZER, log_floor=-5.0)
    check_paths(reward, lambda word, _: 0.0 if word in members else -5.0)
    assert isinstance(reward, UniformOver)


def test_members_must_be_of_allowed_tokens():
    message = "^reward must be uniform over texts of allowed tokens, but 'bd' has 'd': leave it out"
    for reward in (uniform_over(["a", "bd", "e"], TOKENIZER), uniform_over([[1, 3]])):
        for whole_reward in (reward, Constrained(Prefixwise(max), reward)):
            with pytest.raises(ArgumentError, match=message):
                written("c", whole_reward)
    written("c", uniform_over(["a", "bb", "abab"], TOKENIZER))


def test_members_may_be_spelled_with_pieces(x64):
    tokenizer = Letters("0123.", ["10", "01"])
    numbers = ["1", "10", "101"]
    usual = uniform_over(numbers, tokenizer)
    assert usual.members.tokens.tolist() == [[1, 0], [5, 0], [5, 1]]
    spelled = uniform_over([*numbers, [2]], tokenizer, pieces="0123")
    assert spelled.members.tokens.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1], [2, 0, 0]]
    assert spelled.members.length.tolist() == [1, 2, 3, 1]
    longest = uniform_over(numbers, tokenizer, pieces=["1", "0", "01"])
    assert longest.members.tokens.tolist() == [[1, 0], [1, 0], [1, 6]]
    options = {"stop": ".", "allowed": "0123", "max_length": 3}
    with pytest.raises(ArgumentError, match="but '10' has '10': leave it out, or have uniform"):
        text(tokenizer, "3", usual, **options)
    _, log_z = exact.target_distribution(build_graph(text(tokenizer, "3", spelled, **options)))
    np.testing.assert_allclose(log_z, np.log(4), rtol=1e-12)


def test_constraints(x64):
    def without_d(ids, prompt):
        return jnp.where((ids == 3).any(), -jnp.inf, 0.0)

    def base(ids, prompt):
        return -(ids >= 0).sum(dtype=jnp.int32).astype(float)

    def expected(word, _):
        return -len(word) - (99.0 if 3 in word else 0.0)

    check_paths(Constrained(base, without_d), expected)


@pytest.mark.slow
def test_continuations(x64):
    model = remembering()

    def expected(word, number):
        return model.log_joint(PROMPTS[number], [*word, STOP])

    check_paths(Continuation(model), expected)


def test_continuations_of_allowed_tokens(x64):
    model, allowed = remembering(), [1, 3, 5, 0, STOP]
    texts = batch()._replace(allowed=jnp.array(allowed, jnp.int32))
    found = Continuation(model, restricted=True).path(texts)

    def expected(word, number):
        path, total = [*word, STOP], 0.0
        for i, token in enumerate(path):
            said = {t: model.log_p([*PROMPTS[number], *path[:i]], t) for t in allowed}
            total += said[token] - np.logaddexp.reduce(list(said.values()))
        return total

    for row in (1, 3, 5):
        for n in range(len(WORDS[row]) + 1):
            value = expected(WORDS[row][:n], NUMBERS[row])
            np.testing.assert_allclose(found[row, n], value, rtol=1e-9)


SUFFIXES = [[5, 1], [0], [2, 2, 2]]


KINDS = pytest.mark.parametrize("kind", [Remembering, Cuttable])


@pytest.mark.slow
@KINDS
def test_infilling(x64, kind):
    model = remembering(kind)

    def expected(word, number):
        return model.log_joint(PROMPTS[number], [*word, STOP, *SUFFIXES[number]])

    check_paths(Infilling(model, prompt_table(SUFFIXES)), expected)


@pytest.mark.slow
@KINDS
def test_rationales_after_prompts_of_their_own(x64, kind):
    model, seen = remembering(kind), [[4, 4, 0], [1, 1], [2]]

    def expected(word, number):
        return model.log_joint(seen[number], [*word, 3, 5])

    check_paths(Rationale(model, prompt_table([[3, 5]]), prompt_table(seen)), expected)


def test_each_prompt_is_read_once(monkeypatch):
    model, reads = remembering(), []
    read = Remembering.read

    def counted(self, tokens, length):
        jax.debug.callback(lambda _: reads.append(1), length)
        return read(self, tokens, length)

    monkeypatch.setattr(Remembering, "read", counted)
    texts = batch()._replace(prompt=jnp.full(len(WORDS), 2, jnp.int32))
    jax.block_until_ready(jax.jit(Continuation(model).path)(texts))
    jax.effects_barrier()
    assert len(reads) == 1


@struct.dataclass
class Bigram:
    """The bigram model as a language model."""

    table: jax.Array

    def read(self, tokens, length):
        return jnp.zeros(0)

    def unroll(self, memory, tokens):
        return self.table[tokens]

    def log_probs(self, hidden, targets):
        return jnp.take_along_axis(hidden, targets, axis=-1)


def test_the_bigram_task_is_a_continuation_and_an_infilling(x64):
    model, log_z = Bigram(jnp.asarray(bigram_model(4))), []
    for infill in (False, True):
        env = bigram(4, 3, infill=infill)
        reward = Rationale(model, prompt_table([[3]])) if infill else Continuation(model)
        for made in (env, env.replace(reward=reward)):
            log_z.append(float(exact.target_distribution(build_graph(made))[1]))
    np.testing.assert_allclose(log_z[::2], log_z[1::2], rtol=1e-12)


def written(prompts, reward):
    return text(TOKENIZER, prompts, reward, stop=".", allowed="ab", max_length=2)


@pytest.mark.long
def test_an_environment_conforms(key):
    likely = Infilling(remembering(Cuttable), encoded(TOKENIZER, ["e", "ab"]))
    reward = Constrained(likely, uniform_over(["ab"], TOKENIZER))
    check_environment(tempered(written(["ab", "d"], reward), 1.25), key)


def test_short_completions_are_known_exactly(x64):
    model = remembering()
    env = tempered(written("ab", Continuation(model, restricted=True)), 1 / 0.8)
    _, log_z = exact.target_distribution(build_graph(env))
    words = [w for n in (1, 2) for w in itertools.product([0, 1], repeat=n)]

    def log_p(word):
        path, total = [*word, STOP], 0.0
        for i, token in enumerate(path):
            said = [model.log_p([0, 1, *path[:i]], t) for t in (0, 1, STOP)]
            total += model.log_p([0, 1, *path[:i]], token) - np.logaddexp.reduce(said)
        return total

    expected = np.logaddexp.reduce([log_p(word) / 0.8 for word in words])
    np.testing.assert_allclose(log_z, expected, rtol=1e-10)


def test_nothing_is_differentiated(x64):
    env = written("ab", Continuation(remembering()))
    state = TextState(jnp.array([0, -1], jnp.int32), jnp.ones((), bool), jnp.zeros((), jnp.int32))
    gradient = jax.grad(lambda m: env.replace(reward=Continuation(m)).log_reward(state))
    for leaf in jax.tree.leaves(gradient(env.reward.model)):
        assert not leaf.any()


def two_rows():
    return encoded(TOKENIZER, ["a", "b"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Continuation(3), "^model must have read, unroll and log_probs, got 3$"),
        (lambda: uniform_over(["a"]), "^texts are strings: give a tokenizer, or lists of token"),
        (lambda: uniform_over([]), "^texts must hold at least one text, got none$"),
        (lambda: uniform_over([[1]], log_floor=0.0), r"^log_floor must be negative, got 0\.0$"),
        (
            lambda: uniform_over(["abc"], TOKENIZER, pieces="ab"),
            "^texts must be spelled with pieces, 'abc' is not$",
        ),
        (lambda: uniform_over(["a"], TOKENIZER, pieces=["ab"]), "^pieces must be one token each"),
        (lambda: encoded(TOKENIZER, [""], "suffixes"), "^suffixes must each have at least one"),
        (lambda: text_reward(None), "^reward must be a function of "),
        (
            lambda: written(["a", "b", "d"], Infilling(remembering(), two_rows())),
            "^suffixes must be one for each of 3 prompts, got 2$",
        ),
        (
            lambda: written(
                ["a", "b", "d"], Constrained(Continuation(remembering(), False, two_rows()), max)
            ),
            "^prompts must be one for each of 3 prompts, got 2$",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_tables_of_prompts():
    table = encoded(TOKENIZER, ["abc", [5], "e."])
    assert isinstance(table, Prompts)
    assert table.tokens.tolist() == [[0, 1, 2], [5, 0, 0], [5, 4, 0]]
    assert table.length.tolist() == [3, 1, 2]
    assert isinstance(text_reward(max), Prefixwise)
