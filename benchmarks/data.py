"""Data and where their files are, for the peers, which cannot ask gfnjax."""

import os
from pathlib import Path

import numpy as np

TFBIND8 = Path(__file__).parents[1] / "gfnjax" / "assets" / "tfbind8.npz"


def data_file(name: str) -> Path:
    """A file in the folder that `GFNJAX_DATA` names.

    Raises:
        FileNotFoundError: if it is not there.
    """
    path = Path(os.environ.get("GFNJAX_DATA", ".")) / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is not in the folder that GFNJAX_DATA names")
    return path


def tfbind8_file() -> Path:
    """The table that the package brings."""
    return TFBIND8


def dag_data(num_nodes: int) -> np.ndarray:
    """`[100, num_nodes]` of a chain of linear-Gaussian variables: x_v = .8 x_(v-1) + noise."""
    mixing = np.eye(num_nodes) - np.diag(np.full(num_nodes - 1, 0.8), 1)
    noise = np.random.default_rng(0).normal(scale=0.1**0.5, size=(100, num_nodes))
    return np.linalg.solve(mixing.T, noise.T).T
