"""Pictures of the molecules that a run has found: the best ones, and how the best one grows."""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gfnjax.chemistry.building import to_rdkit
from gfnjax.chemistry.rdkit import REMEDY
from gfnjax.plot.molecules import draw_growth, draw_molecules
from gfnjax.run.molecules import FoundMolecules

NUM_BEST = 12


def draw_found(folder: Path, found: FoundMolecules) -> list[Path]:
    """Draw `best.png` and `growth.png` into a folder; what there is.

    Without RDKit nothing, but for a warning that says so.
    """
    if found.smiles is None:
        warnings.warn(
            "molecules are written as blocks, without SMILES, SDF, scaffolds and pictures: "
            f"these need RDKit; {REMEDY}",
            stacklevel=2,
        )
        return []
    best = [i for i, smiles in enumerate(found.smiles) if smiles][:NUM_BEST]
    if not best:
        return []
    molecules = [_molecule(found, i) for i in best]
    captions = [_caption(found, i) for i in best]
    written = [draw_molecules(folder / "best.png", molecules, captions)]
    growth = _growth(found, best[0])
    return written if growth is None else [*written, draw_growth(folder / "growth.png", *growth)]


def _caption(found: FoundMolecules, i: int) -> str:
    values = [f"{name} {value[i]:.3f}" for name, value in found.values.items()]
    logs = [f"log R {found.log_r[i]:.2f}"]
    if found.log_p is not None and np.isfinite(found.log_p[i]):
        logs.append(f"log p {found.log_p[i]:.2f}")
    return f"{', '.join(values)}\n{', '.join(logs)}"


def _growth(found: FoundMolecules, i: int) -> tuple[list[Any], list[str]] | None:
    """The molecules on the way to one, and a caption each; None if RDKit does not admit one."""
    path = jax.tree.map(lambda x: x[i], found.paths)
    sizes = (path.blocks >= 0).sum(axis=1)
    # Stopping, and what comes after the end, adds no block.
    steps = [t for t in range(1, len(sizes)) if sizes[t] != sizes[t - 1]]
    try:
        molecules = [_built(found, jax.tree.map(lambda x, t=t: x[t], path)) for t in steps]
    except ValueError:
        return None
    blocks = "block" if len(steps) == 1 else "blocks"
    captions = [f"step {number}" for number in range(1, len(steps) + 1)]
    return molecules, [*captions, f"stop: {len(steps)} {blocks}\n{_caption(found, i)}"]


def _molecule(found: FoundMolecules, i: int) -> Any:
    return _built(found, jax.tree.map(lambda x: x[i], found.states))


def _built(found: FoundMolecules, state: Any) -> Any:
    return to_rdkit(state, found.vocabulary)
