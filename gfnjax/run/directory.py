"""A run directory: config.json, metrics.jsonl, checkpoints/ and pictures/."""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from gfnjax.run import plugins
from gfnjax.run.checkpoint import replace_atomically
from gfnjax.run.config import Config, UsageError, from_dict, to_dict

Record = dict[str, Any]


@dataclass(frozen=True)
class RunDirectory:
    """Paths and files of one run."""

    path: Path
    noun: ClassVar[str] = "run"
    home: ClassVar[str] = "runs"

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    def write_config(self, config: Config) -> None:
        """Store the configuration."""
        text = json.dumps(to_dict(config), indent=2) + "\n"
        replace_atomically(self.config_file, text.encode())

    def read_config(self) -> Config:
        """The stored configuration, once the plug-ins it names have been imported.

        Raises:
            UsageError: if there is none, it cannot be read, or a plug-in is missing or fails.
        """
        if not self.path.is_dir():
            raise UsageError(f"no such run: {self.path}")
        if not self.config_file.is_file():
            raise UsageError(f"{self.path} is not a run: it has no {self.config_file.name}")
        values: Any = {}
        try:
            values = json.loads(self.config_file.read_text())
            plugins.require(values.get("plugins", ()), self.path)
            return from_dict(values)
        except plugins.PluginError:
            raise
        except UsageError as error:
            script = "; what a script registers is there for that script alone"
            hint = script if "__main__" in values.get("plugins", ()) else ""
            raise UsageError(f"{self.config_file} cannot be read: {error}{hint}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise UsageError(f"{self.config_file} cannot be read: {error}") from error

    def read_metrics(self, last_step: float = math.inf) -> list[Record]:
        """The records up to `last_step`, without lines that are none, as a crash cuts them."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text(errors="replace").splitlines()
        return [r for r in map(_parse, lines) if r is not None and r["step"] <= last_step]

    def write_metrics(self, records: Iterable[Record]) -> None:
        """Replace all records."""
        replace_atomically(self.metrics_file, "".join(map(_line, records)).encode())

    def append_metrics(self, records: Iterable[Record]) -> None:
        """Add records; they are on disk when this returns."""
        with open(self.metrics_file, "a") as file:
            file.write("".join(map(_line, records)))
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out; the lock goes away with the process that holds it.

        Raises:
            UsageError: if another process trains in this directory.
        """
        if os.name != "posix":
            yield
            return
        import fcntl

        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path} is in use by another process") from None
            yield


D = TypeVar("D", bound=RunDirectory)


def create(path: str | Path | None, name: str, kind: type[D] = RunDirectory) -> D:
    """A new directory of a kind: `path`, or the next free `runs/<name>-<number>`.

    Raises:
        UsageError: if it cannot be made, or holds something already.
    """
    try:
        run = kind(_next_free(kind.home, name) if path is None else Path(path))
        run.path.mkdir(parents=True, exist_ok=True)
        if run.config_file.exists():
            raise UsageError(
                f"{run.path} already holds a {kind.noun}: go on with `gfnjax resume {run.path}` or "
                "choose another output"
            )
        if any(run.path.iterdir()):
            raise UsageError(f"output must be a new or empty folder, got {run.path}")
        run.checkpoints.mkdir()
        run.pictures.mkdir()
    except OSError as error:
        raise UsageError(f"cannot write to {error.filename}: {error.strerror}") from error
    return run


def _next_free(home: str, name: str) -> Path:
    for number in count(1):
        path = Path(home) / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.is_dir():
                raise
    raise AssertionError


def _line(record: Record) -> str:
    # JSON knows no NaN and no infinity: null is read as NaN.
    finite = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()
    }
    return json.dumps(finite) + "\n"


def _parse(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    if not all(isinstance(record.get(name), int | float) for name in ("step", "seconds")):
        return None
    return {name: math.nan if value is None else value for name, value in record.items()}
