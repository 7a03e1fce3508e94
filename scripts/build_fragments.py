"""Build `gfnjax/assets/fragments.npz` with RDKit from a vocabulary file. Run by hand, once:

    GFNJAX_DATA=... python scripts/build_fragments.py $GFNJAX_DATA/seh/blocks_pdb_105.json

The file holds what RDKit says of the fragments of Bengio et al. (2106.04399), so that they can be
used without it: arrays by the place of a fragment and of its atoms, no structures.
"""

import argparse
from pathlib import Path

import numpy as np

from gfnjax.chemistry.atom_tables import computed_tables
from gfnjax.chemistry.tables import ASSET, digest, entries_digest
from gfnjax.chemistry.vocabulary import Vocabulary, read_vocabulary

OUTPUT = Path(__file__).resolve().parent.parent / "gfnjax" / "assets" / ASSET


def arrays(vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """What the file holds.

    `digest` and `entries_digest` tell what it is of; `permutations` `[K, P, A]` are the
    automorphisms of each fragment, -1 past the last; the others are `AtomTables`.
    """
    groups = vocabulary.permutations
    num_atoms = max(len(group[0]) for group in groups)
    permutations = np.full((len(groups), max(map(len, groups)), num_atoms), -1, np.int8)
    for kind, group in enumerate(groups):
        permutations[kind, : len(group), : len(group[0])] = group
    return {
        "digest": np.array(digest(vocabulary.fragments)),
        "entries_digest": np.array(entries_digest(vocabulary)),
        "permutations": permutations,
    } | {name: _narrow(array) for name, array in computed_tables(vocabulary)._asdict().items()}


def _narrow(array: np.ndarray) -> np.ndarray:
    """Integers in as few bytes as they need."""
    if array.dtype == bool:
        return array
    kind = np.int8 if np.abs(array).max() < 128 else np.int16
    return array.astype(kind)


def main() -> None:
    """Build the asset from the vocabulary given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    np.savez_compressed(arguments.output, **arrays(read_vocabulary(arguments.vocabulary)))
    print(f"wrote {arguments.output} ({arguments.output.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
