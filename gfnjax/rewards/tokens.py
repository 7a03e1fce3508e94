"""Strings as token ids: prompts of several lengths in one table, strings that are one token."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.types import Array


class TextTokenizer(Protocol):
    """What turns strings into token ids and back.

    Attributes:
        size: how many ids there are.
    """

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """The ids of a string."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The string of some ids."""
        ...

    def piece(self, token: int) -> str:
        """What one id looks like."""
        ...


class Prompts(NamedTuple):
    """P token sequences: `tokens` `[P, S]` int32 ids, 0 past the end; `length` `[P]` int32 >= 1."""

    tokens: Array
    length: Array


def prompt_table(rows: Iterable[Sequence[int]], name: str = "prompts") -> Prompts:
    """`Prompts` of lists of ids.

    Raises:
        ArgumentError: without a list, or for an empty one.
    """
    given = [np.asarray(row, np.int32).reshape(-1) for row in rows]
    if not given:
        raise ArgumentError(name, "must hold at least one text, got none")
    for number, row in enumerate(given):
        if row.size == 0:
            raise ArgumentError(
                name, f"must each have at least one token, number {number} has none"
            )
    length = np.array([row.size for row in given], np.int32)
    tokens = np.zeros((len(given), length.max()), np.int32)
    for filled, row in zip(tokens, given, strict=True):
        filled[: row.size] = row
    return Prompts(jnp.asarray(tokens), jnp.asarray(length))


def last_tokens(prompts: Prompts, prompt: Array) -> Array:
    """`[B]` int32 the last token of each of the prompts number `prompt` `[B]`."""
    return prompts.tokens[prompt, prompts.length[prompt] - 1]


def encoded(
    tokenizer: TextTokenizer, texts: Iterable[str | Sequence[int]], name: str = "prompts"
) -> Prompts:
    """`Prompts` of strings, or of ids, for `Text`, `Infilling` or `Rationale`.

    Args:
        tokenizer: what encodes strings.
        texts: at least one.
        name: of the argument, for messages.

    Raises:
        ArgumentError: for a text without tokens, an id that is out of the vocabulary, or an id
            where a list of them is wanted.
    """
    return prompt_table([ids_of(tokenizer, text, name) for text in texts], name)


def ids_of(tokenizer: TextTokenizer, text: str | Sequence[int], name: str) -> list[int]:
    """The ids of one string, or those that are given. Raises as `encoded`."""
    if isinstance(text, str):
        return list(tokenizer.encode(text))
    if np.ndim(text) == 0:
        problem = f"must be strings or lists of ids, got {text!r}"
        raise ArgumentError(name, problem, "wrap a list of ids in a list")
    ids = [int(token) for token in text]
    for token in ids:
        _check_id(tokenizer, token, name)
    return ids


def one_token(tokenizer: TextTokenizer, what: str | int, name: str) -> int:
    """The id of a string that is exactly one token, or the id that is given.

    Raises:
        ArgumentError: for a string of several tokens, saying which, or an unknown id.
    """
    if not isinstance(what, str):
        return _check_id(tokenizer, int(what), name)
    ids = list(tokenizer.encode(what))
    if len(ids) != 1:
        pieces = " ".join(repr(tokenizer.piece(token)) for token in ids) or "nothing"
        raise ArgumentError(name, f"must be one token each, but {what!r} splits into {pieces}")
    return int(ids[0])


def spelled(
    tokenizer: TextTokenizer,
    texts: Iterable[str | Sequence[int]],
    pieces: Iterable[str],
    name: str,
) -> list[list[int]]:
    """The ids of strings spelled with `pieces` from the left, the longest that fits first.

    Raises:
        ArgumentError: for a piece that is not one token, or a string that is not spelled so.
    """
    known = {piece: one_token(tokenizer, piece, "pieces") for piece in pieces}
    by_length = sorted(known, key=len, reverse=True)

    def spell(text: str) -> list[int]:
        ids, rest = [], text
        while rest:
            piece = next((p for p in by_length if rest.startswith(p)), None)
            if piece is None:
                raise ArgumentError(name, f"must be spelled with {{pieces}}, {text!r} is not")
            ids.append(known[piece])
            rest = rest[len(piece) :]
        return ids

    return [spell(x) if isinstance(x, str) else ids_of(tokenizer, x, name) for x in texts]


def _check_id(tokenizer: TextTokenizer, token: int, name: str) -> int:
    if not 0 <= token < tokenizer.size:
        raise ArgumentError(
            name, f"must be ids in 0..{tokenizer.size - 1} of the vocabulary, got {token}"
        )
    return token
