"""Where the data files are, for the peers, which cannot ask gfnjax."""

import os
from pathlib import Path

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
