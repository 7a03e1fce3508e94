"""The Llama against one written in NumPy, from files of both kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_language_models import (
    LLAMA,
    VOCABULARY,
    gguf_tensors,
    llama_logits,
    llama_tensors,
    permuted,
    write_folder,
    write_gguf,
)

from gfnjax.language import LlamaConfig
from gfnjax.policies.language import LanguageModel, load_language_model
from gfnjax.policies.llama import turn

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


@pytest.mark.parametrize("tied", [True, False])
def test_it_says_what_numpy_says(tied, tmp_path):
    tensors = llama_tensors(tied)
    config = LLAMA | {"tie_word_embeddings": tied}
    model = load_language_model(write_folder(tmp_path, config, tensors))
    expected = log_softmax(llama_logits(tensors, IDS))
    np.testing.assert_allclose(log_probs(model, jnp.array(IDS, jnp.int32)), expected, atol=2e-5)
    assert np.ptp(expected) > 3


def test_pairs_of_gguf_files_are_neighbours(tmp_path):
    """The file as it is, turned as such files mean it; no permutation is undone in NumPy."""
    tensors = llama_tensors()
    there = permuted(gguf_tensors(tensors))
    model = load_language_model(write_gguf(tmp_path / "small.gguf", LLAMA, there))
    moved = dict(tensors)
    for i in range(2):
        for name in "qk":
            moved[f"model.layers.{i}.self_attn.{name}_proj.weight"] = there[
                f"blk.{i}.attn_{name}.weight"
            ]
    expected = log_softmax(llama_logits(moved, IDS, neighbours=True))
    found = log_probs(model, jnp.array(IDS, jnp.int32))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # Halves, of rows as the file has them: fluent, and wrong.
    assert np.abs(log_softmax(llama_logits(moved, IDS)) - expected).max() > 0.1


def test_reading_first_and_then_unrolling_is_unrolling_it_all(tmp_path):
    model = load_language_model(write_folder(tmp_path, LLAMA, llama_tensors()))
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
        np.testing.assert_allclose(found, whole[length:], atol=1e-5)


def test_later_tokens_change_nothing_before_them():
    model = LanguageModel.random(LlamaConfig(VOCABULARY, 8, 8, 2, 2, 1, 4, 32), jax.random.key(0))
    ids = jnp.array(IDS, jnp.int32)
    one, other = (log_probs(model, x) for x in (ids, ids.at[6].set(1)))
    np.testing.assert_array_equal(one[:6], other[:6])
    assert float(jnp.abs(one[6:] - other[6:]).max()) > 1e-3


def test_turning_keeps_lengths_and_depends_on_distances_alone(x64):
    heads = jax.random.normal(jax.random.key(1), (2, 1, 8))
    at = jnp.array([3, 8], jnp.int32)
    one, other = (turn(heads, at + shift, 100.0)[:, 0] for shift in (0, 50))
    np.testing.assert_allclose(one[0] @ one[1], other[0] @ other[1], rtol=1e-9)
    np.testing.assert_allclose(jnp.linalg.norm(one, axis=1), jnp.linalg.norm(heads[:, 0], axis=1))
    # Pair 0 turns by one radian a position.
    a, b = heads[0, 0, 0], heads[0, 0, 4]
    np.testing.assert_allclose(one[0, 0], a * np.cos(3) - b * np.sin(3), rtol=1e-9)


def test_double_precision_is_double_throughout(x64, tmp_path):
    tensors = llama_tensors()
    model = load_language_model(write_folder(tmp_path, LLAMA, tensors))
    ids = jnp.array(IDS, jnp.int32)
    assert log_probs(model, ids).dtype == jnp.float32
    double = model.replace(weights=jax.tree.map(lambda x: x.astype(jnp.float64), model.weights))
    expected = log_softmax(llama_logits(tensors, IDS))
    np.testing.assert_allclose(log_probs(double, ids), expected, atol=1e-10)
