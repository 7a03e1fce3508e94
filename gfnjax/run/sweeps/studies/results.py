"""What a population has come to: told to the study, and put into one table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gfnjax.run.sweeps.judging import Metric, scores
from gfnjax.run.sweeps.studies.directory import SearchDirectory
from gfnjax.run.sweeps.studies.sampling import optuna
from gfnjax.run.sweeps.studies.trials import is_running
from gfnjax.run.sweeps.table import PRUNED, Row, Table

TRIAL = "trial"


def tell(study: Any, trials: Sequence[Any], table: Table, metric: Metric) -> None:
    """Tell a study what has become of the trials of a population, unless it has been told.

    A seed that has diverged counts as the worst value of the population, as it does in the report
    of a sweep, and so does a trial all of whose seeds have. Told as failed it would teach the
    sampler nothing, which would go on asking for what diverges, and would not count as finished, so
    that a search in which all diverges would never end.

    Args:
        study: of Optuna.
        trials: as they are in the study, one a point.
        table: of the sweep.
        metric: by which they are judged.
    """
    found = scores(table, metric)
    rows = table.last_rows()
    for point, trial in enumerate(trials):
        if not is_running(trial):
            continue
        mine = [score for score in found if score.point == point]
        if lost := sum(score.diverged for score in mine):
            optuna().trial.Trial(study, trial._trial_id).set_user_attr("diverged", lost)
        if any(row["point"] == point and row["status"] == PRUNED for row in rows):
            study.tell(trial.number, state=optuna().trial.TrialState.PRUNED)
            continue
        value = float(np.mean([score.value for score in mine])) if mine else math.nan
        worst = -math.inf if metric.high else math.inf  # where nobody has had a value
        study.tell(trial.number, value if math.isfinite(value) else worst)


def make_table(
    folder: SearchDirectory, varied: Sequence[str], populations: Mapping[int, Sequence[Any]]
) -> Table:
    """All results of a folder, with a column `trial`; its members are numbered throughout.

    Args:
        folder: of a search.
        varied: the names of the spaces.
        populations: the trials of each, by its number.
    """
    rows: list[Row] = []
    first = 0
    for number in folder.populations():
        sweep, numbers = folder.population(number), [t.number for t in populations.get(number, ())]
        config, _ = sweep.read_sweep()
        if len(numbers) != len(config.points):  # of another study, or none
            continue
        for row in sweep.table(config).rows:
            trial = numbers[row["point"]]
            about = {"member": first + row["member"], "point": trial, TRIAL: trial}
            rows.append({**row, **about})
        first += config.num_members
    return Table((TRIAL, *varied), rows)


def without_trials(table: Table) -> Table:
    """The same table, in which what is varied is what has been searched."""
    rows = [{k: v for k, v in row.items() if k != TRIAL} for row in table.rows]
    return Table(tuple(name for name in table.varied if name != TRIAL), rows)
