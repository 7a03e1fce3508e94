"""A user's own data files: matrices and aligned sequences. Errors name the file and the place."""

import csv
import json
import math
from pathlib import Path

import numpy as np


def absolute(path: str | None) -> str | None:
    """The path from the root, so that a run can be resumed from anywhere."""
    return None if path is None else str(Path(path).absolute())


def read_matrix(path: str | Path) -> np.ndarray:
    """A matrix from a `.npy` file, a `.npz` file of one array, or a `.csv` file.

    A first line of a `.csv` file that is not all numbers is taken for names of the columns; an
    empty cell is NaN.

    Raises:
        ValueError: for another kind of file, or one that holds no matrix.
        OSError: if the file cannot be read.
    """
    path = _existing(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(f"data must be a {', '.join(readers)} file, got {path}")
    matrix = readers[path.suffix.lower()](path)
    if matrix.ndim != 2:
        raise ValueError(f"{path}: must hold a matrix, a row a sample, got shape {matrix.shape}")
    return matrix


def read_sequences(path: str | Path) -> dict[str, str]:
    """An object from names to sequences, from a `.json` file.

    Raises:
        ValueError: if that is not what the file holds.
        OSError: if the file cannot be read.
    """
    path = _existing(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise ValueError(f"{path}: must hold an object from species to sequences")
    return values


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return path


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


def _read_csv(path: Path) -> np.ndarray:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(i, cells) for i, cells in enumerate(csv.reader(file), start=1) if cells]
    if lines and any(_number(cell) is None for cell in lines[0][1]):
        del lines[0]
    if not lines:
        raise ValueError(f"{path}: must hold numbers, got none")
    rows = []
    for number, cells in lines:
        if len(cells) != len(lines[0][1]):
            raise ValueError(
                f"{path}: line {number} must have {len(lines[0][1])} cells as the first has, "
                f"got {len(cells)}"
            )
        row = [_number(cell) for cell in cells]
        if None in row:
            cell = cells[row.index(None)]
            raise ValueError(f"{path}: line {number} must hold numbers, got {cell!r}")
        rows.append(row)
    return np.array(rows, np.float64)


def _number(cell: str) -> float | None:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        return None
