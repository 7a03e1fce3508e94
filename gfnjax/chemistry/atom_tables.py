"""What the atoms of a vocabulary's fragments are, alone and joined, found once by RDKit.

A junction changes the two atoms that it joins and no others: each has fewer hydrogens, and a lone
pair may become conjugated with what is on the other side, which makes an sp3 atom sp2 ("lifted").
The first depends on how many junctions the atom has, the second on the pair of atoms.
"""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from gfnjax.chemistry import tables
from gfnjax.chemistry.building import join
from gfnjax.chemistry.fragments import fragments, padded
from gfnjax.chemistry.rdkit import parse, rdkit
from gfnjax.chemistry.vocabulary import Vocabulary
from gfnjax.errors import ArgumentError
from gfnjax.types import Array

BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
HYBRIDISATIONS = ("SP", "SP2", "SP3")
# What a junction to nothing special is tried with, and one to something conjugated.
SATURATED, CONJUGATED = "C", "C=C"
Site = tuple[str, int]  # a fragment's SMILES, and the place of an atom


class AtomTables(NamedTuple):
    """K fragments of at most A atoms with D neighbours, U junctions of them; T sites in all.

    Attributes:
        numbers: `[K, A]` int32 atomic numbers, 0 past the last atom.
        aromatic: `[K, A]` bool.
        neighbours: `[K, A, D]` int32 atoms of the same fragment, -1 past the last.
        bonds: `[K, A, D]` int32 places in `BONDS`, -1 past the last.
        hydrogens: `[K, A, U + 1]` int32, by the number of junctions of the atom.
        hybridisations: `[K, A, U + 1]` int32 places in `HYBRIDISATIONS`, -1 for others, by the
            number of junctions.
        lifted: `[K, A, U + 1]` int32, the same if an atom that it is joined to lifts it.
        sites: `[K, S]` int32, the number t of each site of `Fragments`, -1 past the last.
        lifts: `[T, T]` bool, True at [t, u] if site t is lifted by being joined to site u.
    """

    numbers: Array
    aromatic: Array
    neighbours: Array
    bonds: Array
    hydrogens: Array
    hybridisations: Array
    lifted: Array
    sites: Array
    lifts: Array

    @property
    def num_atoms(self) -> int:
        """A, of the fragment that has most."""
        return self.numbers.shape[1]


def atom_tables(vocabulary: Vocabulary) -> AtomTables:
    """The tables of a vocabulary, in NumPy; RDKit is asked unless it is the published one.

    Raises:
        ValueError: if a fragment has less room for bonds than its entries say.
        ModuleNotFoundError: without RDKit, if it is needed.
    """
    if tables.are_published_entries(vocabulary):
        stored = tables.published_tables()
        return AtomTables(*(_wide(stored[name]) for name in AtomTables._fields))
    return computed_tables(vocabulary)


def computed_tables(vocabulary: Vocabulary) -> AtomTables:
    """The same from RDKit, whatever the vocabulary: some 5 s for 100 fragments."""
    molecules = [parse(smiles) for smiles in vocabulary.fragments]
    joined = _joined_atoms(vocabulary)
    num_junctions = max(joined.values())
    alone = [[_atom(atom) for atom in molecule.GetAtoms()] for molecule in molecules]
    hydrogens, plain, lifted = (
        padded([[[row[i]] * (num_junctions + 1) for row in rows] for rows in alone])
        for i in (2, 3, 3)
    )
    for (kind, atom), number in joined.items():
        site = vocabulary.fragments[kind], atom
        for count in range(1, num_junctions + 1):
            # No molecule has more than `number`.
            others = [(SATURATED, 0)] * (min(count, number) - 1)
            hydrogens[kind, atom, count], plain[kind, atom, count] = _tried(
                site, [*others, (SATURATED, 0)]
            )
            lifted[kind, atom, count] = _tried(site, [*others, (CONJUGATED, 0)])[1]
    neighbours, bonds = _neighbours(molecules, joined)
    atoms = np.asarray(fragments(vocabulary).atoms)
    sites = np.where(atoms >= 0, np.cumsum(atoms >= 0).reshape(atoms.shape) - 1, -1)
    places = [(int(k), int(atoms[k, s])) for k, s in zip(*np.nonzero(atoms >= 0))]
    return AtomTables(
        numbers=np.maximum(padded([[row[0] for row in rows] for rows in alone]), 0),
        aromatic=padded([[row[1] for row in rows] for rows in alone]) > 0,
        neighbours=neighbours,
        bonds=bonds,
        hydrogens=hydrogens,
        hybridisations=plain,
        lifted=lifted,
        sites=sites.astype(np.int32),
        lifts=_lifts(vocabulary, places, plain, lifted),
    )


def _joined_atoms(vocabulary: Vocabulary) -> dict[tuple[int, int], int]:
    """For each kind and atom that may have junctions, their largest number."""
    joined: dict[tuple[int, int], int] = {}
    for kind, row in zip(vocabulary.kinds, vocabulary.attachments, strict=True):
        for atom, count in Counter(row).items():
            joined[kind, atom] = max(joined.get((kind, atom), 0), count)
    return joined


def _lifts(
    vocabulary: Vocabulary, places: list[tuple[int, int]], plain: np.ndarray, lifted: np.ndarray
) -> np.ndarray:
    """`[T, T]`, by joining every pair of which the first atom can be lifted."""
    lifts = np.zeros((len(places), len(places)), bool)
    used = _joined_atoms(vocabulary)
    for t, place in enumerate(places):
        if place not in used or plain[place][1] == lifted[place][1]:
            continue
        site = vocabulary.fragments[place[0]], place[1]
        for u, (kind, atom) in enumerate(places):
            if (kind, atom) in used:
                found = _tried(site, [(vocabulary.fragments[kind], atom)])[1]
                lifts[t, u] = found != plain[place][1]
    return lifts


def _neighbours(
    molecules: list[Any], joined: dict[tuple[int, int], int]
) -> tuple[np.ndarray, np.ndarray]:
    """`[K, A, D]` neighbours and bonds, with room for those of junctions."""
    neighbours = [
        [[other.GetIdx() for other in atom.GetNeighbors()] for atom in molecule.GetAtoms()]
        for molecule in molecules
    ]
    bonds = [
        [
            [_bond(molecule.GetBondBetweenAtoms(a, b)) for b in row]
            for a, row in enumerate(neighbours[k])
        ]
        for k, molecule in enumerate(molecules)
    ]
    degree = max(
        len(row) + joined.get((k, a), 0)
        for k, rows in enumerate(neighbours)
        for a, row in enumerate(rows)
    )
    return _to_width(padded(neighbours), degree), _to_width(padded(bonds), degree)


def _to_width(array: np.ndarray, width: int) -> np.ndarray:
    missing = width - array.shape[-1]
    return np.pad(array, ((0, 0), (0, 0), (0, missing)), constant_values=-1)


def _tried(site: Site, others: list[Site]) -> tuple[int, int]:
    """Hydrogens and hybridisation of an atom that is joined to the atoms `others`."""
    chem = rdkit("tables of atoms")
    molecule, first_atoms = parse(site[0]), []
    for smiles, _ in others:
        first_atoms.append(molecule.GetNumAtoms())
        molecule = chem.CombineMols(molecule, parse(smiles))
    molecule = chem.RWMol(molecule)
    for first, (_, atom) in zip(first_atoms, others, strict=True):
        join(molecule, chem, site[1], first + atom)
    try:
        chem.SanitizeMol(molecule)
    except ValueError as error:
        smiles, atom = site
        raise ArgumentError(
            "attachments", f"must leave {smiles} as many bonds as RDKit allows, got atom {atom} in "
            f"{len(others)} junctions: {error}",
        ) from error
    return _atom(molecule.GetAtomWithIdx(site[1]))[2:]


def _atom(atom: Any) -> tuple[int, bool, int, int]:
    """Atomic number, whether aromatic, hydrogens, hybridisation."""
    hybridisation = str(atom.GetHybridization())
    place = HYBRIDISATIONS.index(hybridisation) if hybridisation in HYBRIDISATIONS else -1
    hydrogens = atom.GetTotalNumHs(includeNeighbors=True)
    return atom.GetAtomicNum(), atom.GetIsAromatic(), hydrogens, place


def _bond(bond: Any) -> int:
    """Its place in `BONDS`.

    Raises:
        ValueError: for one of another type.
    """
    if str(bond.GetBondType()) not in BONDS:
        names = ", ".join(BONDS).lower()
        raise ArgumentError("smiles", f"must have bonds of {names}, got {bond.GetBondType()}")
    return BONDS.index(str(bond.GetBondType()))


def _wide(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == bool else array.astype(np.int32)
