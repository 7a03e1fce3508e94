"""What the commands of searches do."""

import dataclasses
from pathlib import Path

from gfnjax.cli.parser import Resume
from gfnjax.cli.reports import names
from gfnjax.cli.search_parser import Searched, parse_search
from gfnjax.cli.sweep_report import flags
from gfnjax.errors import MissingExtraError
from gfnjax.plot import sweeps as pictures
from gfnjax.run import plugins
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import table
from gfnjax.run.sweeps.judging import Metric
from gfnjax.run.sweeps.search import SearchOutcome, search
from gfnjax.run.sweeps.studies.directory import SearchDirectory
from gfnjax.run.sweeps.studies.results import without_trials
from gfnjax.run.sweeps.studies.sampling import optuna
from gfnjax.sweeps.cores import use_cores
from gfnjax.sweeps.placement import Placement


def is_search(path: Path) -> bool:
    """Whether a folder is that of a search."""
    return SearchDirectory(path).config_file.is_file()


def carry_out(command: Searched) -> int:
    """`gfnjax search`: search, then report; the exit code."""
    try:
        optuna().logging.set_verbosity(optuna().logging.WARNING)
    except MissingExtraError as error:
        raise UsageError(str(error)) from error
    use_cores(command.placement.num_devices)
    parts = command.search, command.study, command.output, command.placement
    return _conclude(command, search(*parts, notify=_say, words=command.words))


def go_on(command: Resume) -> int:
    """`gfnjax resume` of a search; the exit code."""
    if command.steps is not None:
        raise UsageError("--steps extends a run, not a search: start one with more steps")
    folder = SearchDirectory(command.run)
    about = folder.read()
    if about["words"] is None:
        raise UsageError(f"{folder.path} is the search of a script: run the script again")
    plugins.require(about["plugins"], folder.path)
    name, *words = about["words"]
    found, _ = parse_search(name, words, plugins.import_entry_points())
    assert found is not None
    placement = found.placement
    if command.devices is not None or command.batch_devices is not None:
        placement = Placement(command.devices, command.batch_devices or 1)
    places = {"study": Path(about["study"]), "output": folder.path, "placement": placement}
    return carry_out(dataclasses.replace(found, **places))


def tell(path: Path, metric: str | None) -> int:
    """`gfnjax plot` and `gfnjax report` of a search; the exit code."""
    folder = SearchDirectory(path)
    found = table.read(folder.table_file)
    print(_pictures(folder, found, metric))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _conclude(command: Searched, outcome: SearchOutcome) -> int:
    path, counts = outcome.folder.path, outcome.counts
    if outcome.ending == "interrupted":
        print(f"stopped; go on with: gfnjax resume {path}", flush=True)
        return 128 + (outcome.signal or 0)
    if outcome.ending == "nothing to do":
        print(f"{path} has nothing left to do")
    print(f"\n{_counted(command, outcome)}\n{_best(outcome)}")
    if counts.finished < command.search.trials:
        print(f"{counts.running} more are under way in other processes that share the study")
    print(f"{'results':13}{outcome.folder.table_file}, {command.study}")
    if outcome.table.rows:
        print(_pictures(outcome.folder, outcome.table, outcome.metric))
    return 0


def _counted(command: Searched, outcome: SearchOutcome) -> str:
    counts, metric = outcome.counts, outcome.metric
    good = "high" if metric.high else "low"
    text = f"{counts.finished} trials finished, {counts.pruned} of them pruned"
    failed = f", {counts.failed} more failed" if counts.failed else ""
    return f"{text}{failed}; judged by {metric.label}: {good} is good"


def _best(outcome: SearchOutcome) -> str:
    if outcome.best is None:
        return "every trial has been pruned: none can be recommended"
    note = f"trial {outcome.best_trial}: {outcome.best_value:.6g}"
    return f"{'best':13}{flags(outcome.best)}  ({note})"


def _pictures(folder: SearchDirectory, found: table.Table, metric: Metric | str | None) -> str:
    drawn = pictures.draw(without_trials(found), metric, folder.pictures)
    return f"{'pictures':13}{names(drawn)}"
