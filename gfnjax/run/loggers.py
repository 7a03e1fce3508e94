"""Where the numbers of a run go besides metrics.jsonl: TensorBoard, Weights & Biases."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from uuid import uuid4

from gfnjax.run.config import Config, UsageError, to_dict
from gfnjax.run.directory import Record, RunDirectory


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
