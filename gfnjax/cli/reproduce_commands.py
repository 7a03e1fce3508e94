"""`gfnjax reproduce`: tables of the literature, trained and told."""

import textwrap
from pathlib import Path

from gfnjax.cli.parser import Reproduce
from gfnjax.cli.reports import names
from gfnjax.cli.sweep_report import aligned
from gfnjax.reproduce import REPRODUCTIONS, Reproduction, find, picture, table, training
from gfnjax.run.checkpoint import replace_atomically
from gfnjax.run.config import UsageError

WIDTH = 100


def carry_out(command: Reproduce) -> int:
    """Train what is missing and print the table; the exit code.

    Raises:
        UsageError: for a name, a row or a folder that cannot be used.
    """
    if command.name is None:
        _refuse_without_name(command)
        print(listing())
        return 0
    reproduction = find(command.name).choose(command.rows, command.seeds)
    if command.list:
        print(rows_of(reproduction))
        return 0
    output = command.output or Path("runs") / f"reproduce-{reproduction.name}"
    stopped, failures = None, 0
    if not command.report:
        stopped, failures = training.train(reproduction, output, command.steps, _tell)
    elif not output.is_dir():
        raise UsageError(f"there are no runs of {reproduction.name} in {output}")
    print(report(reproduction, output))
    if stopped is not None:
        print(f"stopped; the same command goes on where {output} is now", flush=True)
        return 128 + stopped
    return 1 if failures else 0


def listing() -> str:
    """What there is, and how long it takes."""
    head = ["name", "runs", "minutes", "what"]
    rows = [
        [each.name, str(sum(row.seeds for row in each.rows)), str(each.minutes), each.title]
        for each in REPRODUCTIONS.values()
    ]
    return "\n".join([*aligned([head, *rows]), "on two cores; gfnjax reproduce NAME --list: rows"])


def rows_of(reproduction: Reproduction) -> str:
    """Its rows, and the command of each."""
    return "\n".join(
        f"{row.name} (seeds 0 to {row.seeds - 1})\n    {row.command}" for row in reproduction.rows
    )


def report(reproduction: Reproduction, output: Path) -> str:
    """The table of the rows that are wanted, as text; files of all rows are written."""
    whole = reproduction.whole
    runs = training.runs(whole, output)
    written = [output / "table.md", output / "table.csv"]
    replace_atomically(written[0], table.markdown(whole, runs).encode())
    replace_atomically(written[1], table.spreadsheet(whole, runs).encode())
    if picture.draw(whole, runs, output / "curves.png"):
        written.append(output / "curves.png")
    wanted, every = training.runs(reproduction, output), table.lines(whole, runs)
    lines = aligned(table.cells(reproduction, wanted, every))
    below = [textwrap.fill(note, WIDTH) for note in table.notes(reproduction)]
    return "\n".join([reproduction.title, *lines, *below, f"written: {names(written)}"])


def _refuse_without_name(command: Reproduce) -> None:
    for name in ("output", "rows", "seeds", "steps", "report", "list"):
        if getattr(command, name):
            raise UsageError(f"--{name} needs the name of a table, see gfnjax reproduce")


def _tell(text: str) -> None:
    print(text, flush=True)
