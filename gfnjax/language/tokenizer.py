"""Text to token ids and back, by the `tokenizers` package."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gfnjax.errors import ArgumentError
from gfnjax.language.extra import package

PURPOSE = "a tokenizer"
# What the tokenizers of Llama 3 split text into: endings, words, digits in threes, signs, spaces.
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Tokenizer:
    """Text to token ids and back; equal to another if it says the same of every text.

    Attributes:
        size: V, how many tokens there are.
        eos: the id of the token that ends a text; None where the files say nothing of it.
        special: ids of tokens that are not text but marks of what begins, ends, or speaks.
    """

    def __init__(self, backend: Any, eos: int | None = None):
        """`backend` is a `tokenizers.Tokenizer`."""
        self._backend = backend
        self.eos = eos
        self.size: int = backend.get_vocab_size(with_added_tokens=True)
        added = backend.get_added_tokens_decoder()
        self.special = frozenset(token for token, about in added.items() if about.special)
        self._digest = hashlib.sha256(backend.to_str().encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text as it stands: nothing is put in front or after it."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, special tokens included."""
        return self._backend.decode([int(i) for i in ids], skip_special_tokens=False)

    def piece(self, token: int) -> str:
        """What one token is called in tables: its text, or its name where it is part of a letter.

        Raises:
            ValueError: if there is no such token.
        """
        name = self._backend.id_to_token(int(token))
        if name is None:
            raise ArgumentError("token", f"must be below {self.size}, got {token}")
        text = self.decode([token])
        return name if "\ufffd" in text else text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return (self._digest, self.eos) == (other._digest, other.eos)

    def __hash__(self) -> int:
        return hash((self._digest, self.eos))

    def __repr__(self) -> str:
        return f"Tokenizer(size={self.size}, eos={self.eos})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_text, (self._backend.to_str(), self.eos)


def _from_text(text: str, eos: int | None) -> Tokenizer:
    return Tokenizer(package("tokenizers", PURPOSE).Tokenizer.from_str(text), eos)


def from_file(path: Path, eos: int | None = None) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`.

    Raises:
        ValueError: if there is none in it.
        ModuleNotFoundError: without the package `tokenizers`.
    """
    tokenizers = package("tokenizers", PURPOSE)
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more special
        raise ArgumentError("path", f"holds no tokenizer ({error})", subject=str(path)) from error
    return Tokenizer(backend, eos)


def byte_level(
    tokens: Sequence[str],
    merges: Iterable[str],
    splitter: str,
    special: Sequence[str] = (),
    eos: int | None = None,
) -> Tokenizer:
    """Byte-pair encoding of the bytes of each word of a text.

    Args:
        tokens: V names, by id; bytes are written as letters, as GPT-2 does.
        merges: pairs of names "a b", the first to be merged first.
        splitter: how a text is split into words: "gpt-2", "smollm", where every digit stands
            alone, or "llama-bpe".
        special: tokens that stand for themselves wherever a text has them.
        eos: the id of the token that ends a text.

    Raises:
        ValueError: for an unknown splitter.
        ModuleNotFoundError: without the package `tokenizers`.
    """
    tokenizers = package("tokenizers", PURPOSE)
    if splitter not in SPLITTERS:
        known = " or ".join(map(repr, SPLITTERS))
        raise ArgumentError("splitter", f"must be {known}, got {splitter!r}")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, pairs))
    backend.pre_tokenizer = SPLITTERS[splitter](tokenizers)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(special))
    return Tokenizer(backend, eos)


def _gpt2(tokenizers: Any) -> Any:
    return tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)


def _smollm(tokenizers: Any) -> Any:
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    return tokenizers.pre_tokenizers.Sequence([digits, _gpt2(tokenizers)])


def _llama3(tokenizers: Any) -> Any:
    parts = tokenizers.pre_tokenizers
    split = parts.Split(tokenizers.Regex(_LLAMA_3), "isolated")
    return parts.Sequence([split, parts.ByteLevel(add_prefix_space=False, use_regex=False)])


SPLITTERS: dict[str, Callable[[Any], Any]] = {
    "gpt-2": _gpt2,
    "smollm": _smollm,
    "llama-bpe": _llama3,
}
