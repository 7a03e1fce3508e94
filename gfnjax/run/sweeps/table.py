"""The results of a sweep in one tidy table: a row is one member at one evaluation.

    member  point  seed  <what is varied>  step  seconds  status  <metrics>

`member` is one run, `point` the number of its setting, `status` one of "running", "finished",
"reached" (the wanted total variation), "pruned" (given up by a search) and "diverged" (NaN at that
step: it has no metrics).
"""

import csv
import importlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfnjax.errors import MissingExtraError
from gfnjax.run.checkpoint import replace_atomically
from gfnjax.run.config import UsageError
from gfnjax.sweeps.sweep import Sweep

Row = dict[str, Any]

IDENTIFIERS = "member", "point", "seed"
PROGRESS = "step", "seconds", "status"
WHOLE = {*IDENTIFIERS, "step"}
RUNNING, FINISHED, REACHED, DIVERGED = "running", "finished", "reached", "diverged"
PRUNED = "pruned"


@dataclass(frozen=True)
class Table:
    """All evaluations of all members.

    Attributes:
        varied: the names of what differs between settings.
        rows: one an evaluation; a metric may be missing, or NaN, which means the same.
        of_one_target: whether all settings sample in proportion to one reward.

    Raises:
        UsageError: if something varied is called like a column that every table has.
    """

    varied: tuple[str, ...]
    rows: list[Row]
    of_one_target: bool = True

    def __post_init__(self) -> None:
        for name in self.varied:
            if name in (*IDENTIFIERS, *PROGRESS):
                raise UsageError(f"varied must not hold {name!r}: every table has such a column")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, in the order in which they first appear."""
        known = {*IDENTIFIERS, *self.varied, *PROGRESS}
        return tuple(dict.fromkeys(name for row in self.rows for name in row if name not in known))

    @property
    def columns(self) -> tuple[str, ...]:
        """Identifiers, what is varied, progress, metrics."""
        return (*IDENTIFIERS, *self.varied, *PROGRESS, *self.metrics)

    def settings(self) -> dict[int, Row]:
        """The values of what is varied at each point, in the order of points."""
        found = {row["point"]: {name: row[name] for name in self.varied} for row in self.rows}
        return dict(sorted(found.items()))

    def members(self) -> dict[int, list[Row]]:
        """The rows of each member by step, in the order of members."""
        found: dict[int, list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: (row["member"], row["step"])):
            found.setdefault(row["member"], []).append(row)
        return found

    def last_rows(self) -> list[Row]:
        """The last row of each member, in the order of members."""
        return [rows[-1] for rows in self.members().values()]


def table_of(sweep: Sweep) -> Table:
    """The results of `gfnjax.sweep` as a table, for `analyse` and pictures."""
    varied = tuple(sweep.points[0])
    one = not any(name.split(".")[0] in ("env", "reward_exponent") for name in varied)
    return Table(varied, [{**row, "seconds": math.nan} for row in sweep.rows], one)


def curve(rows: Iterable[Row], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values `[n]` of a metric, of the rows that have it."""
    found = [(row["step"], row[metric]) for row in rows if not is_missing(row.get(metric))]
    steps, values = np.array(found, float).reshape(-1, 2).T
    return steps, values


def is_missing(value: Any) -> bool:
    """Whether there is nothing: None, or NaN."""
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def check_path(path: Path) -> None:
    """Raise what `write` would, before hours are spent on what is to be written."""
    if _is_parquet(path):
        _polars()


def write(table: Table, path: Path) -> None:
    """Store a table, complete or not at all: CSV, or Parquet where `path` ends in .parquet.

    What is missing and NaN are empty, the entries of a tuple have blanks between them.

    Raises:
        UsageError: for a suffix other than .csv and .parquet.
        MissingExtraError: for Parquet without polars.
        OSError: if the file cannot be written.
    """
    replace_atomically(path, _parquet(table) if _is_parquet(path) else _csv(table))


def read(path: Path) -> Table:
    """A table that `write` has stored.

    An empty cell is a metric that is missing, or the value None of what is varied. A column of CSV
    holds tuples if one of its cells has blanks, floats if one of its numbers is none that is whole.

    Raises:
        UsageError: for another suffix, no such file, or one that holds no such table.
        MissingExtraError: for Parquet without polars.
    """
    parse = _parse_parquet if _is_parquet(path) else _parse_csv
    if not path.is_file():
        raise UsageError(f"no such table: {path}")
    try:
        columns = parse(path.read_bytes())
        names = list(columns)
        varied = tuple(names[len(IDENTIFIERS) : names.index("step")])
        if tuple(names[: len(IDENTIFIERS)]) != IDENTIFIERS or not columns.keys() >= {*PROGRESS}:
            raise ValueError("it has other columns")
        typed = [_restored(name, cells, varied) for name, cells in columns.items()]
    except MissingExtraError:
        raise
    except Exception as error:  # polars has many kinds of its own
        raise UsageError(f"{path} must be the table of a sweep: {error}") from error
    return Table(varied, [_row(names, cells, varied) for cells in zip(*typed, strict=True)])


def spelled(value: Any) -> str:
    """A value of what is varied as text; the entries of a tuple have blanks between them."""
    if isinstance(value, tuple | list):
        return " ".join(map(spelled, value))
    return "" if is_missing(value) else str(value)


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"results must be a .csv or .parquet file, got {path}")
    return path.suffix.lower() == ".parquet"


def _csv(table: Table) -> bytes:
    text, columns = io.StringIO(), table.columns
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([spelled(row.get(name)) for name in columns] for row in table.rows)
    return text.getvalue().encode()


def _parse_csv(content: bytes) -> dict[str, list[Any]]:
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _polars() -> Any:
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise MissingExtraError(
            'Parquet files need polars: pip install "gfnjax[data]", or use a .csv file',
            name="polars",
        ) from error


def _parquet(table: Table) -> bytes:
    polars, content = _polars(), io.BytesIO()
    kinds = dict.fromkeys(table.metrics, polars.Float64) | {"seconds": polars.Float64}
    series = []
    for name in table.columns:
        cells = [row.get(name) for row in table.rows]
        alike = len({type(cell) for cell in cells if cell is not None}) == 1
        if name in table.varied and not (alike and isinstance(cells[0], bool | int | float | str)):
            cells = list(map(spelled, cells))
        cells = [None if is_missing(cell) else cell for cell in cells]
        series.append(polars.Series(name, cells, kinds.get(name)))
    polars.DataFrame(series).write_parquet(content)
    return content.getvalue()


def _parse_parquet(content: bytes) -> dict[str, list[Any]]:
    return _polars().read_parquet(io.BytesIO(content)).to_dict(as_series=False)


def _restored(name: str, cells: Sequence[Any], varied: Sequence[str]) -> list[Any]:
    """The cells of a column with their types; None where there is nothing."""
    if name in varied:
        return _alike([_value(cell) if isinstance(cell, str) else cell for cell in cells])
    if name == "status":
        return list(cells)
    kind: Callable[[Any], Any] = int if name in WHOLE else float
    return [None if cell in ("", None) else kind(cell) for cell in cells]


def _value(text: str) -> Any:
    """The bool, number, tuple or string that a text stands for."""
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    for read in (int, float, lambda text: tuple(map(int, text.split(" ")))):
        try:
            value = read(text)
        except ValueError:
            continue
        return text if is_missing(value) else value
    return text


def _alike(values: list[Any]) -> list[Any]:
    """Whole numbers as what the others of a column are: tuples, or floats."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, tuple}:
        return [(value,) if isinstance(value, int) else value for value in values]
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return values


def _row(names: Sequence[str], cells: Sequence[Any], varied: Sequence[str]) -> Row:
    kept = {*IDENTIFIERS, *varied, *PROGRESS}
    pairs = zip(names, cells, strict=True)
    return {name: cell for name, cell in pairs if cell is not None or name in kept}
