"""Folders with config.json and safetensors: precision, parts, and errors."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from small_language_models import (
    GPT2,
    LLAMA,
    VOCABULARY,
    gpt2_tensors,
    llama_tensors,
    write_folder,
)

from gfnjax.errors import ArgumentError, MissingExtraError
from gfnjax.language import GPT2Config, LlamaConfig, load

DOWN = "model.layers.1.mlp.down_proj.weight"


def test_sizes_and_arrays(tmp_path):
    tensors = llama_tensors()
    found = load(write_folder(tmp_path / "llama", LLAMA, tensors))
    assert found.config == LlamaConfig(VOCABULARY, 32, 64, 2, 4, 2, 8, 64, 1000.0, 1e-3)
    base = found.weights["base"]
    np.testing.assert_array_equal(base["layer_1"]["down"]["kernel"], tensors[DOWN].T)
    name = "model.layers.0.self_attn.q_proj.weight"
    np.testing.assert_array_equal(base["layer_0"]["q"]["kernel"], tensors[name].T)
    assert (found.tokenizer.size, found.tokenizer.eos) == (VOCABULARY, 0)
    tensors = gpt2_tensors()
    found = load(write_folder(tmp_path / "gpt2", GPT2, tensors))
    assert found.config == GPT2Config(VOCABULARY, 32, 128, 2, 4, 64, 1e-3)
    kernel = found.weights["base"]["layer_1"]["down"]["kernel"]
    np.testing.assert_array_equal(kernel, tensors["h.1.mlp.c_proj.weight"])


def test_sizes_that_need_not_be_said(tmp_path):
    config = {name: x for name, x in LLAMA.items() if name not in ("head_dim", "rope_theta")}
    config |= {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    config |= {"eos_token_id": [3, 4]}
    found = load(write_folder(tmp_path, config, llama_tensors()))
    assert (found.config.head_size, found.config.rotary_base) == (8, 500.0)
    assert found.tokenizer.eos == 3


def test_half_precision_in_the_file(tmp_path):
    tensors = {name: x.astype(ml_dtypes.bfloat16) for name, x in llama_tensors().items()}
    found = load(write_folder(tmp_path, LLAMA, tensors))
    kernel = found.weights["base"]["layer_1"]["down"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors[DOWN].astype(np.float32).T)


def test_several_files(tmp_path):
    from safetensors.numpy import save_file

    tensors = llama_tensors()
    whole = load(write_folder(tmp_path, LLAMA, tensors))
    (tmp_path / "model.safetensors").unlink()
    names, index = sorted(tensors), {}
    for i, part in enumerate((names[:5], names[5:])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / file)
        index |= dict.fromkeys(part, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    parts = load(tmp_path)
    assert jax.tree.structure(parts.weights) == jax.tree.structure(whole.weights)
    for one, other in zip(*map(jax.tree.leaves, (parts.weights, whole.weights)), strict=True):
        np.testing.assert_array_equal(one, other)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"no such file: .*{file}"):
        load(tmp_path)


def test_without_a_tokenizer(tmp_path):
    assert load(write_folder(tmp_path, LLAMA, llama_tensors(), tokenizer=False)).tokenizer is None


def test_a_table_may_have_more_rows_than_there_are_tokens(tmp_path):
    tensors, name = llama_tensors(), "model.embed_tokens.weight"
    tensors[name] = np.pad(tensors[name], ((0, 8), (0, 0)))
    found = load(write_folder(tmp_path, LLAMA | {"vocab_size": VOCABULARY + 8}, tensors))
    assert found.config.vocabulary == VOCABULARY + 8
    assert found.tokenizer.size == VOCABULARY
    assert found.weights["base"]["embedding"]["table"].shape == (VOCABULARY + 8, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "architecture is 'mamba', of which nothing is known here: use"),
        ({"model_type": None}, "config.json lacks 'model_type'"),
        ({"hidden_size": None}, "config.json lacks 'hidden_size'"),
        ({"hidden_act": "gelu"}, "has hidden_act = 'gelu', and only 'silu' is known here"),
        ({"attention_bias": True}, "has attention_bias = True, and only False"),
        ({"rope_scaling": {"rope_type": "llama3"}}, r"rotary positions \('llama3'\)"),
        ({"num_key_value_heads": 3}, "num_heads must be a multiple of num_key_value_heads = 3"),
        ({"tie_word_embeddings": False}, "lacks the tensor lm_head.weight"),
        ({"vocab_size": 39}, "has a tokenizer of 40 tokens for a model of 39"),
        ({"intermediate_size": 65}, r"gate_proj.weight of shape \(65, 32\), .* got \(64, 32\)"),
    ],
)
def test_what_is_wrong_is_named(changes, message, tmp_path):
    folder = write_folder(tmp_path, LLAMA | changes, llama_tensors())
    with pytest.raises(ArgumentError, match=message):
        load(folder)


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match=r"holds no config.json and no .gguf files"):
        load(tmp_path)
    folder = write_folder(tmp_path, LLAMA, llama_tensors())
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ArgumentError, match=r"tokenizer.json holds no tokenizer"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ArgumentError, match="is no safetensors file, or a damaged one"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file: .*model.safetensors"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ArgumentError, match=r"config.json is no JSON"):
        load(folder)


def test_without_the_package(tmp_path, monkeypatch):
    folder = write_folder(tmp_path, LLAMA, llama_tensors())
    for name, purpose in (("tokenizers", "a tokenizer"), ("safetensors", "reading a .safetensors")):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(MissingExtraError, match=f"{purpose}.* needs {name}: install it with"):
            load(folder)
