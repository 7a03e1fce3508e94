"""Where the numbers of a run go: a progress bar or plain lines, TensorBoard, Weights & Biases."""

import importlib
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from gfnjax.config import Config, UsageError, to_dict
from gfnjax.rundir import Record, RunDirectory


@dataclass(frozen=True)
class Status:
    """One visit to the host: where the run is, the chunk's mean loss, the last evaluation.

    `rate` is in steps per second, None before it is known.
    """

    step: int
    num_steps: int
    loss: float | None
    evaluation: Record
    rate: float | None

    def __str__(self) -> str:
        return "  ".join(filter(None, (*self.numbers(), *self.speed())))

    def numbers(self) -> tuple[str, str, str]:
        """Loss, log Z and the quality of the policy; empty where unknown."""
        loss = "" if self.loss is None else f"loss {self.loss:.2e}"
        log_z = self.evaluation["log_z"]
        quality = next(
            f"{label} {self.evaluation[name]:.4f}"
            for name, label in QUALITY.items()
            if name in self.evaluation
        )
        return loss, f"log Z {log_z:.3f}" if math.isfinite(log_z) else "", quality

    def speed(self) -> tuple[str, str]:
        """Steps a second and the time left; empty where unknown."""
        if self.rate is None:
            return "", ""
        left = (self.num_steps - self.step) / self.rate
        rate = f"{self.rate:,.0f}" if self.rate >= 10 else f"{self.rate:.2g}"
        return f"{rate} steps/s", f"ETA {duration(left)}"


QUALITY = {
    "total_variation": "TV",
    "elbo": "ELBO",
    "sampled_tv": "sampled TV",
    "log_reward": "log R",
}


def duration(seconds: float) -> str:
    """`m:ss` or `h:mm:ss`."""
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Display(Protocol):
    """Shows where a run is."""

    def update(self, status: Status) -> None: ...
    def close(self) -> None: ...


def make_display(console: Console | None = None) -> Display:
    """A progress bar on a terminal, plain lines anywhere else."""
    console = console or Console(file=sys.stdout)
    if console.is_terminal and not console.is_dumb_terminal:
        return ProgressBar(console)
    return PlainLines()


class ProgressBar:
    """A live line at the bottom of a terminal."""

    def __init__(self, console: Console):
        bar = BarColumn(None, complete_style="cyan", finished_style="cyan", pulse_style="cyan")
        steps = TextColumn("{task.description}", table_column=Column(no_wrap=True))
        text = TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True))
        self._progress = Progress(steps, bar, text, console=console, expand=True)
        self._task = self._progress.add_task("starting", total=None, text="")
        self._progress.start()

    def update(self, status: Status) -> None:
        self._progress.update(
            self._task,
            total=status.num_steps,
            completed=status.step,
            description=f"{status.step:,}/{status.num_steps:,}",
            text=str(status) if status.loss is not None else "compiling ...",
        )

    def close(self) -> None:
        self._progress.stop()


class PlainLines:
    """A line a chunk, but no more than one a second."""

    def __init__(self) -> None:
        self._shown = -math.inf

    def update(self, status: Status) -> None:
        now = time.monotonic()
        if now - self._shown >= 1 or status.step == status.num_steps:
            self._shown = now
            print(f"step {status.step:,}/{status.num_steps:,}  {status}", flush=True)

    def close(self) -> None:
        pass


class Logger(Protocol):
    """Receives every record of a run: `kind`, `step`, `seconds`, and scalars by name."""

    def write(self, record: Record) -> None: ...
    def close(self) -> None: ...


def make_loggers(config: Config, run: RunDirectory, step: int) -> list[Logger]:
    """The optional loggers a configuration asks for, going on after `step`.

    Raises:
        UsageError: if the extra a logger needs is not installed.
    """
    check_extras(config)
    loggers: list[Logger] = []
    if config.loggers.tensorboard:
        loggers.append(TensorBoardLogger(run.path / "tensorboard", step))
    if config.loggers.wandb:
        loggers.append(WandbLogger(config, run.path))
    return loggers


def check_extras(config: Config) -> None:
    """Raise a `UsageError` that names the extra if a logger's package is missing."""
    if config.loggers.tensorboard:
        _import("tensorboardX", extra="tensorboard")
    if config.loggers.wandb:
        _import("wandb", extra="wandb")


class TensorBoardLogger:
    """Scalars as `<kind>/<name>`; a resumed run overwrites what came after its checkpoint."""

    def __init__(self, directory: Path, step: int):
        tensorboard = _import("tensorboardX", extra="tensorboard")
        self._writer = tensorboard.SummaryWriter(str(directory), purge_step=step + 1)

    def write(self, record: Record) -> None:
        for name, value in _scalars(record).items():
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        self._writer.close()


class WandbLogger:
    """One W&B run a run directory; its id is kept there so that resuming goes on with it."""

    def __init__(self, config: Config, directory: Path):
        wandb = _import("wandb", extra="wandb")
        id_file = directory / "wandb-id"
        if not id_file.exists():
            id_file.write_text(uuid4().hex)
        try:
            self._run: Any = wandb.init(
                project="gfnjax",
                name=directory.name,
                id=id_file.read_text(),
                resume="allow",
                dir=str(directory),
                config=to_dict(config),
            )
        except wandb.Error as error:
            raise UsageError(f"wandb: {error}") from error

    def write(self, record: Record) -> None:
        self._run.log(_scalars(record), step=record["step"])

    def close(self) -> None:
        self._run.finish()


def _scalars(record: Record) -> dict[str, float]:
    kind = record["kind"]
    return {f"{kind}/{k}": v for k, v in record.items() if k not in ("kind", "step")}


def _import(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f'{extra} logging needs a package that is missing: pip install "gfnjax[{extra}]"'
        ) from error
