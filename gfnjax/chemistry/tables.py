"""What RDKit has been asked once about the published fragments; built into the package.

`scripts/build_fragments.py` makes the file. It holds no structures, only arrays by the place of a
fragment and of its atoms, and a checksum of the fragments that they are of.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gfnjax.chemistry.vocabulary import Vocabulary

ASSET = "fragments.npz"


def digest(fragments: Sequence[str]) -> str:
    """What tells one list of fragments from another."""
    return hashlib.sha256("\n".join(fragments).encode()).hexdigest()


@lru_cache(maxsize=1)
def published_tables() -> dict[str, np.ndarray]:
    """The arrays of the file; see the script."""
    asset = resources.files("gfnjax") / "assets" / ASSET
    with asset.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def are_published(fragments: Sequence[str]) -> bool:
    """Whether the file is of these fragments, in this order."""
    return str(published_tables()["digest"]) == digest(fragments)


def entries_digest(vocabulary: "Vocabulary") -> str:
    """What tells one list of entries from another: their fragments and attachments."""
    return digest([*vocabulary.smiles, *map(str, vocabulary.attachments)])


def are_published_entries(vocabulary: "Vocabulary") -> bool:
    """Whether the tables of atoms in the file are of this vocabulary."""
    return str(published_tables()["entries_digest"]) == entries_digest(vocabulary)


def published_permutations(smiles: Sequence[str]) -> dict[str, list[list[int]]]:
    """Automorphisms of the published fragments; none if these are others."""
    fragments = list(dict.fromkeys(smiles))
    if not are_published(fragments):
        return {}
    groups = published_tables()["permutations"]
    return {
        each: [row[row >= 0].tolist() for row in group if row[0] >= 0]
        for each, group in zip(fragments, groups, strict=True)
    }
