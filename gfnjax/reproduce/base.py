"""What a reproduction is: rows, each an ordinary run, and what is read off their metrics."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gfnjax.arguments import suggest
from gfnjax.reproduce.measures import Measure
from gfnjax.run.choices import configure
from gfnjax.run.config import Config, UsageError


@dataclass(frozen=True)
class Published:
    """What a paper says of a row: a number, or in words where it shows no more than a curve.

    Attributes:
        text: as the table shows it.
        source: where it says so: arXiv id and table, figure or section.
        better_than: rows than which the paper claims this one to be better, that is lower.
        by: the number of the measure by which that is seen here.
    """

    text: str
    source: str
    better_than: tuple[str, ...] = ()
    by: int = 0


@dataclass(frozen=True)
class Row:
    """One line of a table: a training, repeated with several seeds.

    Attributes:
        name: its own; the folder of seed s is `NAME-s`.
        environment: that is trained on.
        settings: what `gfnjax.run.configure` takes besides; names of fields and plain values.
        seeds: how many, from 0 on.
        panel: of the picture.
        line: its label there.
        published: what the literature has; None where nothing that we know of.
        expected: what we get, of the first measure; None until it has been measured.
        tolerance: how far from that the mean of the seeds may be.
        why: of a difference, where it is another reason than the reproduction's.
    """

    name: str
    environment: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 3
    panel: str = ""
    line: str = ""
    published: Published | None = None
    expected: float | None = None
    tolerance: float = 0.0
    why: str = ""

    def config(self, seed: int, steps: int | None = None) -> Config[Any]:
        """The run of a seed; of so many steps instead of its own, for a small budget.

        Raises:
            UsageError: for steps that cannot be.
        """
        given: dict[str, Any] = {**self.settings, "seed": seed}
        if steps is not None:
            given["steps"] = steps
        return configure(self.environment, **given)

    def folder(self, output: Path, seed: int) -> Path:
        """Of the run of a seed."""
        return output / f"{self.name}-{seed}"

    @property
    def command(self) -> str:
        """What trains it, as it is typed, but for the seed."""
        flags = (_flag(name, value) for name, value in self.settings.items())
        return " ".join(["gfnjax train", self.environment, *flags])


def _flag(name: str, value: Any) -> str:
    word = name.strip("_").replace("_", "-")
    if isinstance(value, bool):
        return f"--{word}" if value else f"--no-{word}"
    words = value if isinstance(value, tuple | list) else (value,)
    return " ".join([f"--{word}", *(shlex.quote(str(each)) for each in words)])


@dataclass(frozen=True)
class Reproduction:
    """A table of the literature.

    Attributes:
        name: on the command line.
        title: one line.
        papers: arXiv ids.
        rows: in the order of the table.
        measures: what is told of each row; by the first one it is judged.
        curves: columns of evaluations that the picture shows against the steps.
        minutes: that all of it takes on two cores, about.
        note: where and why ours differs from what was published.
        table: all rows, where `choose` has left some out.
    """

    name: str
    title: str
    papers: tuple[str, ...]
    rows: tuple[Row, ...]
    measures: tuple[Measure, ...]
    curves: tuple[str, ...]
    minutes: int
    note: str
    table: tuple[Row, ...] = ()

    def choose(self, patterns: Sequence[str] | None, seeds: int | None = None) -> "Reproduction":
        """The same with the rows alone that fit one of the patterns, and other numbers of seeds.

        Raises:
            UsageError: for a pattern that no row fits, or fewer seeds than one.
        """
        if seeds is not None and seeds < 1:
            raise UsageError(f"--seeds must be at least 1, got {seeds}")
        names = [row.name for row in self.rows]
        for pattern in patterns or ():
            if not any(fnmatchcase(name, pattern) for name in names):
                hint = suggest(pattern, names) or f", only {', '.join(names)}"
                raise UsageError(f"{self.name} has no row {pattern!r}{hint}")
        kept, table = [], []
        for row in self.rows:
            chosen = not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)
            wanted = seeds if chosen and seeds is not None else row.seeds
            table.append(dataclasses.replace(row, seeds=max(wanted, row.seeds)))
            if chosen:
                kept.append(dataclasses.replace(row, seeds=wanted))
        return dataclasses.replace(self, rows=tuple(kept), table=tuple(table))

    @property
    def whole(self) -> "Reproduction":
        """With all rows of the table."""
        return dataclasses.replace(self, rows=self.table or self.rows, table=())
