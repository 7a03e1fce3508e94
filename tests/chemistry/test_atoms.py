"""Graphs of atoms assembled on the device against RDKit on the whole molecule."""

import os

import jax
import numpy as np
import pytest
from random_molecules import random_molecule

from gfnjax.chemistry import atom_tables, building
from gfnjax.chemistry.atoms import AtomGraph, atom_features, atom_graph
from gfnjax.chemistry.fragments import fragments
from gfnjax.chemistry.states import empty_molecule
from gfnjax.chemistry.vocabulary import published_vocabulary, vocabulary
from gfnjax.data import published

needs_data = pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ or not published.available("seh/golden_scores.npz"),
    reason="set GFNJAX_DATA to a directory that holds seh/blocks_pdb_105.json, golden_scores.npz",
)


def graph_of(words):
    """`state -> (graph, features)`, compiled."""
    arrays, tables = fragments(words), atom_tables.atom_tables(words)

    @jax.jit
    def find(state):
        graph = atom_graph(state, arrays, tables)
        return graph, atom_features(graph)

    return lambda state: jax.tree.map(np.asarray, find(state))


def assert_like_rdkit(words, find, state):
    molecule = building.to_rdkit(state, words)
    graph, features = find(state)
    live = np.flatnonzero(graph.live)
    assert len(live) == molecule.GetNumAtoms()
    place = {n: i for i, n in enumerate(live)}
    for n, atom in zip(live, molecule.GetAtoms(), strict=True):
        assert graph.numbers[n] == atom.GetAtomicNum()
        assert graph.aromatic[n] == atom.GetIsAromatic()
        assert graph.hydrogens[n] == atom.GetTotalNumHs(includeNeighbors=True)
        hybridisation = atom_tables.HYBRIDISATIONS[graph.hybridisations[n]]
        assert graph.hybridisations[n] >= 0
        assert hybridisation == str(atom.GetHybridization())
        bonds = [
            (place[m], atom_tables.BONDS[bond])
            for m, bond in zip(graph.neighbours[n], graph.bonds[n], strict=True)
            if m >= 0
        ]
        expected = [(b.GetOtherAtomIdx(place[n]), str(b.GetBondType())) for b in atom.GetBonds()]
        assert sorted(bonds) == sorted(expected)
        assert features[n, 13 + atom.GetAtomicNum()] == 1 or atom.GetAtomicNum() > 56


@pytest.mark.long
@needs_data
def test_stored_molecules():
    pytest.importorskip("rdkit")
    words, golden = published_vocabulary(), published.load("seh/golden_scores.npz")
    find = graph_of(words)
    for blocks, bonds in zip(golden["blocks"], golden["bonds"], strict=True):
        assert_like_rdkit(words, find, building.from_blocks(words, blocks, bonds))


@pytest.mark.long
@needs_data
def test_random_molecules():
    pytest.importorskip("rdkit")
    words, rng = published_vocabulary(), np.random.default_rng(0)
    find = graph_of(words)
    for _ in range(400):
        assert_like_rdkit(words, find, random_molecule(words, rng))


@needs_data
def test_the_published_tables_are_those_of_rdkit():
    pytest.importorskip("rdkit")
    words = published_vocabulary()
    stored, computed = atom_tables.atom_tables(words), atom_tables.computed_tables(words)
    for name, a, b in zip(stored._fields, stored, computed, strict=True):
        np.testing.assert_array_equal(a, b, name)
        assert a.dtype == b.dtype, name


def own_words():
    smiles = ["O", "N", "NN", "c1ccsc1", "C#C", "CS(C)(=O)=O", "Brc1cc[nH]c1", "O=CC=C", "OP"]
    rows = [(0, 0), (0, 0, 0), (0, 1, 1), (2, 0), (0, 1), (0, 2), (2, 5), (1,), (0, 1, 1)]
    return vocabulary(smiles, rows)


@pytest.mark.slow
def test_a_vocabulary_of_ones_own():
    pytest.importorskip("rdkit")
    words, rng = own_words(), np.random.default_rng(0)
    find = graph_of(words)
    for _ in range(300):
        assert_like_rdkit(words, find, random_molecule(words, rng, most=6))


def test_marks_are_at_stems_or_at_the_first_atom():
    pytest.importorskip("rdkit")
    words = own_words()
    find = graph_of(words)
    for blocks, bonds, marks in (
        ([7], [], [1]),
        ([7, 7], [[0, 1, 1, 1]], [0]),
        ([4, 7], [[0, 1, 0, 1]], [1]),
        ([5, 0], [[0, 1, 2, 0]], [0, 9]),
    ):
        state = building.from_blocks(words, blocks, bonds, max_blocks=2)
        graph, features = find(state)
        num_atoms = graph.live.size // 2
        expected = [m if m < 6 else m - 9 + num_atoms for m in marks]
        assert np.flatnonzero(graph.marks & graph.live).tolist() == expected
        np.testing.assert_array_equal(features[:, 70], graph.marks)


def test_features_of_one_atom():
    names = [*AtomGraph._fields]
    values = [True, 7, True, 1, 2, True, [-1], [-1]]
    graph = AtomGraph(**{n: jax.numpy.asarray([v]) for n, v in zip(names, values, strict=True)})
    expected = np.zeros(71)
    expected[[2, 9, 11, 20, 70]] = 1
    expected[13] = 2
    np.testing.assert_array_equal(atom_features(graph)[0], expected)
    other = atom_features(graph._replace(numbers=graph.numbers + 28))[0]  # bromine
    assert np.flatnonzero(np.asarray(other[:9])).tolist() == [5]
    assert other[13 + 35] == 1


def test_no_blocks_no_atoms():
    pytest.importorskip("rdkit")
    graph, features = graph_of(own_words())(empty_molecule(3))
    assert not graph.live.any()
    assert np.isfinite(features).all()


def test_more_bonds_than_there_is_room_for():
    pytest.importorskip("rdkit")
    words = vocabulary(["O", "C"], [(0, 0, 0), (0,)])
    with pytest.raises(ValueError, match=r"attachments must leave O as many bonds .* 3 junctions"):
        atom_tables.atom_tables(words)


def test_bonds_of_other_types_are_refused():
    pytest.importorskip("rdkit")
    with pytest.raises(ValueError, match=r"smiles must have bonds of single, .* got DATIVE"):
        atom_tables.atom_tables(vocabulary(["CN->[Mg]"], [(0,)]))
