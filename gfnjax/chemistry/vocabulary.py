"""Vocabularies: the fragments that molecules are made of, and the atoms they are bonded by."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from gfnjax.arguments import whole
from gfnjax.chemistry.rdkit import parse
from gfnjax.chemistry.tables import published_permutations
from gfnjax.data import published
from gfnjax.data.files import existing, read_text
from gfnjax.errors import ArgumentError

PUBLISHED = "seh/blocks_pdb_105.json"
Permutations = tuple[tuple[int, ...], ...]  # of the atoms of one fragment


@dataclass(frozen=True)
class Vocabulary:
    """V entries: a fragment, the atom by which it is attached, and its stems.

    Entries of the same fragment differ in the atom that is attached first. The first entry of a
    molecule is attached to nothing, so that atom is a stem as well. Build one with `vocabulary`,
    `read_vocabulary` or `published_vocabulary`.

    Attributes:
        smiles: V, the fragment of each entry.
        attachments: V tuples of atoms, by their places in the SMILES: that of the attachment,
            then one a stem; an atom may come several times.
        permutations: for each distinct fragment, in the order of `fragments`, all permutations of
            its atoms that leave it as it is; `[a]` is where atom a goes.
    """

    smiles: tuple[str, ...]
    attachments: tuple[tuple[int, ...], ...]
    permutations: tuple[Permutations, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.smiles, self.attachments))

    @cached_property
    def fragments(self) -> tuple[str, ...]:
        """The distinct fragments, in order of appearance."""
        return tuple(dict.fromkeys(self.smiles))

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """V, the place of each entry's fragment in `fragments`."""
        place = {smiles: i for i, smiles in enumerate(self.fragments)}
        return tuple(place[smiles] for smiles in self.smiles)


def vocabulary(
    smiles: Sequence[str],
    attachments: Sequence[Sequence[int]],
    permutations: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> Vocabulary:
    """A vocabulary from SMILES and attachment atoms.

    Args:
        smiles: one an entry.
        attachments: for each entry the atom that is attached, then its stems.
        permutations: automorphisms by SMILES; found by RDKit without.

    Raises:
        ValueError: for unknown SMILES, or atoms that a fragment does not have.
        ModuleNotFoundError: without RDKit, if it is needed.
    """
    smiles = tuple(smiles)
    if not smiles:
        raise ArgumentError("smiles", "must hold at least one fragment, got none")
    if len(smiles) != len(attachments):
        raise ArgumentError(
            "attachments", f"must have one for each of {len(smiles)} SMILES, got {len(attachments)}"
        )
    rows = tuple(tuple(whole("attachments", atom, 0) for atom in row) for row in attachments)
    found = permutations or {}
    groups = {s: _group(found[s]) if s in found else automorphisms(s) for s in smiles}
    for i, (each, row) in enumerate(zip(smiles, rows, strict=True)):
        num_atoms = len(groups[each][0])
        if not row or max(row) >= num_atoms:
            raise ArgumentError(
                "attachments",
                f"must name atoms in 0..{num_atoms - 1} of {each}, at least one, got {list(row)}",
                subject=f"{{attachments}}[{i}]",
            )
    return Vocabulary(smiles, rows, tuple(groups[s] for s in dict.fromkeys(smiles)))


def read_vocabulary(path: str | Path) -> Vocabulary:
    """A vocabulary from a JSON file: `block_smi` and `block_r`, lists or objects by number.

    Raises:
        ValueError: naming what is wrong with the file.
        FileNotFoundError: if there is none.
        ModuleNotFoundError: without RDKit.
    """
    path = existing(path)
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    try:
        return vocabulary(*_columns(content))
    except ArgumentError as error:
        raise error.inside(str(path)) from error


@lru_cache(maxsize=1)
def published_vocabulary() -> Vocabulary:
    """The 105 entries, of 72 fragments, of Bengio et al. (2106.04399); needs no RDKit.

    Raises:
        ValueError, FileNotFoundError: if the data file is damaged, or not there and not to be had.
    """
    smiles, attachments = _columns(published.load(PUBLISHED))
    return vocabulary(smiles, attachments, published_permutations(tuple(smiles)))


def automorphisms(smiles: str) -> Permutations:
    """All permutations of a molecule's atoms that leave it as it is, sorted.

    Raises:
        ValueError: for unknown SMILES.
        ModuleNotFoundError: without RDKit.
    """
    molecule = parse(smiles)
    found = molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=10**6)
    return _group([p for p in found if _keeps_atoms(molecule, p)])


def _keeps_atoms(molecule: Any, permutation: Sequence[int]) -> bool:
    """Substructures may have more hydrogens, or other charges."""
    atoms = list(molecule.GetAtoms())
    return all(
        _signature(atoms[here]) == _signature(atoms[there])
        for here, there in enumerate(permutation)
    )


def _signature(atom: Any) -> tuple:
    return atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetTotalNumHs(), atom.GetDegree()


def _group(permutations: Sequence[Sequence[int]]) -> Permutations:
    return tuple(sorted(tuple(int(a) for a in each) for each in permutations))


def _columns(content: Any) -> tuple[list[str], list[list[int]]]:
    columns = []
    for name in ("block_smi", "block_r"):
        column = content.get(name) if isinstance(content, dict) else None
        if isinstance(column, dict):
            column = [column[key] for key in sorted(column, key=int)]
        if not isinstance(column, list):
            raise ArgumentError(name, "must be a list of one for each entry, or an object")
        columns.append(column)
    return columns[0], columns[1]
