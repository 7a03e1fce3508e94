"""Where the numbers of a run go besides metrics.jsonl: TensorBoard, Weights & Biases."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from gfnjax import registry
from gfnjax.run.config import Choice, Config, UsageError, to_dict
from gfnjax.run.directory import Record, RunDirectory


@runtime_checkable
class Logger(Protocol):
    """Receives every record of a run: `kind`, `step`, `seconds`, and scalars by name."""

    def write(self, record: Record) -> None: ...
    def close(self) -> None: ...


@runtime_checkable
class Checkable(Protocol):
    """Options of a logger that can tell before anything is written that it will not work."""

    def check(self) -> None:
        """Raise a `UsageError` that says what is missing."""
        ...


def make_loggers(config: Config, run: RunDirectory, step: int) -> list[Logger]:
    """The loggers a configuration asks for, going on after `step`.

    Raises:
        UsageError: if the extra a logger needs is not installed, or one cannot be made.
    """
    check_loggers(config)
    return [_make(choice, config, run, step) for choice in config.loggers]


def check_loggers(config: Config) -> None:
    """Raise a `UsageError` if one of the loggers will not work."""
    for choice in config.loggers:
        if isinstance(choice.options, Checkable):
            choice.options.check()


def _make(choice: Choice, config: Config, run: RunDirectory, step: int) -> Logger:
    try:
        made = getattr(choice.options, "make", None)
        logger = choice.options if made is None else made(config, run, step)
    except UsageError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"logger {choice.name} cannot be made: {reason}") from error
    if not isinstance(logger, Logger):
        raise UsageError(
            f"logger {choice.name}: make(config, run, step) must return something with "
            f"write(record) and close(), got {type(logger).__name__}"
        )
    return logger


@registry.logger("tensorboard", summary="TensorBoard files in the run; needs gfnjax[tensorboard]")
@dataclass(frozen=True)
class TensorBoardConfig:
    """TensorBoard files in the run."""

    def check(self) -> None:
        _import("tensorboardX", extra="tensorboard")

    def make(self, config: Config, run: RunDirectory, step: int) -> "TensorBoardLogger":
        return TensorBoardLogger(run.path / "tensorboard", step)


@registry.logger("wandb", summary="Weights & Biases; needs gfnjax[wandb]")
@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases."""

    project: str = "gfnjax"
    """that the run belongs to"""

    def check(self) -> None:
        _import("wandb", extra="wandb")

    def make(self, config: Config, run: RunDirectory, step: int) -> "WandbLogger":
        return WandbLogger(config, run.path, self.project)


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

    def __init__(self, config: Config, directory: Path, project: str = "gfnjax"):
        wandb = _import("wandb", extra="wandb")
        id_file = directory / "wandb-id"
        if not id_file.exists():
            id_file.write_text(uuid4().hex)
        try:
            self._run: Any = wandb.init(
                project=project,
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
