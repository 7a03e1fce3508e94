"""What the members of a sweep are judged by, and the one number that each of them gets."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gfnjax.arguments import suggest
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps.table import DIVERGED, REACHED, Table, curve


@dataclass(frozen=True)
class Metric:
    """A column of a table, and what is good.

    Attributes:
        name: of the column.
        high: whether high values are good.
        label: what it is, with its unit.
    """

    name: str
    high: bool
    label: str

    def worst(self, values: np.ndarray) -> float:
        """The worst of some values; NaN if there are none."""
        if not values.size:
            return math.nan
        return float(values.min() if self.high else values.max())

    def best(self, values: np.ndarray) -> float:
        """The best of some values; NaN if there are none."""
        if not values.size:
            return math.nan
        return float(values.max() if self.high else values.min())


# Those by which a sweep is judged come first: what the whole distribution says before what a mean
# of samples says.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("total_variation", False, "exact total variation"),
        Metric("sampled_tv", False, "total variation of objects visited"),
        Metric("neg_log_rmse", True, "-log RMSE of the couplings"),
        Metric("worst_total_variation", False, "total variation at the worst condition"),
        Metric("log_z_error", False, "error of log Z (nats)"),
        Metric("elbo", True, "ELBO (nats)"),
        Metric("proxy", True, "proxy on average"),
        Metric("log_reward", True, "mean log reward (nats)"),
        Metric("jsd", False, "Jensen-Shannon divergence (nats)"),
        Metric("kl", False, "KL divergence (nats)"),
        Metric("reverse_kl", False, "reverse KL divergence (nats)"),
        Metric("part_error", False, "largest error of a marginal"),
        Metric("importance_log_z", True, "log Z by importance sampling (nats)"),
        Metric("modes_found", True, "modes found"),
        Metric("modes_seen", True, "modes seen in training"),
        Metric("mode_distance", False, "bits from the nearest mode"),
        Metric("best_proxy", True, "best proxy"),
        Metric("top_10_proxy", True, "mean of the ten best proxies"),
        Metric("best_parsimony", False, "fewest changes"),
        Metric("parsimony", False, "changes on average"),
        Metric("loss", False, "loss"),
    )
}


# What means the same whatever the reward: the others cannot tell which of two targets was learned
# better.
OF_ANY_TARGET = {
    "total_variation",
    "sampled_tv",
    "worst_total_variation",
    "log_z_error",
    "jsd",
    "kl",
    "reverse_kl",
    "part_error",
}


def check_metric(name: str | None) -> None:
    """Raise what `judge` would raise whatever a sweep measures, before it has begun."""
    plain, _, good = (name or "loss").partition(":")
    if good not in ("high", "low", "") or (not good and plain not in METRICS):
        raise UsageError(
            f"metric must say what is good, {plain}:high or {plain}:low, or be one of "
            f"{', '.join(METRICS)}{suggest(plain, METRICS)}"
        )


def judge(table: Table, name: str | None = None) -> Metric:
    """The metric that a sweep is judged by.

    Args:
        table: with at least one value of it.
        name: of a column. Of one that `METRICS` does not list, such as a plug-in's, it has to say
            what is good: `diversity:high` or `diversity:low`. Without a name, the first of
            `METRICS` that there is.

    Raises:
        UsageError: if there is no such metric, or it is not known what is good.
    """
    present = [
        name for name in table.metrics if any(_is_finite(row.get(name)) for row in table.rows)
    ]
    if not present:
        diverged = any(row["status"] == DIVERGED for row in table.rows)
        why = "all members have diverged" if diverged else "no member has been evaluated"
        raise UsageError(f"nothing to report yet: {why}")
    if name is None:
        known = [metric for metric in METRICS.values() if metric.name in present]
        if not table.of_one_target:
            known = [metric for metric in known if metric.name in OF_ANY_TARGET]
        known = [metric for metric in known if metric.name != "loss"]
        if not known:
            why = "" if table.of_one_target else "settings have different targets, "
            raise UsageError(
                f"metric must be named, with what is good: {why}{present[0]}:high or "
                f"{present[0]}:low (there are {', '.join(present)})"
            )
        return known[0]
    plain, _, good = name.partition(":")
    if plain not in present:
        hint = suggest(plain, present)
        raise UsageError(f"metric must be one of {', '.join(present)}, got {plain!r}{hint}")
    check_metric(name)
    known = METRICS.get(plain, Metric(plain, True, plain.replace("_", " ")))
    return Metric(plain, good == "high" if good else known.high, known.label)


@dataclass(frozen=True)
class Score:
    """What one member has come to.

    Attributes:
        member: its number.
        point: that of its setting.
        value: of the metric; always finite.
        diverged: whether it met NaN.
    """

    member: int
    point: int
    value: float
    diverged: bool


def scores(table: Table, metric: Metric) -> list[Score]:
    """The last value of each member, in the order of members.

    A member that has diverged counts as badly as the worst policy of the sweep: its value is the
    worst finite one among all evaluations of all members, so that an average cannot be better for
    having lost a seed. What is infinite counts alike. A member that has no value yet has no score.
    """
    worst = worst_of(table.rows, metric)
    found = []
    for member, rows in table.members().items():
        values = curve(rows, metric.name)[1]
        diverged = rows[-1]["status"] == DIVERGED
        if values.size or diverged:
            lost = diverged or not math.isfinite(values[-1])
            value = worst if lost else float(values[-1])
            found.append(Score(member, rows[-1]["point"], value, diverged))
    return found


def worst_of(rows: Iterable[dict], metric: Metric) -> float:
    """The worst finite value of all evaluations."""
    values = curve(rows, metric.name)[1]
    return metric.worst(values[np.isfinite(values)])


def histories(
    table: Table, metric: Metric, max_steps: int = 60
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The metric of all members at common steps.

    Between its evaluations the metric of a member is interpolated. Once it has reached what was
    wanted it stays as it is; where it diverges, it is the worst one, as in `scores`, from the last
    good evaluation on. Apart from these it is NaN before the first and after the last evaluation.

    Returns:
        Steps `[t]` with `t <= max_steps`; values `[members, t]`; the point of each member.
    """
    every = np.unique([row["step"] for row in table.rows])
    chosen = np.linspace(0, len(every) - 1, min(max_steps, len(every))).round().astype(int)
    steps, worst = every[chosen], worst_of(table.rows, metric)
    values, points = [], []
    for rows in table.members().values():
        at, found = curve(rows, metric.name)
        found = np.where(np.isfinite(found), found, worst)
        line = np.full(steps.size, math.nan)
        if at.size:
            line = np.interp(steps, at, found, left=math.nan, right=math.nan)
        after = steps > (at[-1] if at.size else -1)
        if rows[-1]["status"] == DIVERGED:
            line[after] = worst
        elif rows[-1]["status"] == REACHED and at.size:
            line[after] = found[-1]
        values.append(line)
        points.append(rows[-1]["point"])
    return steps, np.array(values).reshape(len(points), steps.size), points


def _is_finite(value: object) -> bool:
    return isinstance(value, float | int | np.number) and math.isfinite(value)
