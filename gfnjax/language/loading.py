"""A language model from the place where its files are."""

from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp

from gfnjax.errors import ArgumentError, require
from gfnjax.language import gguf, safetensors
from gfnjax.language.architectures import Config
from gfnjax.language.source import Source, arrays
from gfnjax.language.tokenizer import Tokenizer
from gfnjax.types import PyTree

Precision = Literal["float32", "bfloat16"]
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Pretrained(NamedTuple):
    """A language model as its files have it.

    Attributes:
        config: its sizes; the class says the architecture.
        weights: `{"base": ...}`, as `architectures` names them.
        tokenizer: None where the files hold none.
    """

    config: Config
    weights: PyTree
    tokenizer: Tokenizer | None


def load(path: str | Path, dtype: Precision = "float32") -> Pretrained:
    """A model from a .gguf file, a folder with one, or a folder with config.json.

    Args:
        path: of the file or the folder.
        dtype: of the weights: "float32" or "bfloat16".

    Raises:
        ValueError: naming what is damaged, missing or not known here; a tokenizer of more tokens
            than the model has.
        FileNotFoundError: if there is no such file or folder.
        ModuleNotFoundError: without the extra `language`.
    """
    require(dtype in DTYPES, "dtype", f"must be {' or '.join(map(repr, DTYPES))}", repr(dtype))
    source = _read(Path(path))
    # A table may have more rows than there are tokens, to make a round number.
    if source.tokenizer is not None and source.tokenizer.size > source.config.vocabulary:
        raise ArgumentError(
            "path",
            f"has a tokenizer of {source.tokenizer.size} tokens for a model of "
            f"{source.config.vocabulary}",
            subject=str(path),
        )
    return Pretrained(source.config, arrays(source, jnp.dtype(DTYPES[dtype])), source.tokenizer)


def _read(path: Path) -> Source:
    if path.is_file():
        return gguf.read(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if (path / safetensors.CONFIG).is_file():
        return safetensors.read(path)
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return gguf.read(files[0])
    raise ArgumentError(
        "path",
        f"holds no {safetensors.CONFIG} and {len(files) or 'no'} .gguf files",
        "give a folder with one of either, or a .gguf file",
        subject=str(path),
    )
