"""The file of a study: an SQLite database of Optuna, with a note of what is searched in it."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gfnjax.run.config import UsageError
from gfnjax.run.sweeps.judging import Metric
from gfnjax.run.sweeps.studies.sampling import optuna

NOTE = "gfnjax"
# Other processes may write: this long is waited for them, in seconds.
PATIENCE = 120.0
MAX_LETTERS = 100


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep all other processes from asking the study for trials meanwhile.

    The lock is on a file next to the study: SQLite drops its own locks where anybody else in the
    process closes the database.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    with open(f"{file}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_study(
    file: Path, name: str, wanted: Mapping[str, Any], metric: Callable[[str | None], Metric]
) -> tuple[Any, dict[str, Any]]:
    """The study in a file, made if there is none; and its note.

    Args:
        file: an SQLite database; its folder has to exist.
        name: of a new study.
        wanted: what is searched, plain values; "metric" may be None, and is then that of the study.
        metric: that of a new study, from how it was named.

    Raises:
        UsageError: if the file is none, or holds another study than what is wanted.
        MissingExtraError: without Optuna.
    """
    found = optuna()
    _check_file(file)
    try:
        with alone(file):
            storage = _storage(file)
            names = found.study.get_all_study_names(storage)
            if not names:
                chosen = metric(wanted["metric"])
                direction = "maximize" if chosen.high else "minimize"
                study = found.create_study(storage=storage, study_name=name, direction=direction)
                note = {**wanted, "metric": chosen.name, "high": chosen.high}
                study.set_user_attr(NOTE, note)
                return study, note
            study = found.load_study(storage=storage, study_name=names[0])
    except OSError as error:
        raise UsageError(f"study cannot be opened: {error.strerror}: {file}") from error
    except RuntimeError as error:  # tables of another version
        raise UsageError(f"study {file} cannot be read: {str(error).splitlines()[0]}") from error
    return study, _checked(study, file, len(names), wanted)


def _check_file(file: Path) -> None:
    """Refuse what Optuna would add its tables to, or fail at."""
    if not file.parent.is_dir():
        raise UsageError(f"study must be in a folder that exists, got {file}")
    if not file.exists() or (file.is_file() and not file.stat().st_size):
        return
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute(f"pragma busy_timeout = {PATIENCE * 1000:.0f}")
            tables = {name for (name,) in database.execute("select name from sqlite_master")}
    except sqlite3.Error as error:
        raise UsageError(f"study must be an SQLite file of Optuna, got {file}: {error}") from error
    # A new file that another process is just filling has all its tables or none.
    if tables and "studies" not in tables:
        raise UsageError(f"study must be an SQLite file of Optuna, got {file}: it has other tables")


def _storage(file: Path) -> Any:
    storage = optuna().storages.RDBStorage
    options = {"connect_args": {"timeout": PATIENCE}}
    return storage(f"sqlite:///{file.resolve()}", engine_kwargs=options)


def _checked(study: Any, file: Path, count: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
    note = study.user_attrs.get(NOTE)
    if count != 1 or not isinstance(note, dict):
        raise UsageError(f"study {file} was not made by gfnjax search: choose another file")
    directions = [direction.name for direction in study.directions]
    if directions != ["MAXIMIZE" if note.get("high") else "MINIMIZE"]:
        way = "high" if note.get("high") else "low"
        problem = f"its direction is {', '.join(directions).lower()}, yet {way} values are good"
        raise UsageError(f"study {file} does not fit its metric {note.get('metric')}: {problem}")
    plain, _, good = (wanted["metric"] or note["metric"]).partition(":")
    judged = {"metric": plain, "high": good == "high" if good else note["high"]}
    if differs := _difference(note, {**wanted, **judged}):
        problem = f"{differs}; choose another file, or say the same"
        raise UsageError(f"study {file} is of another search: {problem}")
    return note


def _difference(there: Any, here: Any, path: str = "") -> str:
    """Where two notes differ first, in words; empty where they do not."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in dict.fromkeys([*here, *there]):
            below = f"{path}.{name}" if path else name
            if name not in there or name not in here:
                return f"{below} is {'here' if name in here else 'there'} alone"
            if found := _difference(there[name], here[name], below):
                return found
        return ""
    if there == here:
        return ""
    short = len(f"{there}{here}") <= MAX_LETTERS
    return f"{path} is {there} there, {here} here" if short else f"{path} differs"
