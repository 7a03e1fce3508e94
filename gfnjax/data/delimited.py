"""Matrices in text: numbers between commas, semicolons, tabs or blanks, as tables are exported."""

import csv
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfnjax.data.files import read_text

# What pandas, R, Excel and others write for a missing value, in lower case.
_MISSING = {"", "na", "n/a", "nan", "<na>", "#n/a", "#n/a n/a", "#na", "null", "none", "nil"} | {
    "?", ".", "-", "--", "*", "nat", "missing", "-nan", "#null!", "#div/0!", "#value!", "#ref!",
    "#name?", "#num!", "1.#qnan", "1.#ind", "-1.#ind",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INFINITE = re.compile(r"[+-]?(inf|infinity)", re.IGNORECASE)
# Left empty by pandas and R, or what they call it when they read their own file again.
_UNNAMED = re.compile(r"|Unnamed: \d+.*")
_INDEX = re.compile(r"Unnamed: \d+.*|X(\.\d+)?|index|level_\d|id|rownames|row\.names")
MIN_COUNTED_ROWS = 5


class _Line(NamedTuple):
    """A line of the file: its number, from 1, and its cells."""

    number: int
    cells: list[str]


def read_delimited(path: Path) -> np.ndarray:
    """`[rows, columns]` float64 from text in UTF-8, UTF-16 or UTF-32.

    The first line says what is between the numbers: tabs, else semicolons, else commas, else
    blanks. Where that is no comma and no number has a point, numbers may have decimal commas. A
    first line of names is a header; blank lines and those that start with # are passed over.
    Columns at the left without a name, and those that the header is too short to name, are the
    index of a data frame or R's row names: they are left out, with a warning.

    Raises:
        ValueError: naming the line and column of a cell that is missing, infinite or no number, of
            rows of different lengths, and of what may be data as well as an index or a header.
    """
    separator, lines = _lines(path, read_text(path))
    header, rows = _split_header(path, lines)
    width = len(rows[0].cells)
    for line in rows:
        if len(line.cells) != width:
            raise ValueError(
                f"{path}: line {line.number} must have {width} cells as the first has, "
                f"got {len(line.cells)}"
            )
    first = _index_width(path, header, rows)
    points = any("." in cell for line in rows for cell in line.cells[first:])
    mark = "." if separator == "," or width == 1 or points else ","
    values = [[_value(path, line, j, mark) for j in range(first, width)] for line in rows]
    return np.array(values, np.float64)


def _lines(path: Path, text: str) -> tuple[str, list[_Line]]:
    """The separator, and the lines that hold cells, none for a separator at the end of all."""
    raw = dict(enumerate(text.splitlines(), 1))
    told = re.fullmatch(r"sep=(.)", raw.get(1, "").strip())
    if told:  # a spreadsheet's way to name the separator
        del raw[1]
    raw = {i: line for i, line in raw.items() if line.strip() and not _is_comment(line)}
    separator = told[1] if told else _separator(next(iter(raw.values()), ""))
    kept = [line if separator == "\t" else line.strip() for line in raw.values()]
    try:
        table = list(csv.reader(kept, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path} is no table: {error}") from error
    if len(table) != len(kept):
        raise ValueError(f"{path} is no table: a cell goes on over several lines")
    rows = [[cell.strip() for cell in cells] for cells in table]
    while rows and not any(rows[-1]):  # as spreadsheets append them
        rows.pop()
    width = max(map(len, rows), default=0)
    while width > 1 and all(cells[width - 1 :] in ([], [""]) for cells in rows):
        width -= 1
    return separator, [_Line(i, cells[:width]) for i, cells in zip(raw, rows, strict=False)]


def _is_comment(line: str) -> bool:
    cell = re.split(r"[\s;,]", line.strip())[0]
    return cell.startswith("#") and cell.lower() not in _MISSING


def _separator(line: str) -> str:
    bare = re.sub(r'"[^"]*"', "", line)
    return next((mark for mark in "\t;," if mark in bare), " ")


def _split_header(path: Path, lines: list[_Line]) -> tuple[list[str] | None, list[_Line]]:
    """The names in the first line, None where it holds data, and the lines of data."""
    header = lines[0].cells if lines and _is_header(path, *lines) else None
    rows = lines if header is None else lines[1:]
    if not rows:
        raise ValueError(f"{path}: must hold numbers, got none")
    return header, rows


def _is_header(path: Path, first: _Line, *rows: _Line) -> bool:
    """Whether the first line names the columns; a missing value is no name."""
    cells = first.cells
    numbers = [cell for cell in cells if _is_number(cell)]
    names = [c for c in cells if not _is_number(c) and c.lower() not in _MISSING]
    if names and not numbers:
        return True
    if names and rows and _is_number(dict(enumerate(rows[0].cells)).get(cells.index(names[0]), "")):
        raise ValueError(
            f"{path}: line {first.number} must hold only numbers, or only names, got "
            f"{names[0]!r} and {numbers[0]!r}"
        )
    # What pandas writes for columns that were never named: 0, 1, 2, ...
    if cells == ["", *map(str, range(len(cells) - 1))]:
        return _counts(rows, 0)
    return len(cells) > 1 and _are_numbered(path, first, rows)


def _are_numbered(path: Path, first: _Line, rows: tuple[_Line, ...]) -> bool:
    """Whether a first line 0, 1, 2, ... is a header: it is where all below has fractions."""
    counts = first.cells == list(map(str, range(len(first.cells))))
    # Other names that are numbers, such as years, rise as well.
    numbers = [int(cell) for cell in first.cells if cell.isdecimal()]
    rise = len(numbers) == len(first.cells) and numbers == sorted(set(numbers))
    fractions = [bool(re.search("[.,]", cell)) for line in rows for cell in line.cells]
    names = len(rows) > 1 and all(fractions)
    if counts and names:
        warnings.warn(f"{path}: line {first.number} left out as a header", stacklevel=6)
        return True
    if (rise and names) or (counts and (any(fractions) or len(numbers) > 2)):
        raise ValueError(
            f"{path}: line {first.number} may be data or a header, {', '.join(first.cells)}: "
            "remove it, or name the columns in a line above"
        )
    return False


def _index_width(path: Path, header: list[str] | None, rows: list[_Line]) -> int:
    """How many columns at the left are an index; warns where there are some."""
    width = len(rows[0].cells)
    if header is None:
        if width > 1 and len(rows) >= MIN_COUNTED_ROWS and _counts(rows, 0):
            raise ValueError(_is_index(path, 0))
        return 0
    if len(header) not in (width, width - 1):
        raise ValueError(f"{path}: the header must have {width} names, got {len(header)}")
    names = [""] * (width - len(header)) + header
    index = next((i for i, name in enumerate(names) if not _UNNAMED.fullmatch(name)), width)
    if index == width:
        raise ValueError(f"{path}: the header must name the columns, got {', '.join(header)}")
    for column in range(index):
        values = [line.cells[column] for line in rows]
        if any(_is_number(cell) and not re.fullmatch(r"-?\d+", cell) for cell in values):
            raise ValueError(_is_index(path, column))
    for column in range(index, width):
        if _INDEX.fullmatch(names[column]) and len(rows) > 1 and _counts(rows, column):
            raise ValueError(_is_index(path, column))
    if index:
        which = "column 1 has" if index == 1 else f"columns 1 to {index} have"
        warnings.warn(f"{path}: {which} no name: left out as an index", stacklevel=4)
    return index


def _counts(rows: Sequence[_Line], column: int) -> bool:
    """Whether a column counts the rows, from 0 or from 1."""
    values = [line.cells[column] for line in rows]
    return values in ([str(i + start) for i in range(len(rows))] for start in (0, 1))


def _is_index(path: Path, column: int) -> str:
    return (
        f"{path}: column {column + 1} looks like an index: remove it, or name it in the header "
        "if it is a variable"
    )


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell.replace(",", ".", 1)) or _INFINITE.fullmatch(cell))


def _value(path: Path, line: _Line, column: int, mark: str) -> float:
    """The number in a cell, `mark` before its fraction."""
    cell = line.cells[column]
    place = f"{path}: line {line.number}, column {column + 1}"
    if cell.lower() in _MISSING:
        raise ValueError(f"{place} is missing: drop or impute missing values, got {cell!r}")
    number = cell.replace(mark, ".", 1)
    if not (_NUMBER.fullmatch(number) or _INFINITE.fullmatch(cell)):
        raise ValueError(f"{place} must be a number, got {cell!r}")
    if not math.isfinite(float(number)):
        raise ValueError(f"{place} must be finite, got {cell!r}")
    return float(number)
