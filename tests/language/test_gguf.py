"""GGUF files: types of tensors, the permutation of queries and keys, sizes, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_language_models import (
    GPT2,
    LLAMA,
    TOKENS,
    VOCABULARY,
    gguf_tensors,
    gpt2_tensors,
    llama_tensors,
    permuted,
    write_gguf,
)

from gfnjax.errors import ArgumentError, MissingExtraError
from gfnjax.language import GPT2Config, LlamaConfig, load

UP = "blk.1.ffn_up.weight"


@pytest.fixture
def tensors():
    return permuted(gguf_tensors(llama_tensors()))


def written(tmp_path, tensors, kinds=None, config=LLAMA, **more):
    return write_gguf(tmp_path / "small.gguf", config, tensors, kinds, **more)


def test_sizes_and_arrays_of_a_llama(tmp_path, tensors):
    found = load(written(tmp_path, tensors))
    size = VOCABULARY, 32, 64, 2, 4, 2, 8, 64
    # The file has both numbers in single precision.
    assert found.config == LlamaConfig(*size, 1000.0, float(np.float32(1e-3)))
    assert found.tokenizer.eos == 0
    there = llama_tensors()
    base = found.weights["base"]
    assert set(base) == {"embedding", "layer_0", "layer_1", "norm"}
    for name, ours in {
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "down": "mlp.down_proj",
    }.items():
        expected = there[f"model.layers.1.{ours}.weight"].T  # not permuted
        np.testing.assert_array_equal(base["layer_1"][name]["kernel"], expected)
    np.testing.assert_array_equal(base["embedding"]["table"], there["model.embed_tokens.weight"])
    assert sum(x.size for x in jax.tree.leaves(base)) == sum(x.size for x in there.values())


def test_queries_keys_and_values_of_a_gpt2_are_parts_of_one_tensor(tmp_path):
    there = gpt2_tensors()
    path = written(tmp_path, gguf_tensors(there), config=GPT2)
    found = load(path)
    assert found.config == GPT2Config(VOCABULARY, 32, 128, 2, 4, 64, float(np.float32(1e-3)))
    layer = found.weights["base"]["layer_0"]
    for i, name in enumerate("qkv"):
        part = slice(32 * i, 32 * i + 32)
        np.testing.assert_array_equal(
            layer[name]["kernel"], there["h.0.attn.c_attn.weight"][:, part]
        )
        np.testing.assert_array_equal(layer[name]["bias"], there["h.0.attn.c_attn.bias"][part])


def test_a_head_of_its_own(tmp_path):
    tensors = permuted(gguf_tensors(llama_tensors(tied=False)))
    found = load(written(tmp_path, tensors))
    assert not found.config.tied
    np.testing.assert_array_equal(found.weights["base"]["head"]["table"], tensors["output.weight"])


def blocks(x, kind):
    """Numbers of one row as a type keeps them, by its definition."""
    import gguf

    raw = gguf.quants.quantize(x, gguf.GGMLQuantizationType[kind]).view(np.uint8)
    if kind == "F16":
        return x.astype(np.float16)
    if kind == "BF16":
        bits = raw.view(np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32)
    if kind == "Q8_0":  # 34 bytes: a scale, 32 signed bytes
        block = raw.reshape(-1, 34)
        scale = block[:, :2].copy().view(np.float16).astype(np.float32)
        return (scale * block[:, 2:].view(np.int8)).reshape(x.shape)
    block = raw.reshape(-1, 20)  # Q4_1: scale, least, low halves of 16 bytes, high halves
    scale, least = (block[:, i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
    halves = np.concatenate([block[:, 4:] & 15, block[:, 4:] >> 4], axis=1)
    return (scale * halves + least).reshape(x.shape)


@pytest.mark.parametrize(
    ("kind", "error"), [("F16", 1e-3), ("BF16", 1e-2), ("Q8_0", 1e-2), ("Q4_1", 0.15)]
)
def test_types_of_tensors(kind, error, tmp_path, tensors):
    found = load(written(tmp_path, tensors, {UP: kind, "token_embd.weight": kind}))
    for ours, name in (
        (found.weights["base"]["layer_1"]["up"]["kernel"].T, UP),
        (found.weights["base"]["embedding"]["table"], "token_embd.weight"),
    ):
        np.testing.assert_allclose(ours, blocks(tensors[name], kind), rtol=1e-6)
        away = np.abs(ours - tensors[name]).max()
        assert 0 < away < error


def test_half_precision(tmp_path, tensors):
    found = load(written(tmp_path, tensors), dtype="bfloat16")
    assert {x.dtype for x in jax.tree.leaves(found.weights)} == {jnp.dtype("bfloat16")}
    with pytest.raises(ArgumentError, match="dtype must be 'float32' or 'bfloat16', got 'float16'"):
        load(tmp_path / "small.gguf", dtype="float16")


def test_a_folder_that_holds_just_one(tmp_path, tensors):
    written(tmp_path, tensors)
    assert load(tmp_path).config == load(str(tmp_path / "small.gguf")).config
    write_gguf(tmp_path / "other.gguf", LLAMA, tensors)
    with pytest.raises(ArgumentError, match=r"holds no config.json and 2 .gguf files: give"):
        load(tmp_path)


def test_what_is_not_known_is_named(tmp_path, tensors):
    with pytest.raises(ArgumentError, match=f"holds {UP} as Q4_0, .* F32, F16, BF16, Q8_0, Q4_1"):
        load(written(tmp_path, tensors, {UP: "Q4_0"}))
    with pytest.raises(ArgumentError, match=r"architecture 'gemma3', of which .* use a 'llama' or"):
        load(written(tmp_path, tensors, config=GPT2 | {"model_type": "gemma3"}))
    with pytest.raises(
        ArgumentError, match="'gpt2' with the splitter 'falcon', which is not known"
    ):
        load(written(tmp_path, tensors, splitter="falcon"))
    with pytest.raises(ArgumentError, match="scales its rotary positions"):
        load(written(tmp_path, tensors, llama__rope__scaling__type="yarn"))


def test_what_is_missing_or_damaged_is_named(tmp_path, tensors):
    less = {name: x for name, x in tensors.items() if name != UP}
    with pytest.raises(ArgumentError, match=rf"small.gguf lacks the tensor {UP}"):
        load(written(tmp_path, less))
    wrong = tensors | {UP: tensors[UP][:-1]}
    with pytest.raises(ArgumentError, match=rf"{UP} of shape \(64, 32\), .* got \(63, 32\)"):
        load(written(tmp_path, wrong))
    (tmp_path / "small.gguf").write_bytes(b"GGUG" + bytes(100))
    with pytest.raises(ArgumentError, match="is no GGUF file, or a damaged one"):
        load(tmp_path / "small.gguf")
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*none.gguf"):
        load(tmp_path / "none.gguf")


def test_without_the_package(tmp_path, tensors, monkeypatch):
    path = written(tmp_path, tensors)
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(
        MissingExtraError, match=r"reading a .gguf file needs gguf: install it with"
    ):
        load(path)


def test_the_words_of_the_tokenizer(tmp_path, tensors):
    tokenizer = load(written(tmp_path, tensors)).tokenizer
    assert tokenizer.size == len(TOKENS)
    names = [TOKENS[i] for i in tokenizer.encode("abc ab 123<|end|>")]
    assert names == ["ab", "c", "Ġab", "Ġ", "12", "3", "<|end|>"]
    alone = load(written(tmp_path, tensors, splitter="smollm")).tokenizer
    names = [TOKENS[i] for i in alone.encode("ab 123")]
    assert names == ["ab", "Ġ", "1", "2", "3"]
    assert alone != tokenizer
