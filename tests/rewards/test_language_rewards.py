"""Rewards of real architectures: what is cut from a memory equals what is read again."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from letters import Letters

from gfnjax.envs.text import Text
from gfnjax.errors import ArgumentError
from gfnjax.language import GPT2Config, LlamaConfig
from gfnjax.policies.language_model import LanguageModel
from gfnjax.rewards.language import Continuation, Infilling, Rationale
from gfnjax.rewards.text import Constrained, Texts, whole
from gfnjax.rewards.text_models import CuttableModel
from gfnjax.rewards.tokens import prompt_table

MODELS = {
    "llama": LlamaConfig(13, 8, 12, 2, 4, 2, 4, 32),
    "gpt2": GPT2Config(13, 8, 16, 2, 2, 32),
}
PROMPTS = [[3, 1, 4], [5]]
WORDS = [(7, 8), (9, 9, 9), (), (2,)]
NUMBERS = [0, 1, 1, 0]
STOP = 12


@struct.dataclass
class Uncut:
    """A model without `cut`."""

    model: LanguageModel

    def read(self, tokens, length):
        return self.model.read(tokens, length)

    def unroll(self, memory, tokens):
        return self.model.unroll(memory, tokens)

    def log_probs(self, hidden, targets):
        return self.model.log_probs(hidden, targets)


def texts():
    ids = jnp.array([[*word, 0, 0, 0][:3] for word in WORDS], jnp.int32)
    length = jnp.array([len(word) for word in WORDS], jnp.int32)
    allowed = jnp.arange(13, dtype=jnp.int32)
    numbers = jnp.array(NUMBERS, jnp.int32)
    return Texts(ids, length, allowed[-1], allowed, numbers, prompt_table(PROMPTS))


@jax.jit
def all_said(model, tokens):
    """log p of each of `tokens` `[n]` after the first, in one pass over all of them."""
    hidden = model.unroll(model.read(tokens[:0], jnp.int32(0)), tokens)
    return model.log_probs(hidden[:-1], tokens[1:, None])[:, 0]


def by_hand(model, context, tokens):
    """log p of tokens after a context; what comes behind them does not matter."""
    row = np.zeros(10, np.int32)
    row[: len(context) + len(tokens)] = [*context, *tokens]
    said = np.asarray(all_said(model, row))
    return said[len(context) - 1 :][: len(tokens)].sum()


@pytest.mark.parametrize(("name", "kind"), [("llama", Infilling), ("gpt2", Rationale)])
def test_cut_or_read_again(name, kind):
    model, ends = LanguageModel.random(MODELS[name], jax.random.key(0)), [[1, 2], [11]]
    assert isinstance(model, CuttableModel)
    assert not isinstance(Uncut(model), CuttableModel)
    found, again = (
        np.asarray(jax.jit(kind(m, prompt_table(ends)).path)(texts()))
        for m in (model, Uncut(model))
    )
    for row, (word, number) in enumerate(zip(WORDS, NUMBERS, strict=True)):
        end = [STOP, *ends[number]] if kind is Infilling else ends[number]
        for n in range(len(word) + 1):
            expected = by_hand(model, PROMPTS[number], [*word[:n], *end])
            np.testing.assert_allclose(found[row, n], expected, rtol=2e-5)
            np.testing.assert_allclose(again[row, n], expected, rtol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_continuations(name):
    model = LanguageModel.random(MODELS[name], jax.random.key(0))
    found = np.asarray(jax.jit(partial(whole, Continuation(model)))(texts()))
    for row, (word, number) in enumerate(zip(WORDS, NUMBERS, strict=True)):
        expected = by_hand(model, PROMPTS[number], [*word, STOP])
        np.testing.assert_allclose(found[row], expected, rtol=2e-5)
    # The model's own word on all 13 tokens is the restricted one.
    restricted = jax.jit(partial(whole, Continuation(model, restricted=True)))(texts())
    np.testing.assert_allclose(restricted, found, rtol=1e-5)


LLAMA = LanguageModel.random(MODELS["llama"], jax.random.key(0))  # a context of 32, ids below 13
ENDS = prompt_table([[1, 2], [3, 4, 5, 6]])
LONG = prompt_table([[1] * 9, [2] * 20])


def environment(reward, max_length=3, ids=(7, 8, STOP), prompts=PROMPTS, **options):
    table = prompt_table(prompts)
    return Text(max_length, jnp.array(ids, jnp.int32), reward, table, **options)


@pytest.mark.parametrize(
    ("reward", "most"),
    [
        (Continuation(LLAMA), 32 - 3 - 1),
        (Continuation(LLAMA, prompts=LONG), 32 - 20 - 1),
        (Infilling(LLAMA, ENDS), 32 - 3 - 1 - 4),
        (Infilling(LLAMA, ENDS, LONG), 32 - 20 - 1 - 4),
        (Rationale(LLAMA, ENDS), 32 - 3 - 4),
        (Constrained(max, Rationale(LLAMA, ENDS, LONG)), 32 - 20 - 4),
    ],
)
def test_the_model_must_have_room_for_prompt_text_and_end(reward, most):
    environment(reward, most)
    with pytest.raises(
        ArgumentError,
        match=r"^prompts must have at most .* in the model's context of .*, got (3|20)$",
    ):
        environment(reward, most + 1)


@pytest.mark.parametrize(
    ("make", "name", "wrong"),
    [
        (lambda: environment(Continuation(LLAMA), ids=(7, 13, STOP)), "env.token_ids", 13),
        (lambda: environment(Continuation(LLAMA), prompts=[[1], [14]]), "prompts", 14),
        (lambda: environment(Continuation(LLAMA, prompts=prompt_table([[-1]] * 2))), "prompts", -1),
        (lambda: environment(Infilling(LLAMA, prompt_table([[13, 2]]))), "suffixes", 13),
        (lambda: environment(Rationale(LLAMA, prompt_table([[2, 99]]))), "answers", 99),
    ],
)
def test_the_model_must_know_all_tokens(make, name, wrong):
    message = rf"^{name} must be in the model's vocabulary 0\.\.12, got {wrong}$"
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_model_without_a_config_has_no_limits():
    environment(Rationale(Uncut(LLAMA), prompt_table([[2, 99]])), 100)


def test_environments_may_be_made_while_jax_traces():
    states = environment(Infilling(LLAMA, ENDS)).initial_state()

    @jax.jit
    def value(reward, prompts):
        env = environment(reward).replace(prompts=prompts)
        return env.log_partial_reward(states)

    assert jnp.isfinite(value(Infilling(LLAMA, ENDS), prompt_table(PROMPTS)))


def test_tokenizers_must_be_the_same():
    own = LLAMA.replace(tokenizer=Letters("abcdefghijkl."))
    environment(Continuation(own))
    environment(Continuation(own), tokenizer=Letters("abcdefghijkl."))
    environment(Continuation(LLAMA), tokenizer=Letters("abcdefghijkl."))
    with pytest.raises(
        ArgumentError, match=r"^reward: model has another tokenizer than the environment, .*; make"
    ):
        environment(Infilling(own, ENDS), tokenizer=Letters("abcdefghijlk."))
