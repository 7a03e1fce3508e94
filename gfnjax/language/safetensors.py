"""Language models in folders: config.json, model.safetensors and tokenizer.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.language.architectures import Config, GPT2Config, LlamaConfig
from gfnjax.language.extra import package
from gfnjax.language.source import Layout, Place, Source
from gfnjax.language.tokenizer import from_file

CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
LLAMA = Layout(
    {
        "attention_norm.scale": Place("input_layernorm.weight"),
        "hidden_norm.scale": Place("post_attention_layernorm.weight"),
    }
    | {f"{name}.kernel": Place(f"self_attn.{name}_proj.weight", True) for name in "qkvo"}
    | {f"{name}.kernel": Place(f"mlp.{name}_proj.weight", True) for name in ("gate", "up", "down")},
    {
        "embedding.table": Place("model.embed_tokens.weight"),
        "norm.scale": Place("model.norm.weight"),
        "head.table": Place("lm_head.weight"),
    },
    "model.layers.{}.",
)
# Whose matrices are `[in, out]` in the file.
_GPT2_PARTS = {
    "o": "attn.c_proj",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
    "attention_norm": "ln_1",
    "hidden_norm": "ln_2",
}
_FIRST = {"attention_norm": "scale", "hidden_norm": "scale"}
GPT2 = Layout(
    {
        f"{ours}.{_FIRST.get(ours, 'kernel')}": Place(f"{theirs}.weight")
        for ours, theirs in _GPT2_PARTS.items()
    }
    | {f"{ours}.bias": Place(f"{theirs}.bias") for ours, theirs in _GPT2_PARTS.items()}
    | {f"{name}.kernel": Place("attn.c_attn.weight", part=i) for i, name in enumerate("qkv")}
    | {f"{name}.bias": Place("attn.c_attn.bias", part=i) for i, name in enumerate("qkv")},
    {
        "embedding.table": Place("wte.weight"),
        "positions.table": Place("wpe.weight"),
        "norm.scale": Place("ln_f.weight"),
        "norm.bias": Place("ln_f.bias"),
        "head.table": Place("lm_head.weight"),
    },
    "h.{}.",
)
_PREFIX = "transformer."  # of the tensors of some GPT-2 files


def read(folder: Path) -> Source:
    """The language model in a folder.

    Raises:
        ValueError: if it is damaged, or of an architecture that is not known here.
        FileNotFoundError: naming the file that is missing.
        ModuleNotFoundError: without the package `safetensors`, or `tokenizers` where there is a
            tokenizer.
    """
    said = Said(folder / CONFIG)
    config, layout = _config(said)
    shards = _shards(folder)

    def tensor(name: str) -> np.ndarray | None:
        held = next((n for n in (name, _PREFIX + name) if n in shards), None)
        if held is None:
            return None
        with _opened(shards[held]) as file:
            return np.asarray(file.get_tensor(held)).astype(np.float32)

    eos = said.get("eos_token_id")
    eos = eos[0] if isinstance(eos, list) else eos
    path = folder / "tokenizer.json"
    tokenizer = from_file(path, eos) if path.is_file() else None
    return Source(folder, config, layout, tensor, tokenizer)


class Said:
    """What a config.json says, by name."""

    def __init__(self, path: Path):
        self.path = path
        self.values: Mapping[str, Any] = _json(path)

    def get(self, name: str, default: Any = None) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def need(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise self.wrong(f"lacks {name!r}")
        return value

    def only(self, **values: Any) -> None:
        """Raise a `ValueError` if it asks for more than is known here."""
        for name, known in values.items():
            if (value := self.get(name, known)) != known:
                raise self.wrong(f"has {name} = {value!r}, and only {known!r} is known here")

    def wrong(self, problem: str, remedy: str = "") -> ArgumentError:
        return ArgumentError("path", problem, remedy, subject=str(self.path))


def _config(said: Said) -> tuple[Config, Layout]:
    architecture = said.need("model_type")
    if architecture == "llama":
        return _llama(said), LLAMA
    if architecture == "gpt2":
        return _gpt2(said), GPT2
    raise said.wrong(
        f"says the architecture is {architecture!r}, of which nothing is known here",
        "use a 'llama' or a 'gpt2'",
    )


def _llama(said: Said) -> LlamaConfig:
    said.only(hidden_act="silu", attention_bias=False, mlp_bias=False)
    scaling = said.get("rope_scaling") or said.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise said.wrong(f"scales its rotary positions ({kind!r}), which is not known here")
    width, num_heads = said.need("hidden_size"), said.need("num_attention_heads")
    return LlamaConfig(
        vocabulary=said.need("vocab_size"),
        width=width,
        hidden=said.need("intermediate_size"),
        num_layers=said.need("num_hidden_layers"),
        num_heads=num_heads,
        num_key_value_heads=said.get("num_key_value_heads", num_heads),
        head_size=said.get("head_dim", width // num_heads),
        context=said.need("max_position_embeddings"),
        rotary_base=float(said.get("rope_theta", scaling.get("rope_theta", 10_000.0))),
        epsilon=float(said.get("rms_norm_eps", 1e-6)),
        tied=said.get("tie_word_embeddings", False),
    )


def _gpt2(said: Said) -> GPT2Config:
    said.only(
        activation_function="gelu_new",
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
    )
    width = said.need("n_embd")
    return GPT2Config(
        vocabulary=said.need("vocab_size"),
        width=width,
        hidden=said.get("n_inner", 4 * width),
        num_layers=said.need("n_layer"),
        num_heads=said.need("n_head"),
        context=said.need("n_positions"),
        epsilon=float(said.get("layer_norm_epsilon", 1e-5)),
        tied=said.get("tie_word_embeddings", True),
    )


def _shards(folder: Path) -> dict[str, Path]:
    """The file of each tensor."""
    if (index := folder / _INDEX).is_file():
        files = _json(index).get("weight_map", {})
        return {name: folder / file for name, file in files.items()}
    with _opened(folder / _WEIGHTS) as file:
        return dict.fromkeys(file.keys(), folder / _WEIGHTS)


def _opened(path: Path) -> Any:
    safetensors = package("safetensors", "reading a .safetensors file")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return safetensors.safe_open(path, framework="numpy")
    except safetensors.SafetensorError as error:
        problem = f"is no safetensors file, or a damaged one ({error})"
        raise ArgumentError("path", problem, subject=str(path)) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArgumentError("path", f"is no JSON ({error})", subject=str(path)) from error
