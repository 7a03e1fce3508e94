"""Matrices of data, a row a sample and a column a variable."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from gfnjax.data.delimited import read_delimited
from gfnjax.data.files import existing
from gfnjax.errors import ArgumentError


def read_matrix(path: str | Path) -> np.ndarray:
    """A matrix `[samples, variables]` from a file of one of these kinds.

    - `.npy`, or `.npz` with one array;
    - `.csv`, `.tsv`, `.tab`, `.dat`, `.txt`: text, see `gfnjax.data.delimited.read_delimited`;
    - `.parquet`, `.pq`, where pandas (with pyarrow) or polars is installed.

    An index that a data frame was saved with is left out, with a warning.

    Raises:
        ValueError: for another kind of file, or one that does not hold a matrix of real numbers.
        ImportError: for a Parquet file without a library that reads it.
        OSError: if the file cannot be read.
    """
    path = existing(path)
    text = dict.fromkeys((".csv", ".tsv", ".tab", ".dat", ".txt"), read_delimited)
    parquet = dict.fromkeys((".parquet", ".pq"), _read_parquet)
    readers = {".npy": _read_npy, ".npz": _read_npz, **text, **parquet}
    if path.suffix.lower() not in readers:
        raise ArgumentError("data", f"must be a {', '.join(readers)} file, got {path}")
    matrix = readers[path.suffix.lower()](path)
    if matrix.dtype.kind not in "iuf":
        raise ValueError(f"{path}: must hold real numbers, got {matrix.dtype}")
    if matrix.ndim != 2:
        raise ValueError(f"{path}: must hold a matrix, a row a sample, got shape {matrix.shape}")
    return matrix


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged, or holds more than plain arrays") from error


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            if len(names) == 1:
                return arrays[names[0]]
    except Exception as error:
        raise ValueError(f"{path} is damaged, or holds more than plain arrays") from error
    raise ValueError(f"{path}: must hold one array, got {', '.join(names) or 'none'}")


def _read_parquet(path: Path) -> np.ndarray:
    library = _first_importable("polars", "pandas")
    try:
        frame = library.read_parquet(path)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged, or no Parquet file: {error}") from error
    # Where pandas keeps an index in the file.
    names = [name for name in frame.columns if not str(name).startswith("__index_level_")]
    columns = [frame[name].to_numpy() for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind not in "iuf":
            raise ValueError(f"{path}: column {name!r} must hold real numbers, got {column.dtype}")
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _first_importable(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(
        "reading Parquet files needs polars, or pandas with pyarrow: pip install 'gfnjax[data]', "
        "or save the data as .csv or .npy"
    )
