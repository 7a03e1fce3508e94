"""Language models in GGUF files, by the `gguf` package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.language.architectures import Config, GPT2Config, LlamaConfig
from gfnjax.language.extra import package
from gfnjax.language.source import Layout, Place, Source
from gfnjax.language.tokenizer import SPLITTERS, Tokenizer, byte_level

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_1")
# Types of tokens that stand for themselves in a text: control, and what a user has added.
_SPECIAL = (3, 4)
_OTHERS = {
    "embedding.table": Place("token_embd.weight"),
    "positions.table": Place("position_embd.weight"),
    "norm.scale": Place("output_norm.weight"),
    "norm.bias": Place("output_norm.bias"),
    "head.table": Place("output.weight"),
}
LLAMA = Layout(
    {
        "attention_norm.scale": Place("attn_norm.weight"),
        "hidden_norm.scale": Place("ffn_norm.weight"),
        "q.kernel": Place("attn_q.weight", True, permuted=True),
        "k.kernel": Place("attn_k.weight", True, permuted=True),
        "v.kernel": Place("attn_v.weight", True),
        "o.kernel": Place("attn_output.weight", True),
        "gate.kernel": Place("ffn_gate.weight", True),
        "up.kernel": Place("ffn_up.weight", True),
        "down.kernel": Place("ffn_down.weight", True),
    },
    _OTHERS,
    "blk.{}.",
)
_GPT2_MATRICES = {"o": "attn_output", "up": "ffn_up", "down": "ffn_down"}
_NORMS = {"attention_norm": "attn_norm", "hidden_norm": "ffn_norm"}
GPT2 = Layout(
    {f"{name}.kernel": Place(f"{place}.weight", True) for name, place in _GPT2_MATRICES.items()}
    | {f"{name}.bias": Place(f"{place}.bias") for name, place in _GPT2_MATRICES.items()}
    | {f"{name}.scale": Place(f"{place}.weight") for name, place in _NORMS.items()}
    | {f"{name}.bias": Place(f"{place}.bias") for name, place in _NORMS.items()}
    | {f"{name}.kernel": Place("attn_qkv.weight", True, i) for i, name in enumerate("qkv")}
    | {f"{name}.bias": Place("attn_qkv.bias", part=i) for i, name in enumerate("qkv")},
    _OTHERS,
    "blk.{}.",
)


def read(path: Path) -> Source:
    """The language model in a GGUF file.

    Raises:
        ValueError: if it is damaged, or of an architecture, a kind of tokenizer or, when a tensor
            is read, a type that is not known here.
        ModuleNotFoundError: without the package `gguf`.
    """
    gguf = package("gguf", "reading a .gguf file")
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        problem = f"is no GGUF file, or a damaged one ({error})"
        raise ArgumentError("path", problem, subject=str(path)) from error
    header = Header(path, reader.fields)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config, layout = _config(header, tensors.keys())

    def tensor(name: str) -> np.ndarray | None:
        return _dequantized(gguf, path, tensors[name]) if name in tensors else None

    return Source(path, config, layout, tensor, _tokenizer(header))


class Header:
    """The metadata of a file, by name."""

    def __init__(self, path: Path, fields: Mapping[str, Any]):
        self.path = path
        self.fields = fields

    def get(self, name: str, default: Any = None) -> Any:
        field = self.fields.get(name)
        return default if field is None else field.contents()

    def need(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise self.wrong(f"lacks {name} in its metadata")
        return value

    def wrong(self, problem: str, remedy: str = "") -> ArgumentError:
        return ArgumentError("path", problem, remedy, subject=str(self.path))


def _config(header: Header, tensors: Any) -> tuple[Config, Layout]:
    architecture = header.need("general.architecture")
    tied = "output.weight" not in tensors
    if architecture == "llama":
        return _llama(header, tied, "rope_freqs.weight" in tensors), LLAMA
    if architecture == "gpt2":
        return _gpt2(header, tied), GPT2
    raise header.wrong(
        f"holds the architecture {architecture!r}, of which nothing is known here",
        "use a 'llama' or a 'gpt2'",
    )


def _sizes(header: Header, name: str) -> dict[str, int]:
    names = {
        "width": "embedding_length",
        "hidden": "feed_forward_length",
        "num_layers": "block_count",
        "num_heads": "attention.head_count",
        "context": "context_length",
    }
    sizes = {ours: int(header.need(f"{name}.{theirs}")) for ours, theirs in names.items()}
    return sizes | {"vocabulary": len(header.need("tokenizer.ggml.tokens"))}


def _llama(header: Header, tied: bool, scaled: bool) -> LlamaConfig:
    sizes = _sizes(header, "llama")
    head_size = header.get("llama.attention.key_length", sizes["width"] // sizes["num_heads"])
    scaling = header.get("llama.rope.scaling.type", "none")
    turned = header.get("llama.rope.dimension_count", head_size)
    if scaled or scaling != "none" or turned != head_size:
        raise header.wrong(
            "scales its rotary positions, or turns a part of a head only, which is not known here"
        )
    return LlamaConfig(
        **sizes,
        num_key_value_heads=header.get("llama.attention.head_count_kv", sizes["num_heads"]),
        head_size=head_size,
        rotary_base=float(header.get("llama.rope.freq_base", 10_000.0)),
        epsilon=float(header.need("llama.attention.layer_norm_rms_epsilon")),
        tied=tied,
    )


def _gpt2(header: Header, tied: bool) -> GPT2Config:
    epsilon = float(header.need("gpt2.attention.layer_norm_epsilon"))
    return GPT2Config(**_sizes(header, "gpt2"), epsilon=epsilon, tied=tied)


def _dequantized(gguf: Any, path: Path, tensor: Any) -> np.ndarray:
    kind = tensor.tensor_type.name
    if kind not in TYPES:
        raise ArgumentError(
            "path",
            f"holds {tensor.name} as {kind}, which is not known here",
            f"use a file with {', '.join(TYPES)} only",
            subject=str(path),
        )
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)


def _tokenizer(header: Header) -> Tokenizer:
    model = header.need("tokenizer.ggml.model")
    splitter = header.get("tokenizer.ggml.pre", "gpt-2")
    if model != "gpt2" or splitter not in SPLITTERS:
        raise header.wrong(
            f"holds the tokenizer {model!r} with the splitter {splitter!r}, which is not known "
            f"here: known is 'gpt2' with {' or '.join(map(repr, SPLITTERS))}"
        )
    tokens = header.need("tokenizer.ggml.tokens")
    kinds = header.get("tokenizer.ggml.token_type", [])
    special = [token for token, kind in zip(tokens, kinds, strict=False) if kind in _SPECIAL]
    eos = header.get("tokenizer.ggml.eos_token_id")
    return byte_level(tokens, header.need("tokenizer.ggml.merges"), splitter, special, eos)
