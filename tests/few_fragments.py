"""A small vocabulary with all that makes symmetry difficult, and no need of RDKit."""

import jax.numpy as jnp

from gfnjax.chemistry.vocabulary import vocabulary

TURNS = [[(i + k) % 6 for i in range(6)] for k in range(6)]
SYMMETRIES = {
    "c1ccccc1": TURNS + [turn[::-1] for turn in TURNS],
    "CO": [[0, 1]],
    "F": [[0]],
    "CC": [[0, 1], [1, 0]],
}


def few_fragments():
    """A ring whose stems its symmetries do not keep, a fragment of two entries one of which names
    an atom twice, and one that ends a branch.
    """
    smiles = ["c1ccccc1", "CO", "CO", "F"]
    return vocabulary(smiles, [[0, 1, 2, 3], [0, 1], [1, 0, 0], [0]], SYMMETRIES)


def two_fragments():
    """A chain and an end: few states."""
    return vocabulary(["CC", "F"], [[0, 1], [0]], SYMMETRIES)


def blocks_differ(molecule):
    """log R, of two fragments the same for all states of a molecule."""
    values = 0.3 + molecule.blocks.astype(jnp.result_type(float)) / 2
    return jnp.where(molecule.blocks >= 0, values, 0.0).sum()
