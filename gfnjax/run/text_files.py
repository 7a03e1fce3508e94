"""What tasks on texts read from files: language models, prompts, tokens that may be written."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from gfnjax.data.files import existing, read_text
from gfnjax.errors import ArgumentError
from gfnjax.policies.language_model import LanguageModel, load_language_model, packaged

# Of a file so much is looked at, at either end.
LOOKED_AT = 2**20
PARTS = ("*.gguf", "*.safetensors", "*.json")


def digest_of(model: str | None) -> str | None:
    """16 hexadecimal digits that follow from the files of a model; None where there are none.

    From their names, sizes and ends: files of gigabytes are not read as a whole.

    Args:
        model: path of a file or folder; None for the packaged SmolLM2.
    """
    found = hashlib.sha256()
    for path in _files(model):
        with path.open("rb") as file:
            size = path.stat().st_size
            found.update(f"{path.name} {size} ".encode() + file.read(LOOKED_AT))
            file.seek(max(size - LOOKED_AT, 0))
            found.update(file.read(LOOKED_AT))
    return found.hexdigest()[:16] if _files(model) else None


def _files(model: str | None) -> list[Path]:
    try:
        path = packaged() if model is None else Path(model)
    except ModuleNotFoundError:
        return []
    if path.is_dir():
        return sorted(file for part in PARTS for file in path.glob(part))
    return [path] if path.is_file() else []


def model_with_tokenizer(model: str | None, dtype: Any, digest: str | None) -> LanguageModel:
    """The model in a file or folder, the same arrays for the same files.

    Args:
        model: as in `digest_of`.
        dtype: of its weights.
        digest: of the files that are expected; None for any.

    Raises:
        ValueError, OSError, ModuleNotFoundError: as `load_language_model`; where there is no
            tokenizer, or the files have another digest.
    """
    now = digest_of(model)
    if digest is not None and now is not None and digest != now:
        problem = "is not the one that this run was started with: its files have changed"
        raise ArgumentError("model", problem, "put those back, or start a new run")
    found = _loaded(model, dtype, now)
    if found.tokenizer is None:
        problem = f"must have a tokenizer, {model} has none"
        raise ArgumentError("model", problem, "put its tokenizer.json beside it")
    return found


@lru_cache(maxsize=1)
def _loaded(model: str | None, dtype: Any, digest: str | None) -> LanguageModel:
    return load_language_model(model, dtype)


def read_lines(path: str | Path, name: str, what: str) -> list[str]:
    """The lines of a file that are not blank, as they are.

    Raises:
        ArgumentError: if there are none: `name` of the argument must hold `what`.
        FileNotFoundError, ValueError: as `existing` and `read_text`.
    """
    lines = read_text(existing(path)).splitlines()
    found = [line for line in lines if line.strip()]
    if not found:
        raise ArgumentError(name, f"must hold {what} a line, {path} is empty")
    return found


def is_file_name(vocabulary: str) -> bool:
    """Whether a vocabulary is in a file, and not a list of tokens."""
    is_path = "," not in vocabulary and ("/" in vocabulary or Path(vocabulary).suffix != "")
    return len(vocabulary) > 1 and (is_path or Path(vocabulary).is_file())


def read_vocabulary(vocabulary: str) -> list[str]:
    """Tokens: the lines of a file, or what stands between commas.

    Raises:
        ArgumentError: if there are none.
        FileNotFoundError, ValueError: as `read_lines`.
    """
    if is_file_name(vocabulary):
        return read_lines(vocabulary, "vocabulary", "a token")
    found = [token for token in vocabulary.split(",") if token]
    if not found:
        raise ArgumentError("vocabulary", f"must hold tokens between commas, got {vocabulary!r}")
    return found
