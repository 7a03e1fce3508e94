"""GPT-2 against one written in NumPy, from files of both kinds."""

import jax
import jax.numpy as jnp
import numpy as np
from small_language_models import (
    GPT2,
    gguf_tensors,
    gpt2_logits,
    gpt2_tensors,
    write_folder,
    write_gguf,
)

from gfnjax.policies.language import LanguageModel, load_language_model

IDS = [5, 17, 0, 39, 22, 5, 31, 8, 8, 12]


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@jax.jit
def log_probs(model, ids):
    """`[n, V]` of what comes next, in one pass."""
    hidden = model.unroll(model.read(ids[:0], jnp.int32(0)), ids)
    every = jnp.arange(model.config.vocabulary, dtype=jnp.int32)
    return model.log_probs(hidden, jnp.broadcast_to(every, (ids.size, every.size)))


def test_it_says_what_numpy_says(tmp_path):
    tensors = gpt2_tensors()
    expected = log_softmax(gpt2_logits(tensors, IDS))
    folder = load_language_model(write_folder(tmp_path / "folder", GPT2, tensors))
    file = load_language_model(write_gguf(tmp_path / "small.gguf", GPT2, gguf_tensors(tensors)))
    for model in (folder, file):
        found = log_probs(model, jnp.array(IDS, jnp.int32))
        np.testing.assert_allclose(found, expected, atol=5e-5)
    assert np.ptp(expected) > 3


def test_names_may_have_a_prefix(tmp_path):
    tensors = {f"transformer.{name}": x for name, x in gpt2_tensors().items()}
    one = load_language_model(write_folder(tmp_path / "one", GPT2, tensors))
    assert one == load_language_model(write_folder(tmp_path / "other", GPT2, gpt2_tensors()))


def test_reading_first_and_then_unrolling_is_unrolling_it_all(tmp_path):
    model = load_language_model(write_folder(tmp_path, GPT2, gpt2_tensors()))
    ids = jnp.array(IDS, jnp.int32)
    whole = jax.jit(LanguageModel.unroll)(model, model.read(ids[:0], jnp.int32(0)), ids)
    padded = jnp.pad(ids, (0, 9), constant_values=9)

    @jax.jit
    def rest(model, length):
        # What is read past the length is not looked at.
        memory = model.read(padded[:7], length)
        return model.unroll(memory, jax.lax.dynamic_slice_in_dim(padded, length, 9))

    for length in (1, 4, 7):
        found = rest(model, jnp.int32(length))[: len(IDS) - length]
        np.testing.assert_allclose(found, whole[length:], atol=1e-4)


def test_double_precision_is_double_throughout(x64, tmp_path):
    tensors = gpt2_tensors()
    model = load_language_model(write_folder(tmp_path, GPT2, tensors))
    double = model.replace(weights=jax.tree.map(lambda x: x.astype(jnp.float64), model.weights))
    expected = log_softmax(gpt2_logits(tensors, IDS))
    found = log_probs(double, jnp.array(IDS, jnp.int32))
    np.testing.assert_allclose(found, expected, atol=1e-10)
