"""What a sweep says of its settings, and of each thing that is varied.

Means of few runs are uncertain, and one bad seed moves them far. Hence interquartile means with
intervals by a bootstrap that resamples seeds within each setting: Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice", https://arxiv.org/abs/2108.13264
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gfnjax.run.sweeps.judging import Metric, Score, judge, scores
from gfnjax.run.sweeps.levels import Level, levels_of
from gfnjax.run.sweeps.table import Row, Table

NUM_RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Some members together, those that have diverged as the worst of the sweep (see `scores`).

    Attributes:
        num: members.
        num_diverged: those of them that met NaN.
        mean: of the metric.
        standard_error: of the mean; NaN for a single member.
        iqm: interquartile mean, see `interquartile_mean`.
        low: where its 95% interval starts; NaN where no setting has two seeds.
        high: where it ends.
        best: of all members.
        worst: of all members.
    """

    num: int
    num_diverged: int
    mean: float
    standard_error: float
    iqm: float
    low: float
    high: float
    best: float
    worst: float


@dataclass(frozen=True)
class Setting:
    """One point of a sweep: its number, the values of what is varied, and how it has done."""

    point: int
    values: Row
    summary: Summary


@dataclass(frozen=True)
class Effect:
    """What changes with one thing that is varied.

    Attributes:
        name: of it.
        levels: its values, or ranges of them, in order.
        summaries: one a level, over all other settings and all seeds.
        share: of the variance between settings (of their interquartile means), what differs
            between levels: `eta^2 = sum_l n_l (m_l - m)^2 / sum_s (y_s - m)^2`, of the main effect
            alone. NaN if all settings are alike.
        chance: what that is on average where nothing depends on it, `(levels - 1) / (settings -
            1)`.
    """

    name: str
    levels: tuple[Level, ...]
    summaries: tuple[Summary, ...]
    share: float
    chance: float


@dataclass(frozen=True)
class Statistics:
    """A sweep as a whole.

    Attributes:
        metric: it is judged by.
        scores: one a member.
        settings: best interquartile mean first; without those that have no score yet.
        effects: of what is varied, the largest share first.
    """

    metric: Metric
    scores: tuple[Score, ...]
    settings: tuple[Setting, ...]
    effects: tuple[Effect, ...]

    @property
    def in_order(self) -> list[Setting]:
        """The settings as they are numbered."""
        return sorted(self.settings, key=lambda setting: setting.point)

    @property
    def best(self) -> Setting | None:
        """The setting with the best interquartile mean; None if all members diverged."""
        return next(iter(self._sound), None)

    @property
    def most_robust(self) -> Setting | None:
        """The one whose worst seed is best, of equal ones the better interquartile mean."""
        sign = -1 if self.metric.high else 1
        return min(self._sound, key=lambda s: sign * s.summary.worst, default=None)

    @cached_property
    def _sound(self) -> list[Setting]:
        return [s for s in self.settings if s.summary.num_diverged < s.summary.num]


def analyse(table: Table, metric: str | Metric | None = None) -> Statistics:
    """All statistics of a sweep.

    Args:
        table: of its members.
        metric: as in `judge`.

    Raises:
        UsageError: as `judge`.
    """
    metric = metric if isinstance(metric, Metric) else judge(table, metric)
    found = scores(table, metric)
    strata = by_point(found)
    settings = [
        Setting(point, values, summarise([strata[point]], metric))
        for point, values in table.settings().items()
        if point in strata
    ]
    sign = -1 if metric.high else 1
    ranked = sorted(settings, key=lambda s: _rank(s.summary, sign))
    effects = [_effect(name, settings, strata, metric) for name in table.varied]
    effects.sort(key=lambda e: -e.share if math.isfinite(e.share) else 0.0)
    return Statistics(metric, tuple(found), tuple(ranked), tuple(effects))


def by_point(found: Sequence[Score]) -> dict[int, list[Score]]:
    """The scores of each setting."""
    strata: dict[int, list[Score]] = {}
    for score in found:
        strata.setdefault(score.point, []).append(score)
    return strata


def _rank(summary: Summary, sign: int) -> tuple[float, float]:
    # What has diverged comes behind what is as bad without.
    return sign * summary.iqm, summary.num_diverged / summary.num


def summarise(strata: Sequence[Sequence[Score]], metric: Metric) -> Summary:
    """Members of one or several settings together; seeds are resampled within each setting."""
    values = [np.array([score.value for score in stratum]) for stratum in strata]
    every = np.concatenate(values)
    low, high = bootstrap_interval(values)
    return Summary(
        num=every.size,
        num_diverged=sum(score.diverged for stratum in strata for score in stratum),
        mean=float(every.mean()),
        standard_error=float(every.std(ddof=1) / every.size**0.5) if every.size > 1 else math.nan,
        iqm=float(interquartile_mean(every)),
        low=low,
        high=high,
        best=metric.best(every),
        worst=metric.worst(every),
    )


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean `[...]` of values `[..., n]` without the lowest and the highest quarter.

    A quarter is rounded down to whole values, so that of fewer than four none is left out.
    """
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def bootstrap_interval(
    strata: Sequence[np.ndarray], num_resamples: int = NUM_RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of the interquartile mean of all values, by a stratified bootstrap.

    Args:
        strata: the seeds `[n_s]` of each setting, resampled apart from the others.
        num_resamples: how often.

    Returns:
        Its two ends, the same for the same values; NaN where no stratum has two values. A stratum
        with one value adds nothing to the width.
    """
    if max(map(len, strata), default=0) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    index = resample(list(map(len, strata)), num_resamples, rng)
    found = interquartile_mean(np.concatenate(strata)[index])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    return float(low), float(high)


def resample(sizes: Sequence[int], num: int, rng: np.random.Generator) -> np.ndarray:
    """Indices `[num, sum(sizes)]` into values one stratum after the other, drawn within each."""
    of_each = np.repeat(sizes, sizes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return starts + rng.integers(of_each, size=(num, of_each.size))


def _effect(
    name: str, settings: Sequence[Setting], strata: dict[int, list[Score]], metric: Metric
) -> Effect:
    values = [setting.values[name] for setting in settings]
    levels = levels_of(values, alone=len(settings[0].values) == 1)
    groups = [[s for s in settings if s.values[name] in level.values] for level in levels]
    summaries = [summarise([strata[s.point] for s in group], metric) for group in groups]
    share = explained([np.array([s.summary.iqm for s in group]) for group in groups])
    chance = (len(levels) - 1) / max(len(settings) - 1, 1)
    return Effect(name, tuple(levels), tuple(summaries), share, chance)


def explained(groups: Sequence[np.ndarray]) -> float:
    """Share of the variance of all values that is between groups, eta^2; NaN if there is none."""
    every: Any = np.concatenate(groups)
    between = sum(group.size * (group.mean() - every.mean()) ** 2 for group in groups)
    total = ((every - every.mean()) ** 2).sum()
    return float(between / total) if total > 1e-24 * max((every**2).sum(), 1e-300) else math.nan
