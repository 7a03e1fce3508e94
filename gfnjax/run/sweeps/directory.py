"""The folder of a sweep: sweep.json, metrics.jsonl, results.csv, checkpoints/ and pictures/."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gfnjax.run import plugins
from gfnjax.run.checkpoint import replace_atomically
from gfnjax.run.config import UsageError
from gfnjax.run.directory import Record, RunDirectory
from gfnjax.run.sweeps.config import SweepConfig, sweep_from_dict, sweep_to_dict
from gfnjax.run.sweeps.table import Table


@dataclass(frozen=True)
class SweepDirectory(RunDirectory):
    """Paths and files of one sweep, of which metrics.jsonl has a line a member and visit."""

    noun: ClassVar[str] = "sweep"
    home: ClassVar[str] = "sweeps"

    @property
    def config_file(self) -> Path:
        return self.path / "sweep.json"

    def table_file(self, suffix: str = "csv") -> Path:
        """Where the table goes."""
        return self.path / f"results.{suffix}"

    def round_checkpoints(self, number: int) -> Path:
        """Where the checkpoints of a round go."""
        return self.checkpoints / f"round-{number}"

    def write_sweep(
        self, config: SweepConfig, rounds: Iterable[Iterable[int]], asked: Mapping[str, Any]
    ) -> None:
        """Store the description, which members are trained together, and how that was asked for."""
        together = [list(members) for members in rounds]
        values = {**sweep_to_dict(config), "rounds": together, "asked": dict(asked)}
        replace_atomically(self.config_file, (json.dumps(values) + "\n").encode())

    def read_sweep(self) -> tuple[SweepConfig, list[list[int]]]:
        """The description and the rounds, once the plug-ins it names have been imported.

        Raises:
            UsageError: if there is none, it cannot be read, or a plug-in is missing or fails.
        """
        if not self.path.is_dir():
            raise UsageError(f"no such sweep: {self.path}")
        if not self.config_file.is_file():
            raise UsageError(f"{self.path} is not a sweep: it has no {self.config_file.name}")
        try:
            values: Any = json.loads(self.config_file.read_text())
            plugins.require(values.get("plugins", ()), self.path)
            return sweep_from_dict(values), values["rounds"]
        except plugins.PluginError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{self.config_file} cannot be read: {error}") from error

    def read_asked(self) -> dict[str, Any]:
        """How a sweep was asked for, that `read_sweep` can read."""
        return json.loads(self.config_file.read_text()).get("asked", {})

    def keep_records(self, keep: Callable[[Record], bool]) -> None:
        """Drop all other records from metrics.jsonl."""
        self.write_metrics([record for record in self.read_metrics() if keep(record)])

    def table(self, config: SweepConfig) -> Table:
        """All records as one table, member by member."""
        records = sorted(self.read_metrics(), key=lambda record: record["member"])
        rows = [as_row(config, record) for record in records]
        return Table(config.varied, rows, config.of_one_target)


def as_row(config: SweepConfig, record: Record) -> Record:
    """A record as a row of the table."""
    number = record["member"]
    point, seed = config.member(number)
    about = {"member": number, "point": number // len(config.seeds), "seed": seed}
    rest = {k: v for k, v in record.items() if k not in ("member", "kind", "reason")}
    # Some metrics are called like an option.
    rest = {f"measured_{k}" if k in point.values else k: v for k, v in rest.items()}
    return {**about, **point.values, **rest}
