"""Fitch parsimony on aligned sequences: the fewest changes of character a tree needs."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gfnjax.data import published
from gfnjax.errors import ArgumentError
from gfnjax.types import Array

NUM_CHARACTERS = 5
# One bit a character: a set of characters is a number below 32.
_CHARACTERS = {"A": 1, "C": 2, "G": 4, "T": 8, "U": 8, "-": 16}
# The letters of the IUPAC (Nomenclature Committee, 1985) for one of several nucleotides.
_AMBIGUOUS = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT", "X": "ACGT", "?": "ACGT",
}  # fmt: skip
CODES = _CHARACTERS | {
    letter: sum(_CHARACTERS[one] for one in several) for letter, several in _AMBIGUOUS.items()
}
OFFSETS = {
    "DS1": 5800.0,
    "DS2": 8000.0,
    "DS3": 8800.0,
    "DS4": 3500.0,
    "DS5": 2300.0,
    "DS6": 2300.0,
    "DS7": 12500.0,
    "DS8": 2800.0,
}


class Alignment(NamedTuple):
    """Aligned sequences, equal columns merged and columns that cost nothing left out.

    Attributes:
        species: n names.
        characters: `[n, P]` uint8 sets of characters, one bit each in the order ACGT-.
        weights: `[P]` int32, how many columns look like this one.
    """

    species: tuple[str, ...]
    characters: np.ndarray
    weights: np.ndarray


def fitch(one: Array, other: Array, weights: Array) -> tuple[Array, Array]:
    """The root of a tree with these two subtrees (Fitch, Systematic Zoology 1971).

    Per column the intersection of the two sets, or their union at the cost of one change.

    Args:
        one: `[P]` uint8 sets at the root of a subtree.
        other: `[P]` those of the other.
        weights: `[P]` int32 of the columns.

    Returns:
        `[P]` sets and the `[]` int32 number of changes.
    """
    common = one & other
    changed = common == 0
    cost = jnp.where(changed, weights, 0).sum(dtype=jnp.int32)
    return jnp.where(changed, one | other, common), cost


def encode_alignment(sequences: Mapping[str, str]) -> Alignment:
    """Sets of characters from text, upper or lower case.

    A, C, G, T or U; - is a fifth character; R, Y, S, W, K, M, B, D, H, V, N, X and ? are any of
    several nucleotides; a point is what the first sequence has there.

    Args:
        sequences: aligned sequences by species, of equal length, at least two.

    Raises:
        ValueError: naming the species, and the place where a sequence does not fit.
    """
    if len(sequences) < 2:
        raise ArgumentError("sequences", f"must hold at least 2 species, got {len(sequences)}")
    first, length = next((name, len(text)) for name, text in sequences.items())
    if length == 0:
        raise ArgumentError("sequences", f"must not be empty, got length 0 for {first}")
    for name, text in sequences.items():
        if len(text) != length:
            raise ArgumentError(
                "sequences",
                f"must be aligned: {name} must have length {length} as {first} has, "
                f"got {len(text)}",
            )
        known = CODES if name == first else {**CODES, ".": 0}
        bad = next((i for i, letter in enumerate(text) if letter.upper() not in known), None)
        if bad is not None:
            raise ArgumentError(
                "sequences",
                f"must consist of {' '.join(CODES)}, and points after the first, "
                f"got {text[bad]!r} in {name}, column {bad + 1}",
            )
    table = [[CODES.get(letter.upper(), 0) for letter in text] for text in sequences.values()]
    codes = np.array(table, np.uint8)
    codes = np.where(codes == 0, codes[0], codes)
    _, where, weights = np.unique(codes, axis=1, return_index=True, return_counts=True)
    # In the order of the alignment, which does not depend on that of the species.
    order = np.argsort(where)
    columns, weights = codes[:, where[order]], weights[order]
    # Where all species share a character no tree needs a change; one column must remain.
    costly = np.bitwise_and.reduce(columns, axis=0) == 0
    costly[0] |= not costly.any()
    return Alignment(tuple(sequences), columns[:, costly], weights[costly].astype(np.int32))


def benchmark_alignment(name: str) -> Alignment:
    """One of DS1 to DS8: 27, 29, 36, 41, 50, 50, 59 and 64 species (data file `phylo/DS*.json`).

    Raises:
        ValueError: for an unknown name or a damaged file.
        FileNotFoundError: if the file is missing.
    """
    if name not in OFFSETS:
        raise ArgumentError("name", f"must be one of {', '.join(OFFSETS)}, got {name!r}")
    return encode_alignment(published.load(f"phylo/{name}.json"))
