"""The runs of a reproduction: started, gone on with, told apart from those of anything else."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax

from gfnjax import run
from gfnjax.reproduce.base import Reproduction, Row
from gfnjax.run.config import Config, UsageError
from gfnjax.run.directory import Record, RunDirectory

Status = Literal["missing", "under way", "failed", "finished"]


@dataclass(frozen=True)
class Run:
    """The run of a row and a seed, as far as it has come.

    Attributes:
        row: of the table.
        seed: of the run.
        status: how far it has come; failed where a number was not finite.
        steps: that it was asked for, where there is one.
        evaluations: what has been measured.
    """

    row: Row
    seed: int
    status: Status
    steps: int | None = None
    evaluations: tuple[Record, ...] = ()


def runs(reproduction: Reproduction, output: Path) -> list[Run]:
    """All runs, read from their folders.

    Raises:
        UsageError: if a folder holds anything else.
    """
    _refuse_others(reproduction, output)
    return [_read(row, seed, output) for row in reproduction.rows for seed in range(row.seeds)]


def train(
    reproduction: Reproduction, output: Path, steps: int | None, tell: Callable[[str], None]
) -> tuple[int | None, int]:
    """Finish every run that is not finished: those that were interrupted where they were.

    Args:
        reproduction: with the rows that are wanted.
        output: folder of the runs.
        steps: of each run instead of its own, for a small budget.
        tell: is told of each run, before it is trained and if it fails.

    Returns:
        The number of the signal that stopped it, if one did, and how many runs have failed.

    Raises:
        UsageError: for a folder that holds anything else, or is in use.
        CheckpointError: as `gfnjax.run.resume`.
    """
    found = runs(reproduction, output)
    for each in found:
        _check_steps(each, steps, output)
    failures, row = 0, None
    for i, each in enumerate(found):
        if each.status == "finished":
            continue
        path = each.row.folder(output, each.seed)
        tell(f"{i + 1} of {len(found)}: {path}")
        if row not in (None, each.row):
            jax.clear_caches()  # the next seeds of a row have the same programs, other rows none
        row = each.row
        try:
            if each.status == "missing":
                _tidy(RunDirectory(path))
                outcome = run.start(each.row.config(each.seed, steps), path)
            else:
                outcome = run.resume(path)
        except run.RunFailedError as error:
            tell(f"{path} has failed: {error}")
            failures += 1
            continue
        if outcome.ending == "interrupted":
            return outcome.signal, failures
    return None, failures


def _tidy(directory: RunDirectory) -> None:
    """Remove the empty folders of a start that ended before there was a run."""
    for folder in (directory.checkpoints, directory.pictures):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _refuse_others(reproduction: Reproduction, output: Path) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"output must be a folder, got {output}")
    if (output / "config.json").exists():
        raise UsageError(f"{output} is a run itself: choose another --output")
    there = sorted(path.parent.name for path in output.glob("*/config.json"))
    rows = [row.name for row in reproduction.whole.rows]
    others = [name for name in there if name.rpartition("-")[0] not in rows]
    if others:
        raise UsageError(
            f"{output} holds what is no run of {reproduction.name} ({others[0]}): choose another "
            "--output"
        )


def _read(row: Row, seed: int, output: Path) -> Run:
    directory = RunDirectory(row.folder(output, seed))
    if not directory.config_file.exists():
        return Run(row, seed, "missing")
    config = directory.read_config()
    if _without_steps(config) != _without_steps(row.config(seed)):
        raise UsageError(
            f"{directory.path} was trained with other settings than {row.name}: choose another "
            "--output"
        )
    steps = config.training.steps
    records = [r for r in directory.read_metrics() if r["kind"] == "evaluation"]
    status: Status = "under way"
    if records and records[-1]["step"] >= steps:
        status = "finished"
    elif any(directory.checkpoints.glob("nan-before-step-*.ckpt")):
        status = "failed"
    return Run(row, seed, status, steps, tuple(records))


def _without_steps(config: Config) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, steps=1))


def _check_steps(found: Run, steps: int | None, output: Path) -> None:
    wanted = found.row.config(found.seed, steps).training.steps
    if found.steps not in (None, wanted):
        path = found.row.folder(output, found.seed)
        raise UsageError(
            f"{path} was started with {found.steps:,} steps, not {wanted:,}: give --steps "
            f"{found.steps}, or choose another --output"
        )
