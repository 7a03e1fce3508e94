"""Molecules from lists of blocks and bonds, and in RDKit."""

import os
from collections import Counter

import jax
import numpy as np
import pytest

from gfnjax.chemistry import building
from gfnjax.chemistry.fragments import fragments
from gfnjax.chemistry.states import empty_molecule, open_positions
from gfnjax.chemistry.vocabulary import published_vocabulary, vocabulary
from gfnjax.data import published

needs_data = pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ or not published.available("seh/golden_scores.npz"),
    reason="set GFNJAX_DATA to a directory that holds seh/golden_scores.npz",
)
PERMUTATIONS = {"CO": [(0, 1)], "O=CO": [(0, 1, 2)], "c1cc[nH]c1": [(0, 1, 2, 3, 4)]}


@pytest.fixture(scope="module")
def words():
    """0 to 3: methanol by the oxygen, with three stems; by the carbon; formic acid; pyrrole."""
    smiles = ["CO", "CO", "O=CO", "c1cc[nH]c1"]
    return vocabulary(smiles, [(1, 0, 0, 0), (0, 1), (1,), (3,)], PERMUTATIONS)


def values(state):
    return [np.asarray(x).tolist() for x in state]


@needs_data
def test_open_stems_are_the_stored_ones():
    words, golden = published_vocabulary(), published.load("seh/golden_scores.npz")
    arrays = fragments(words)
    find = jax.jit(lambda state: open_positions(state, arrays))
    columns = (golden[name] for name in ("blocks", "bonds", "stems"))
    for blocks, bonds, stems in zip(*columns, strict=True):
        state = building.from_blocks(words, blocks, bonds)
        ours, theirs = Counter(), Counter()
        for entry, positions in zip(*map(np.asarray, (state.blocks, find(state))), strict=True):
            row = words.attachments[entry] if positions.any() else ()
            ours[int(entry), tuple(sorted(row[p] for p in np.flatnonzero(positions)))] += 1
        for block, entry in enumerate(blocks):
            atoms = tuple(sorted(int(atom) for at, atom in stems if at == block))
            theirs[int(entry), atoms] += 1
        assert ours == theirs


def test_states_are_breadth_first(words):
    blocks, bonds = [0, 1, 2, 1, 3, -1], [[0, 1, 0, 0], [1, 2, 1, 1], [0, 3, 1, 0], [0, 4, 0, 3]]
    state = building.from_blocks(words, blocks, [*bonds, [-1] * 4], max_blocks=6)
    # The root's stem of position 0 comes first; of the three at its carbon the first two are used.
    expected = [0, 1, 1, 3, 2, -1], [-1, 0, 0, 0, 2, -1], [-1, 0, 1, 2, 1, -1], False
    assert values(state) == list(expected)
    order = [2, 3, 0, 1]
    renamed = {0: 0, 3: 1, 4: 2, 1: 3, 2: 4}
    other = [[renamed[bonds[i][0]], renamed[bonds[i][1]], *bonds[i][2:]] for i in (2, 3, 0, 1)]
    shuffled = [blocks[0], *(blocks[bonds[i][1]] for i in order)]
    found = values(building.from_blocks(words, shuffled, other, max_blocks=6))
    # Stems at one atom are taken in order of the bonds.
    assert found[0] == [0, 1, 3, 1, 2, -1]


def test_no_blocks(words):
    assert values(building.from_blocks(words, [], [], 3)) == values(empty_molecule(3))


@pytest.mark.parametrize(
    ("blocks", "bonds", "message"),
    [
        ([0, 9], [[0, 1, 1, 0]], r"blocks\[1\] must be an entry in 0..3, got 9"),
        ([0] * 9, [], "blocks must be at most 8, got 9"),
        ([0, 1], [], "bonds must be one less than the 2 blocks, got 0"),
        ([0, 1], [[0, 1, 2, 0]], r"bonds\[0\] .* free stem of block 0, .* \[0, 1\], got atom 2"),
        ([2, 2, 2], [[0, 1, 1, 1], [0, 2, 1, 1]], r"bonds\[1\] .* atoms \[\], got atom 1"),
        ([0, 0, 2], [[0, 1, 0, 1], [1, 2, 1, 1]], r"bonds\[1\] .* atoms \[0\], got atom 1"),
        ([0, 1], [[0, 1, 1, 1]], r"bonds\[0\] must attach block 1 by .* position 0, 0, got atom 1"),
        ([0, 1], [[1, 0, 0, 1]], r"bonds\[0\] must attach a new block .*, got 1 and 0"),
        ([0, 1], [[0, 2, 0, 0]], r"bonds\[0\] must attach a new block .*, got 0 and 2"),
        ([0, 1, 1], [[0, 1, 0, 0], [0, 1, 0, 0]], r"bonds\[1\] must attach a new .* 0 and 1"),
    ],
)
def test_what_no_molecule_has_is_refused(words, blocks, bonds, message):
    with pytest.raises(ValueError, match=message):
        building.from_blocks(words, blocks, bonds)


@pytest.mark.parametrize(
    ("blocks", "bonds", "smiles"),
    [
        ([], [], ""),
        ([2], [], "O=CO"),
        ([3, 3], [[0, 1, 3, 3]], "c1ccn(-n2cccc2)c1"),
        ([0, 2, 3], [[0, 1, 0, 1], [0, 2, 0, 3]], "O=C(O)C(O)n1cccc1"),
    ],
)
def test_smiles(words, blocks, bonds, smiles):
    pytest.importorskip("rdkit")
    assert building.to_smiles(building.from_blocks(words, blocks, bonds), words) == smiles


def test_atoms_are_those_of_the_blocks_in_order(words):
    pytest.importorskip("rdkit")
    state = building.from_blocks(words, [3, 2], [[0, 1, 3, 1]])
    molecule = building.to_rdkit(state, words)
    assert [atom.GetSymbol() for atom in molecule.GetAtoms()] == list("CCCNCOCO")
    assert molecule.GetBondBetweenAtoms(3, 6).GetBondType().name == "SINGLE"


def test_too_many_bonds_are_an_error_of_rdkit():
    pytest.importorskip("rdkit")
    words = vocabulary(["O", "C"], [(0, 0, 0), (0,)], {"O": [(0,)], "C": [(0,)]})
    state = building.from_blocks(words, [0, 1, 1, 1], [[0, i, 0, 0] for i in (1, 2, 3)])
    with pytest.raises(ValueError, match="valence"):
        building.to_rdkit(state, words)
