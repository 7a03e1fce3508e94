"""A search on disk: a study of Optuna asks for populations of settings, trained as sweeps."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError
from gfnjax.run.build import describe as describe_run
from gfnjax.run.build import run_key
from gfnjax.run.config import Config, UsageError, to_dict
from gfnjax.run.display import Display
from gfnjax.run.evaluation import make_evaluator
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.config import Point, SweepConfig
from gfnjax.run.sweeps.judging import Metric, judge
from gfnjax.run.sweeps.session import SweepOutcome
from gfnjax.run.sweeps.studies import spaces as space
from gfnjax.run.sweeps.studies.directory import SearchDirectory
from gfnjax.run.sweeps.studies.file import open_study
from gfnjax.run.sweeps.studies.results import make_table, tell
from gfnjax.run.sweeps.studies.sampling import make_pruner, make_sampler
from gfnjax.run.sweeps.studies.trials import Asking, Counts, count, is_running
from gfnjax.run.sweeps.studies.watch import Watch
from gfnjax.run.sweeps.table import Table, write
from gfnjax.sweeps.placement import Placement

OTHERS = "what is trained at other values"


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        make: the configuration of some values, by name.
        spaces: of each name, what it may take: a list, in no order; `Spaced` values, which are in
            order; all of a `gfnjax.sweeps.uniform(...)` or `log_uniform(...)`.
        trials: to be finished, by all processes that share the study.
        population: trials that are trained at once.
        seeds: of each trial; the first one is that of the sampler as well.
        metric: as in `gfnjax.run.sweeps.judging.judge`.
        sampler: "tpe" or "random".
        pruner: "median", "hyperband" or "none"; or a pruner of Optuna.

    Raises:
        ArgumentError: for numbers below 1, and spaces that are none.
    """

    make: Callable[[dict[str, Any]], Config[Any]]
    spaces: Mapping[str, space.Space]
    trials: int = 64
    population: int = 16
    seeds: tuple[int, ...] = (0,)
    metric: str | None = None
    sampler: str = "tpe"
    pruner: Any = "median"

    def __post_init__(self) -> None:
        space.check_spaces(self.spaces)
        for name in ("trials", "population"):
            whole(name, getattr(self, name), least=1)


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended.

    Attributes:
        folder: of this process.
        study: of Optuna.
        metric: by which trials are judged.
        table: the results of this process, with a column `trial`.
        counts: trials of all processes.
        best: values of the best trial, None if none has been finished unpruned.
        best_trial: its number.
        best_value: its mean over seeds.
        ending: whether this process has trained anything, and was not stopped.
        signal: the number of the signal, if one stopped it.
    """

    folder: SearchDirectory
    study: Any
    metric: Metric
    table: Table
    counts: Counts
    best: dict[str, Any] | None
    best_trial: int | None
    best_value: float | None
    ending: Literal["finished", "interrupted", "nothing to do"]
    signal: int | None


def search(
    wanted: Search,
    study: Path,
    output: Path,
    placement: Placement | None = None,
    display: Display | None = None,
    notify: Callable[[str], None] = lambda text: None,
    words: Sequence[str] | None = None,
) -> SearchOutcome:
    """Search, or go on with a search; trials are trained until so many have been finished.

    What a process leaves behind when it dies is gone on with by the next one that has the same
    `output`. Several processes can share a study, each with an output of its own; where they would
    have nothing to do, they give up the trials of one that has died. What is trained, spaces, seeds
    and metric have to be those of the study; all else may change.

    Args:
        wanted: what is searched.
        study: an SQLite file of Optuna, made if there is none.
        output: a folder that is new, empty, or that of this search.
        placement: as in `gfnjax.run.sweeps.session.start`.
        display: as there, for each population.
        notify: told which population is next.
        words: a command line that says the same, kept in search.json.

    Raises:
        UsageError: for what cannot be trained, a study that is none or of another search, or a
            folder of something else or in use.
        MissingExtraError: without Optuna.
    """
    folder = SearchDirectory(output)
    if jax.process_count() > 1:
        raise UsageError("a search runs on one host: let each have its own, with the same study")
    with _told():
        note = _note(wanted)
        config = wanted.make(space.examples(wanted.spaces)[0])
        sampler = make_sampler(wanted.sampler, wanted.seeds[0], wanted.spaces)
        pruner = wanted.pruner
        if isinstance(pruner, str):
            pruner = make_pruner(pruner, config.training.chunk_size, config.training.steps)
        folder.prepare(study)
        opened, note = open_study(study, config.environment, note, lambda x: _probe(config, x))
    opened.sampler, opened.pruner = sampler, pruner
    name = note["metric"]
    metric = judge(Table((), [{name: 0.0}]), name + (":high" if note["high"] else ":low"))
    about = {"study": str(study.resolve()), "words": words, "plugins": list(config.plugins)}
    with folder.locked():
        about = folder.described(about)
        asking = Asking(opened, study, folder, about["id"])
        return _go_on(_Process(wanted, asking, metric, placement, display, notify))


@dataclass(frozen=True)
class _Process:
    wanted: Search
    asking: Asking
    metric: Metric
    placement: Placement | None
    display: Display | None
    notify: Callable[[str], None]


def _go_on(process: _Process) -> SearchOutcome:
    wanted, asking = process.wanted, process.asking
    ending: Literal["finished", "interrupted", "nothing to do"] = "nothing to do"
    signal = None
    while True:
        number, trials = asking.next(wanted.trials, wanted.population, _drawing(wanted))
        if not trials:
            break
        about = f"trials {trials[0].number} to {trials[-1].number}"
        process.notify(f"population {number}: {about}")
        outcome = _train(process, number, trials)
        signal, ending = outcome.signal, "finished"
        if outcome.ending == "interrupted":
            ending = "interrupted"
            break
        tell(asking.study, asking.populations()[number], outcome.table, process.metric)
        _write(process)
    return _outcome(process, ending, signal)


def _drawing(wanted: Search) -> Callable[[Any], None]:
    def draw(trial: Any) -> None:
        space.suggest(trial, wanted.spaces)

    return draw


def _train(process: _Process, number: int, trials: Sequence[Any]) -> SweepOutcome:
    """Train a population to its end, from wherever it is."""
    wanted, metric = process.wanted, process.metric
    sweep = process.asking.folder.population(number)
    kept = process.asking.populations()[number]
    watched = [t if is_running(k) else None for t, k in zip(trials, kept, strict=True)]
    if sweep.config_file.exists():
        config, _ = sweep.read_sweep()
        watch = Watch(watched, config, metric, sweep.read_metrics())
        return session.resume(sweep.path, process.placement, process.display, watch)
    values = [space.values_of(trial.params, wanted.spaces) for trial in trials]
    with _told():
        points = tuple(Point(x, wanted.make(x)) for x in values)
    config = SweepConfig(points, wanted.seeds)
    watch = Watch(watched, config, metric, ())
    return session.start(config, sweep.path, process.placement, process.display, watch)


def _write(process: _Process) -> Table:
    asking = process.asking
    table = make_table(asking.folder, list(process.wanted.spaces), asking.populations())
    write(table, asking.folder.table_file)
    return table


def _outcome(process: _Process, ending: Any, signal: int | None) -> SearchOutcome:
    asking = process.asking
    counts, best = count(asking.study), None
    with contextlib.suppress(ValueError):  # if none is complete
        best = asking.study.best_trial
    values = None if best is None else space.values_of(best.params, process.wanted.spaces)
    found = (values, None, None) if best is None else (values, best.number, best.value)
    table = _write(process)
    return SearchOutcome(
        asking.folder, asking.study, process.metric, table, counts, *found, ending, signal
    )


def _note(wanted: Search) -> dict[str, Any]:
    """What is searched, as plain values: equal for searches that may share a study."""
    points = tuple(Point(x, wanted.make(x)) for x in space.examples(wanted.spaces))
    SweepConfig(points, wanted.seeds)  # refuses what populations would be refused for
    configs = [to_dict(point.config) for point in points]
    # Of all others, that something differs is enough.
    others = hashlib.sha256(json.dumps(configs[1:], sort_keys=True).encode()).hexdigest()
    note = {
        "environment": configs[0].pop("environment"),
        "metric": wanted.metric,
        "spaces": space.describe(wanted.spaces),
        "seeds": wanted.seeds,
        "settings": configs[0],
        OTHERS: others,
    }
    return json.loads(json.dumps(note))


def _probe(config: Config[Any], name: str | None) -> Metric:
    """The metric of a name, where it is known what is measured: an untrained policy is."""
    gfn = describe_run(config)
    state = gfn.init(run_key(config.training.seed))
    values = make_evaluator(config, gfn).evaluate(state, None)
    names = [*values, "loss", "grad_norm"]
    return judge(Table((), [dict.fromkeys(names, 0.0)]), name)


@contextlib.contextmanager
def _told() -> Any:
    """A `UsageError` for every value that cannot be used."""
    try:
        yield
    except ArgumentError as error:
        raise UsageError.of(error) from error
