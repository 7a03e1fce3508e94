"""The atoms of a molecule, put together on the device from tables of its fragments."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.chemistry.atom_tables import AtomTables
from gfnjax.chemistry.fragments import Fragments
from gfnjax.chemistry.states import MoleculeState, open_positions
from gfnjax.types import Array

NUM_FEATURES = 71
NUM_BONDS = 4
ELEMENTS = (1, 6, 7, 8, 9)  # H C N O F
NUM_NUMBERS = 56


class AtomGraph(NamedTuple):
    """N = B * A atoms, those of block b from b * A on; E = 2 (B - 1) ends of junctions.

    Attributes:
        live: `[N]` bool, False where the molecule has no atom; what follows is then arbitrary.
        numbers: `[N]` int32 atomic numbers.
        aromatic: `[N]` bool.
        hybridisations: `[N]` int32: 0 sp, 1 sp2, 2 sp3, -1 others.
        hydrogens: `[N]` int32.
        marks: `[N]` bool, True at atoms that a block may be attached to; in a molecule without
            any, at its first atom.
        neighbours: `[N, D]` int32, -1 where there is none.
        bonds: `[N, D]` int32: 0 single, 1 double, 2 triple, 3 aromatic, -1 where there is none.
    """

    live: Array
    numbers: Array
    aromatic: Array
    hybridisations: Array
    hydrogens: Array
    marks: Array
    neighbours: Array
    bonds: Array


class _Junctions(NamedTuple):
    """`[E]` each: both directions of every junction, N for those that are not there."""

    atoms: Array
    others: Array
    lift: Array


def atom_graph(state: MoleculeState, fragments: Fragments, tables: AtomTables) -> AtomGraph:
    """The graph of one molecule, hydrogens left out. As RDKit has it of the whole molecule.

    Atoms are those of the blocks in order, each by its place in the SMILES.
    """
    there = state.blocks >= 0
    kinds = jnp.asarray(fragments.kinds)[state.blocks]
    numbers = jnp.asarray(tables.numbers)[kinds]
    junctions = _junctions(state, fragments, tables)
    here = junctions.atoms[None] == jnp.arange(numbers.size, dtype=jnp.int32)[:, None]
    count = here.sum(axis=1, dtype=jnp.int32)
    lifted = (here & junctions.lift[None]).any(axis=1)

    def joined(table: Array) -> Array:
        """`[N]` of a `[K, A, U + 1]` table."""
        rows = jnp.asarray(table)[kinds].reshape(numbers.size, -1)
        return jnp.take_along_axis(rows, count[:, None], axis=1)[:, 0]

    plain, other = joined(tables.hybridisations), joined(tables.lifted)
    neighbours, bonds = _neighbours(kinds, junctions, tables)
    return AtomGraph(
        live=(there[:, None] & (numbers > 0)).reshape(-1),
        numbers=numbers.reshape(-1),
        aromatic=jnp.asarray(tables.aromatic)[kinds].reshape(-1),
        hybridisations=jnp.where(lifted, other, plain),
        hydrogens=joined(tables.hydrogens),
        marks=_marks(state, kinds, fragments, tables),
        neighbours=neighbours,
        bonds=bonds,
    )


def atom_features(graph: AtomGraph) -> Array:
    """`[N, 71]` floats of the sEH proxy.

    0 to 4 the elements H, C, N, O, F and 5 any other; 6 to 8 zero; 9 aromatic; 10 to 12 sp, sp2,
    sp3; 13 hydrogens; 14 to 69 the atomic number, 1 to 56; 70 the mark.
    """
    dtype = jnp.result_type(float)
    elements = jnp.asarray(ELEMENTS, jnp.int32)
    element = graph.numbers[:, None] == elements[None]
    other = ~element.any(axis=1, keepdims=True)
    columns = [
        element.astype(dtype),
        other.astype(dtype),
        jnp.zeros((graph.numbers.size, 3), dtype),
        graph.aromatic[:, None].astype(dtype),
        jax.nn.one_hot(graph.hybridisations, 3, dtype=dtype),
        graph.hydrogens[:, None].astype(dtype),
        jax.nn.one_hot(graph.numbers - 1, NUM_NUMBERS, dtype=dtype),
        graph.marks[:, None].astype(dtype),
    ]
    return jnp.concatenate(columns, axis=1)


def _junctions(state: MoleculeState, fragments: Fragments, tables: AtomTables) -> _Junctions:
    """Of the parent's atom with the block's, then the other way round."""
    num_atoms = tables.num_atoms
    sites = jnp.asarray(fragments.sites)
    entries, parents = state.blocks[1:], state.parent[1:]
    slots = jnp.arange(1, state.blocks.size, dtype=jnp.int32)
    there = entries >= 0
    ends = (
        (state.blocks[parents], parents, sites[state.blocks[parents], state.position[1:]]),
        (entries, slots, sites[entries, 0]),
    )
    atoms, numbers = [], []
    for entry, slot, site in ends:
        kind = jnp.asarray(fragments.kinds)[entry]
        atom = slot * num_atoms + jnp.asarray(fragments.atoms)[kind, site]
        atoms.append(jnp.where(there, atom, state.blocks.size * num_atoms))
        numbers.append(jnp.asarray(tables.sites)[kind, site])
    lifts = jnp.asarray(tables.lifts)
    (atom, other), (number, other_number) = atoms, numbers
    return _Junctions(
        atoms=jnp.concatenate([atom, other]),
        others=jnp.concatenate([other, atom]),
        lift=jnp.concatenate([lifts[number, other_number], lifts[other_number, number]]),
    )


def _neighbours(kinds: Array, junctions: _Junctions, tables: AtomTables) -> tuple[Array, Array]:
    """`[N, D]` neighbours and bonds: those in the block, then those by junctions."""
    num_atoms, degree = tables.neighbours.shape[1:]
    inside = jnp.asarray(tables.neighbours)[kinds]
    first = jnp.arange(kinds.size, dtype=jnp.int32) * num_atoms
    neighbours = jnp.where(inside >= 0, inside + first[:, None, None], -1).reshape(-1, degree)
    bonds = jnp.asarray(tables.bonds)[kinds].reshape(-1, degree)
    atoms, num_ends = junctions.atoms, junctions.atoms.size
    earlier = jnp.tril(jnp.ones((num_ends, num_ends), bool), -1)
    rank = (earlier & (atoms[:, None] == atoms[None])).sum(axis=1, dtype=jnp.int32)
    own = (neighbours >= 0).sum(axis=1, dtype=jnp.int32)
    place = atoms, own[atoms] + rank
    return (
        neighbours.at[place].set(junctions.others, mode="drop"),
        bonds.at[place].set(0, mode="drop"),
    )


def _marks(
    state: MoleculeState, kinds: Array, fragments: Fragments, tables: AtomTables
) -> Array:
    """`[N]` True at atoms with a stem, or at the first."""
    sites = jnp.asarray(fragments.sites)[state.blocks]
    atoms = jnp.asarray(fragments.atoms)[kinds[:, None], sites]
    places = jnp.arange(tables.num_atoms, dtype=jnp.int32)
    at = atoms[:, :, None] == places[None, None]
    stems = (at & open_positions(state, fragments)[:, :, None]).any(axis=1).reshape(-1)
    first = jnp.arange(stems.size, dtype=jnp.int32) == 0
    return stems | (first & ~stems.any())
