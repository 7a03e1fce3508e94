"""The folder of a search: search.json, results.csv, pictures/, a sweep in each population-N/."""

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gfnjax.run.checkpoint import replace_atomically
from gfnjax.run.config import UsageError
from gfnjax.run.directory import RunDirectory
from gfnjax.run.sweeps.directory import SweepDirectory


@dataclass(frozen=True)
class SearchDirectory(RunDirectory):
    """Paths and files of one process's part in a search."""

    noun: ClassVar[str] = "search"
    home: ClassVar[str] = "searches"

    @property
    def config_file(self) -> Path:
        return self.path / "search.json"

    @property
    def table_file(self) -> Path:
        """Where the table of all populations goes."""
        return self.path / "results.csv"

    def population(self, number: int) -> SweepDirectory:
        """The sweep of a population; what never came to be one is removed."""
        sweep = SweepDirectory(self.path / f"population-{number}")
        if sweep.path.is_dir() and not sweep.config_file.exists():
            shutil.rmtree(sweep.path)
        return sweep

    def prepare(self, study: Path) -> None:
        """Make the folder, which may have its study in it.

        Raises:
            UsageError: if it is in use, is that of something else or another study, or cannot be
                made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = [file.name for file in self.path.iterdir()]
        except OSError as error:
            raise UsageError(f"cannot write to {error.filename}: {error.strerror}") from error
        if self.in_use():
            problem = f"{self.path} is in use by another process"
            raise UsageError(f"{problem}: to share the study, choose another output")
        if not self.config_file.exists():
            known = ".lock", study.name
            if not all(name.startswith(known) for name in names):
                raise UsageError(f"output must be a new or empty folder, got {self.path}")
        elif (other := self.read()["study"]) != str(study.resolve()):
            problem = f"{self.path} has a part of the search in {other}"
            raise UsageError(f"{problem}: choose another output for {study}")

    def described(self, about: dict[str, Any]) -> dict[str, Any]:
        """What search.json says, once it has been written with `about` where there was none."""
        if not self.config_file.exists():
            about = {"id": secrets.token_hex(8), **about}
            replace_atomically(self.config_file, (json.dumps(about) + "\n").encode())
        return self.read()

    def read(self) -> dict[str, Any]:
        """What search.json says: "id", "study", "plugins", and "words" of a command line.

        Raises:
            UsageError: if it is missing, or cannot be read.
        """
        if not self.config_file.is_file():
            raise UsageError(f"{self.path} is not a search: it has no {self.config_file.name}")
        try:
            found = json.loads(self.config_file.read_text())
            if not found.keys() >= {"id", "study", "plugins", "words"}:
                raise ValueError("something is missing")
        except (AttributeError, ValueError) as error:
            raise UsageError(f"{self.config_file} cannot be read: {error}") from error
        return found

    def in_use(self) -> bool:
        """Whether a process of this machine is at it."""
        if not self.path.is_dir():
            return False
        try:
            with self.locked():
                return False
        except UsageError:
            return True

    def populations(self) -> Sequence[int]:
        """The numbers of those whose sweeps have begun."""
        found = (file.parent.name for file in self.path.glob("population-*/sweep.json"))
        return sorted(int(name.partition("-")[2]) for name in found)
