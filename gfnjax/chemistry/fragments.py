"""A vocabulary as arrays, for what is computed on the device."""

from typing import Any, NamedTuple

import numpy as np

from gfnjax.chemistry.vocabulary import Vocabulary
from gfnjax.types import Array


class Fragments(NamedTuple):
    """V entries of K fragments ("kinds"), whose S sites are the atoms that may be bonded.

    The positions of an entry are its `attachments`: position 0 is what it is attached by, the
    others are stems; of a molecule's first entry, position 0 is a stem too.

    Attributes:
        kinds: `[V]` int32, the fragment of each entry.
        sites: `[V, L]` int32, the site of each position, -1 past the last.
        entries: `[K, E]` int32, the entries of each fragment, -1 past the last.
        symmetries: `[K, P, S]` int32, the automorphisms of each fragment as permutations of its
            sites: where each goes; rows of -1 past the last one.
        sources: `[K, P, S]` int32, where each site comes from instead; those past the last stay.
        atoms: `[K, S]` int32, the atom of each site by its place in the SMILES, -1 past the last.
        places: `[V, 2, S, C]` int32, the position of an entry that the c-th bond of a site takes,
            of a molecule's first entry and of one that is attached (by bond 0 of a site); -1
            where there is none.
        orbits: `[K, S]` int32, a number for each class of sites that automorphisms exchange, of
            all fragments together; -1 past the last site.
        pairs: `[K, S, S]` int32, the same for ordered pairs of sites.
    """

    kinds: Array
    sites: Array
    entries: Array
    symmetries: Array
    sources: Array
    atoms: Array
    places: Array
    orbits: Array
    pairs: Array

    @property
    def num_entries(self) -> int:
        return self.sites.shape[0]

    @property
    def num_positions(self) -> int:
        """L, of the entry that has most."""
        return self.sites.shape[1]

    @property
    def table_shape(self) -> tuple[int, int]:
        """S and C, the most bonds of one site."""
        num_sites, num_bonds = self.places.shape[2:]
        return num_sites, num_bonds


def fragments(vocabulary: Vocabulary) -> Fragments:
    """The arrays of a vocabulary, in NumPy.

    Sites are the atoms in reach of an attachment by an automorphism, in order of the SMILES.
    """
    num_kinds = len(vocabulary.fragments)
    atoms: list[list[int]] = []
    symmetries: list[list[tuple[int, ...]]] = []
    for kind, group in enumerate(vocabulary.permutations):
        rows = [vocabulary.attachments[i] for i, k in enumerate(vocabulary.kinds) if k == kind]
        used = {atom for row in rows for atom in row}
        reached = sorted({permutation[atom] for permutation in group for atom in used})
        place = {atom: site for site, atom in enumerate(reached)}
        atoms.append(reached)
        symmetries.append(sorted({tuple(place[p[a]] for a in reached) for p in group}))
    entries = [
        [i for i, k in enumerate(vocabulary.kinds) if k == kind] for kind in range(num_kinds)
    ]
    sites = [
        [atoms[kind].index(atom) for atom in row]
        for kind, row in zip(vocabulary.kinds, vocabulary.attachments, strict=True)
    ]
    mappings = padded(symmetries)
    places = np.arange(mappings.shape[2])
    there = mappings[:, :, None] == places[:, None]
    arrays: dict[str, Any] = {
        "kinds": np.asarray(vocabulary.kinds, np.int32),
        "sites": padded(sites),
        "entries": padded(entries),
        "symmetries": mappings,
        "sources": np.where(there.any(axis=3), there.argmax(axis=3), places).astype(np.int32),
        "atoms": padded(atoms),
        "places": _places(sites, max(len(reached) for reached in atoms)),
        "orbits": _orbits(symmetries, 1),
        "pairs": _orbits(symmetries, 2),
    }
    return Fragments(**arrays)


def _orbits(symmetries: list[list[tuple[int, ...]]], order: int) -> np.ndarray:
    """`Fragments.orbits` of single sites, or of tuples of them."""
    num_sites = max(len(group[0]) for group in symmetries)
    orbits = np.full((len(symmetries), *(num_sites,) * order), -1, np.int32)
    count = 0
    for kind, group in enumerate(symmetries):
        for place in np.ndindex(*(len(group[0]),) * order):
            if orbits[(kind, *place)] < 0:
                for permutation in group:
                    orbits[(kind, *(permutation[site] for site in place))] = count
                count += 1
    return orbits


def _places(sites: list[list[int]], num_sites: int) -> np.ndarray:
    """`Fragments.places`."""
    most = max(row.count(site) for row in sites for site in row)
    places = np.full((len(sites), 2, num_sites, most), -1, np.int32)
    for entry, row in enumerate(sites):
        for mode in range(2):
            order = [*range(1, len(row)), 0] if mode == 0 else range(len(row))
            for site in set(row):
                taken = [position for position in order if row[position] == site]
                places[entry, mode, site, : len(taken)] = taken
    return places


def padded(rows: list) -> np.ndarray:
    """Nested lists as an int32 array, -1 where they are shorter."""
    shape = _extent(rows)
    array = np.full(shape, -1, np.int32)

    def fill(part: np.ndarray, values: list) -> None:
        if part.ndim == 1:
            part[: len(values)] = values
        else:
            for below, value in zip(part, values, strict=False):
                fill(below, value)

    fill(array, rows)
    return array


def _extent(rows: list) -> tuple[int, ...]:
    if not isinstance(rows, list | tuple):
        return ()
    inner = [_extent(row) for row in rows]
    return (len(rows), *(max(sizes) for sizes in zip(*inner, strict=True)))
