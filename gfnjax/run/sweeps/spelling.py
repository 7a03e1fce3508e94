"""What is varied, as text: `1e-4,1e-3`, `0:0.2:5`, `log:1e-4:1e-1:4`, `log-uniform:1e-4:1e-2`."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.options import from_text, is_number_hint
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps.studies.spaces import Spaced
from gfnjax.sweeps.points import Uniform

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
FORMS = (
    "list values (1e-4,1e-3), or say start:stop:count, log:start:stop:count, uniform:low:high or "
    "log-uniform:low:high"
)


def read_values(name: str, hint: Any, text: str) -> list[Any] | Uniform:
    """The values of one name, of the type `hint`, or numbers to draw; raises as `read_space`."""
    found = read_space(name, hint, text)
    return list(found.values) if isinstance(found, Spaced) else found


def read_space(name: str, hint: Any, text: str) -> list[Any] | Uniform | Spaced:
    """The same for a search, to which a range says more than its values.

    Raises:
        ArgumentError: for text that says neither.
    """
    if not text:
        raise ArgumentError(name, "must be given values", FORMS)
    if ":" in text and is_number_hint(hint):
        return _range(name, hint, text)
    values = [from_text(name, hint, word.strip()) for word in text.split(",")]
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ArgumentError(name, f"must be varied over different values, got {twice[0]} twice")
    return values


def _range(name: str, hint: Any, text: str) -> Uniform | Spaced:
    kind, numbers = "", text.split(":")
    if not _is_number(numbers[0]):
        kind, *numbers = numbers
    if kind in ("uniform", "log-uniform") and len(numbers) == 2 and all(map(_is_number, numbers)):
        if from_text(name, hint, "0.5", or_none=True) is None:
            problem = "is fixed in a compiled program: it cannot be drawn"
            raise ArgumentError(name, problem, "list its values")
        try:
            return Uniform(*map(float, numbers), log=kind == "log-uniform")
        except ArgumentError as error:
            raise ArgumentError(name, f"cannot be drawn from {text}: {error}") from error
    whole = len(numbers) == 3 and numbers[2].isdigit() and int(numbers[2]) > 0
    if kind not in ("", "log") or not whole or not all(map(_is_number, numbers)):
        raise ArgumentError(name, f"cannot be varied over {text!r}", FORMS)
    start, stop, count = float(numbers[0]), float(numbers[1]), int(numbers[2])
    if kind == "log" and not (start > 0 and stop > 0):
        raise ArgumentError(name, f"must be positive on a logarithmic range, got {text}")
    spaced = np.geomspace if kind == "log" else np.linspace
    # Twelve digits: 0.15000000000000002 is nobody's intention.
    values = (from_text(name, hint, f"{x:.12g}") for x in spaced(start, stop, count))
    return Spaced(tuple(values), log=kind == "log")


def read_points(path: Path, hint_of: Callable[[str], tuple[str, Any]]) -> dict[str, list[Any]]:
    """Columns of a CSV file whose rows are points.

    Args:
        path: of the file; its first line has the names.
        hint_of: the name of a column, and the type of its values, from how it is spelled.

    Raises:
        UsageError: for a file that cannot be read, or has no rows.
        ArgumentError: for a value of another type.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it needs a line of names and one a point"
        raise UsageError(f"points cannot be read from {path}: {reason}") from error
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            problem = f"line {number} has {len(row)} values, there are {len(header)} names"
            raise UsageError(f"points cannot be read from {path}: {problem}")
    columns = {}
    for i, spelled in enumerate(header):
        name, hint = hint_of(spelled.strip())
        if name in columns:
            raise UsageError(f"points cannot be read from {path}: it has {name} twice")
        columns[name] = [from_text(name, hint, row[i].strip()) for row in rows]
    if not rows:
        raise UsageError(f"points cannot be read from {path}: it has no row")
    return columns


def read_bytes(text: str) -> int:
    """`16GB`, `512MiB`, `2e9`: a number of bytes.

    Raises:
        ArgumentError: for anything else.
    """
    found = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([kmgt]?i?)b?", text.strip().lower())
    unit = {**UNITS, **BINARY}.get(found[2]) if found else None
    if found is None or unit is None or not _is_number(found[1]):
        raise ArgumentError("memory", f"must be a number of bytes such as 16GB, got {text!r}")
    return int(float(found[1]) * unit)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
