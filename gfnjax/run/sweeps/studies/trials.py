"""The trials of a study: whose they are, which come next, and how many there are."""

import os
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gfnjax.run.sweeps.studies.directory import SearchDirectory
from gfnjax.run.sweeps.studies.file import NOTE, alone
from gfnjax.run.sweeps.studies.sampling import optuna


class Counts(NamedTuple):
    """Trials of a study; those that were pruned have been finished as well."""

    finished: int
    pruned: int
    failed: int
    running: int


def count(study: Any) -> Counts:
    """How the trials of a study stand."""
    found = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    finished = found["COMPLETE"] + found["PRUNED"]
    return Counts(finished, found["PRUNED"], found["FAIL"], found["RUNNING"])


@dataclass(frozen=True)
class Asking:
    """Who asks a study.

    Attributes:
        study: of Optuna.
        file: where it is.
        folder: of this process.
        id: of the folder, wherever it may be moved.
    """

    study: Any
    file: Path
    folder: SearchDirectory
    id: str

    def next(self, total: int, size: int, complete: Any) -> tuple[int, list[Any]]:
        """The number and trials of the population to be trained: one left behind, or a new one.

        Args:
            total: trials that all processes finish together.
            size: of a population; the last one may be smaller.
            complete: called with each trial that has not begun, to draw its values.

        Returns:
            Nothing to do is a population without trials.
        """
        with alone(self.file):
            populations = self.populations()
            number = max(populations, default=0)
            trials = populations.get(number, [])
            if not any(is_running(trial) for trial in trials):
                number, trials = number + 1, []
            begun = self.folder.population(number).config_file.exists()
            asked = [self._trial(trial) for trial in trials]
            if not begun:
                for trial, kept in zip(asked, trials, strict=True):
                    if is_running(kept):
                        complete(trial)
                for _ in range(min(size - len(trials), self._free(total))):
                    asked.append(self._ask(number))
                    complete(asked[-1])
            return number, asked

    def populations(self) -> dict[int, list[Any]]:
        """The trials that are ours, by the number of their population, in order."""
        found: dict[int, list[Any]] = {}
        for trial in self.study.get_trials(deepcopy=False):
            note = trial.user_attrs.get(NOTE, {})
            if note.get("search") == self.id:
                found.setdefault(note["population"], []).append(trial)
        return found

    def _trial(self, kept: Any) -> Any:
        return optuna().trial.Trial(self.study, kept._trial_id)

    def _ask(self, population: int) -> Any:
        trial = self.study.ask()
        about = {"search": self.id, "population": population}
        where = {"folder": str(self.folder.path.resolve()), "host": platform.node()}
        trial.set_user_attr(NOTE, {**about, **where})
        return trial

    def _free(self, total: int) -> int:
        """How many may be asked for, once trials that nobody is at have been given up.

        Those of a process that is gone may be resumed, and are only given up where others would
        have nothing to do, or their number would be missing at the end.
        """
        self._fail([t for t in self._running() if NOTE not in t.user_attrs])
        counts = count(self.study)
        if counts.finished < total and counts.finished + counts.running >= total:
            self._fail([trial for trial in self._running() if self._is_abandoned(trial)])
            counts = count(self.study)
        return max(total - counts.finished - counts.running, 0)

    def _running(self) -> list[Any]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if is_running(trial)]

    def _fail(self, trials: list[Any]) -> None:
        for trial in trials:
            self.study.tell(trial.number, state=optuna().trial.TrialState.FAIL)

    def _is_abandoned(self, trial: Any) -> bool:
        """Whether no process is at it; of another machine nobody can say."""
        note = trial.user_attrs[NOTE]
        if note["search"] == self.id or note["host"] != platform.node() or os.name != "posix":
            return False
        return not SearchDirectory(Path(note["folder"])).in_use()


def is_running(trial: Any) -> bool:
    """Whether it has not been told yet."""
    return trial.state.name == "RUNNING"
