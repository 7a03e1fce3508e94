"""Molecules on the host: from lists of blocks and bonds, and to RDKit."""

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from gfnjax.chemistry.rdkit import parse, rdkit
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary
from gfnjax.errors import ArgumentError
from gfnjax.types import Array


def to_rdkit(state: MoleculeState, vocabulary: Vocabulary) -> Any:
    """The RDKit molecule of one state: its blocks in order, joined by single bonds, sanitised.

    An explicit hydrogen of a joined atom makes room for the bond. Of the empty molecule, one
    without atoms.

    Args:
        state: one molecule, of concrete arrays.
        vocabulary: what its blocks are entries of.

    Raises:
        ValueError: from RDKit, if an atom has more bonds than it can have.
        ModuleNotFoundError: without RDKit.
    """
    chem = rdkit("building molecules")
    blocks = _live_blocks(state)
    molecule = chem.Mol()
    first_atoms = []
    for entry in blocks:
        first_atoms.append(molecule.GetNumAtoms())
        molecule = chem.CombineMols(molecule, _fragment(vocabulary.smiles[entry]))
    molecule = chem.RWMol(molecule)
    for slot in range(1, len(blocks)):
        parent, position = int(state.parent[slot]), int(state.position[slot])
        stem = vocabulary.attachments[blocks[parent]][position]
        attached = vocabulary.attachments[blocks[slot]][0]
        join(molecule, chem, first_atoms[parent] + stem, first_atoms[slot] + attached)
    chem.SanitizeMol(molecule)
    return molecule.GetMol()


def to_smiles(state: MoleculeState, vocabulary: Vocabulary) -> str:
    """The canonical SMILES of one state; empty of the empty molecule.

    Raises:
        ValueError, ModuleNotFoundError: as `to_rdkit`.
    """
    return rdkit("writing SMILES").MolToSmiles(to_rdkit(state, vocabulary))


def from_blocks(
    vocabulary: Vocabulary,
    blocks: Sequence[int] | Array,
    bonds: Sequence[Sequence[int]] | Array,
    max_blocks: int = 8,
) -> MoleculeState:
    """The state of a molecule given by its blocks and the bonds between them.

    Args:
        vocabulary: what the blocks are entries of.
        blocks: entries; the first is the root. Ends at the first -1.
        bonds: rows `[block, other block, atom, other atom]`, the other block being attached by
            the atom of its position 0. Ends at the first -1.
        max_blocks: B, slots of the state.

    Returns:
        The molecule breadth first, not stopped. Of several free stems at an atom, the first is
        taken.

    Raises:
        ValueError: naming the block or bond that no molecule can have.
    """
    entries = _entries(vocabulary, blocks, max_blocks)
    children = _children(vocabulary, entries, _rows(bonds))
    parents, positions, order, slot_of = [-1], [-1], [0], {0: 0}
    queue = deque([0] if entries else [])
    while queue:
        block = queue.popleft()
        for position, child in sorted(children[block].items()):
            slot_of[child] = len(order)
            order.append(child)
            parents.append(slot_of[block])
            positions.append(position)
            queue.append(child)
    if not entries:
        parents, positions, order = [], [], []
    return MoleculeState(
        blocks=_padded([entries[i] for i in order], max_blocks),
        parent=_padded(parents, max_blocks),
        position=_padded(positions, max_blocks),
        stopped=jnp.zeros((), bool),
    )


def _entries(vocabulary: Vocabulary, blocks: Any, max_blocks: int) -> list[int]:
    entries = [int(entry) for entry in np.asarray(blocks, np.int64).reshape(-1)]
    if -1 in entries:
        entries = entries[: entries.index(-1)]
    if len(entries) > max_blocks:
        raise ArgumentError("blocks", f"must be at most {max_blocks}, got {len(entries)}")
    for i, entry in enumerate(entries):
        if not 0 <= entry < len(vocabulary.smiles):
            last = len(vocabulary.smiles) - 1
            raise ArgumentError(f"blocks[{i}]", f"must be an entry in 0..{last}, got {entry}")
    return entries


def _rows(bonds: Any) -> list[list[int]]:
    rows = np.asarray(bonds, np.int64).reshape(-1, 4).tolist()
    ends = [i for i, row in enumerate(rows) if row[0] < 0]
    return rows[: ends[0]] if ends else rows


def _children(
    vocabulary: Vocabulary, entries: list[int], bonds: list[list[int]]
) -> list[dict[int, int]]:
    """For each block, the block that hangs on each of its positions."""
    if len(bonds) != max(len(entries) - 1, 0):
        raise ArgumentError(
            "bonds", f"must be one less than the {len(entries)} blocks, got {len(bonds)}"
        )
    children: list[dict[int, int]] = [{} for _ in entries]
    attached = {0}
    for i, (block, other, atom, other_atom) in enumerate(bonds):
        name = f"bonds[{i}]"
        if block not in attached or other in attached or not 0 < other < len(entries):
            problem = "must attach a new block to one that is attached already"
            raise ArgumentError(name, f"{problem}, got {block} and {other}")
        attached.add(other)
        first = vocabulary.attachments[entries[other]][0]
        if other_atom != first:
            problem = f"must attach block {other} by the atom of its position 0, {first}"
            raise ArgumentError(name, f"{problem}, got atom {other_atom}")
        stems = vocabulary.attachments[entries[block]]
        # The root is attached to nothing.
        free = [p for p in range(block != 0, len(stems)) if p not in children[block]]
        found = [p for p in free if stems[p] == atom]
        if not found:
            problem = f"must use a free stem of block {block}, at one of the atoms"
            atoms = sorted({stems[p] for p in free})
            raise ArgumentError(name, f"{problem} {atoms}, got atom {atom}")
        children[block][found[0]] = other
    return children


def _padded(values: list[int], size: int) -> Array:
    array = np.full(size, -1, np.int32)
    array[: len(values)] = values
    return jnp.asarray(array)


def _live_blocks(state: MoleculeState) -> list[int]:
    return [int(entry) for entry in np.asarray(state.blocks) if entry >= 0]


@lru_cache(maxsize=1024)
def _fragment(smiles: str) -> Any:
    return parse(smiles)


def join(molecule: Any, chem: Any, atom: int, other: int) -> None:
    """A single bond between two atoms of an editable molecule."""
    for index in (atom, other):
        joined = molecule.GetAtomWithIdx(index)
        joined.SetNumExplicitHs(max(joined.GetNumExplicitHs() - 1, 0))
    molecule.AddBond(atom, other, chem.BondType.SINGLE)
