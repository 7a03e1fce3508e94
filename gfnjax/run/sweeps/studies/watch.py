"""A study looks on while a population is trained, and says which trials to give up."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gfnjax.run.directory import Record
from gfnjax.run.sweeps.config import SweepConfig
from gfnjax.run.sweeps.judging import Metric
from gfnjax.run.sweeps.table import DIVERGED, RUNNING

PRUNED_AT = "pruned_at"


class Watch:
    """The `watch` of a sweep whose points are trials.

    After each chunk it reports the mean over the seeds of each trial, once all of them are that
    far; a seed that has diverged counts as the worst value that any member has had until then. All
    values come before all questions. These come in the order of trials, which knows nothing of how
    good they are: Hyperband compares each with those that it has been asked about before, and would
    keep only the best one if it came first.

    Args:
        trials: one a point; None for one that has been given up elsewhere.
        config: of the sweep.
        metric: by which trials are judged.
        records: of what has been trained before.
    """

    def __init__(
        self,
        trials: Sequence[Any | None],
        config: SweepConfig,
        metric: Metric,
        records: Iterable[Record],
    ):
        self._trials, self._metric, self._num_seeds = trials, metric, len(config.seeds)
        self._records: dict[int, dict[int, Record]] = {}
        self._reported = [set() if t is None else set(_values(t)) for t in trials]
        self._note(records)

    def __call__(self, records: Sequence[Record]) -> set[int]:
        """The members of the trials that are to be pruned, of a visit after some steps."""
        self._note(records)
        running = {r["member"] for r in records if r["status"] == RUNNING}
        moved = sorted({record["member"] // self._num_seeds for record in records})
        step = max((r["step"] for r in records if r["status"] != DIVERGED), default=None)
        if step is None:
            return set()
        lost = {point for point in moved if self._trials[point] is None}
        values = {point: self._mean(point, step) for point in moved if point not in lost}
        for point, value in values.items():
            if value is not None and step not in self._reported[point]:
                self._trials[point].report(value, step)
                self._reported[point].add(step)
        under_way = {member // self._num_seeds for member in running}
        asked = [p for p, value in values.items() if value is not None and p in under_way]
        given_up = lost | {point for point in asked if self._is_pruned(point, step)}
        return {member for member in running if member // self._num_seeds in given_up}

    def _note(self, records: Iterable[Record]) -> None:
        for record in records:
            if record["step"] > 0:  # before the first step all are alike
                self._records.setdefault(record["member"], {})[record["step"]] = record

    def _is_pruned(self, point: int, step: int) -> bool:
        """What the study has said once it goes on saying, should this visit be repeated."""
        trial: Any = self._trials[point]
        if step < trial.user_attrs.get(PRUNED_AT, math.inf):
            if not trial.should_prune():
                return False
            trial.set_user_attr(PRUNED_AT, step)
        return True

    def _mean(self, point: int, step: int) -> float | None:
        """Over the seeds of a trial; None where one of them has not come that far."""
        first = point * self._num_seeds
        members = range(first, first + self._num_seeds)
        values = [self._value(member, step) for member in members]
        known = [value for value in values if value is not None]
        if len(known) < len(values) or not all(map(math.isfinite, known)):
            return None
        return float(np.mean(known))

    def _value(self, member: int, step: int) -> float | None:
        """The last one until `step`; None of who is not there, NaN if there is not even a worst."""
        steps = [s for s in self._records.get(member, {}) if s <= step]
        if not steps:
            return None
        last = self._records[member][max(steps)]
        if last["status"] == RUNNING and last["step"] < step:
            return None
        if last["status"] != DIVERGED:
            value = last.get(self._metric.name)
            if value is None or math.isfinite(value):
                return value
        return self._worst(step)

    def _worst(self, step: int) -> float:
        records = (r for known in self._records.values() for s, r in known.items() if s <= step)
        values = np.array([r.get(self._metric.name, math.nan) for r in records], float)
        return self._metric.worst(values[np.isfinite(values)])


def _values(trial: Any) -> dict[int, float]:
    """What has been reported of a trial."""
    return trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
