"""What is said of a sweep: its settings, what matters, which one to take."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfnjax.cli.reports import names
from gfnjax.plot import sweeps as pictures
from gfnjax.run.sweeps.levels import Level, shown
from gfnjax.run.sweeps.statistics import Effect, Setting, Statistics, Summary, analyse
from gfnjax.run.sweeps.table import REACHED, RUNNING, Table

MAX_SETTINGS = 20
MAX_DECIMALS = 6
MISSING = "-"


def report(table: Table, metric: str | None, directory: Path) -> str:
    """The text of `gfnjax report`; the pictures that it names are drawn.

    Args:
        table: of a sweep.
        metric: as in `gfnjax.run.sweeps.judging.judge`.
        directory: where pictures go; made if it does not exist.

    Raises:
        UsageError: as `judge`.
        OSError: if a picture cannot be written.
    """
    found = analyse(table, metric)
    written = pictures.draw(table, found.metric, directory)
    parts = [_head(table, found), _settings(found), _effects(found), _choices(found)]
    pictured = f"{'pictures':13}{names(written)}"
    return "\n\n".join(filter(None, parts)) + ("\n" if parts[-1] else "\n\n") + pictured


def flags(values: dict[str, Any]) -> str:
    """Values as they are typed: `--learning-rate 0.001 --no-share --hidden-sizes 64 64`."""
    return " ".join(_flag(name.strip("_").replace("_", "-"), v) for name, v in values.items())


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    words = value if isinstance(value, tuple | list) else (value,)
    return " ".join([f"--{name}", *(shlex.quote(str(word)) for word in words)])


def _head(table: Table, found: Statistics) -> str:
    runs, settings = len(found.scores), len(found.settings)
    good = "high" if found.metric.high else "low"
    text = f"{_count(runs, 'run')} of {_count(settings, 'setting')}, judged by "
    lines = [f"{text}{found.metric.label}: {good} is good"]
    ends = table.last_rows()
    under_way = sum(row["status"] == RUNNING for row in ends)
    reached = [row["step"] for row in ends if row["status"] == REACHED]
    if under_way:
        lines.append(f"{_count(under_way, 'run')} still under way")
    if reached:
        steps = f"{np.median(reached):,.0f} steps" + " in the median" * (len(reached) > 1)
        lines.append(f"{_count(len(reached), 'run')} reached the wanted total variation: {steps}")
    if lost := sum(score.diverged for score in found.scores):
        lines.append(f"{_count(lost, 'run')} diverged, counted as the worst value of the sweep")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _settings(found: Statistics) -> str:
    best = found.settings[0]
    decimals = _decimals(best.summary)
    varied = [name.strip("_").replace("_", "-") for name in best.values]
    head = [*varied, "n", "diverged", "mean ± s.e.", "IQM [95% interval]", "worst"]
    shown_ones = found.settings[:MAX_SETTINGS]
    rows = [[*map(shown, s.values.values()), *_cells(s.summary, decimals)] for s in shown_ones]
    lines = aligned([head, *rows])
    left = len(found.settings) - len(shown_ones)
    return "\n".join([*lines, *([f"... and {left} more in results.csv"] if left else [])])


def _cells(summary: Summary, decimals: int) -> list[str]:
    mean, error = (number(x, decimals) for x in (summary.mean, summary.standard_error))
    iqm, low, high = (number(x, decimals) for x in (summary.iqm, summary.low, summary.high))
    middle = iqm if low == MISSING else f"{iqm} [{low}, {high}]"
    spread = mean if error == MISSING else f"{mean} ± {error}"
    worst = number(summary.worst, decimals)
    return [str(summary.num), str(summary.num_diverged), spread, middle, worst]


def number(value: float, decimals: int) -> str:
    """With so many decimals; a dash for NaN."""
    if math.isnan(value):
        return MISSING
    if value and abs(value) < 10**-MAX_DECIMALS and decimals == MAX_DECIMALS:
        return f"{value:.1e}"
    return f"{value:,.{decimals}f}"


def _decimals(summary: Summary) -> int:
    """So many that the error of a mean has two digits; without one, that the mean has three."""
    error = summary.standard_error
    has_error = math.isfinite(error) and error > 0
    scale, digits = (error, 2) if has_error else (abs(summary.mean), 3)
    if not scale > 0:
        return 3
    return min(max(digits - 1 - math.floor(math.log10(scale)), 0), MAX_DECIMALS)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns to the right, but for those of words."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_left = [any(c.isalpha() for cell in x[1:] for c in cell if c not in "e") for x in columns]
    lines = []
    for row in rows:
        cells = zip(row, widths, to_left, strict=True)
        lines.append("  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in cells).rstrip())
    return lines


def _effects(found: Statistics) -> str:
    if not found.effects or len(found.settings) < 2:
        return ""
    if len(found.effects) == 1 or all(math.isnan(effect.share) for effect in found.effects):
        return ""
    title = "what matters: share of the variance between settings that each explains alone (eta^2)"
    decimals = _decimals(found.settings[0].summary)
    rows = [_effect(effect, found, decimals) for effect in found.effects]
    return "\n".join([title, *aligned(rows)])


def _effect(effect: Effect, found: Statistics, decimals: int) -> list[str]:
    sign = -1 if found.metric.high else 1
    pairs = list(zip(effect.levels, effect.summaries, strict=True))
    ranked = sorted(pairs, key=lambda pair: sign * pair[1].iqm)
    best, worst = (_level(*ranked[i], decimals) for i in (0, -1))
    by_chance = f"(by chance {effect.chance:.0%})"
    between = f"best {best}, worst {worst}" if len(ranked) > 1 else best
    name = effect.name.strip("_").replace("_", "-")
    return [name, f"{effect.share:.0%}", by_chance, between]


def _level(level: Level, summary: Summary, decimals: int) -> str:
    return f"{level} (IQM {number(summary.iqm, decimals)})"


def _choices(found: Statistics) -> str:
    if not found.effects:
        return ""
    if found.best is None or found.most_robust is None:
        return "every run has diverged: no setting can be recommended"
    best, robust = found.best, found.most_robust
    decimals = _decimals(best.summary)
    notes = {
        "best": (best, f"IQM {number(best.summary.iqm, decimals)}"),
        "most robust": (robust, f"worst seed {number(robust.summary.worst, decimals)}"),
    }
    if max(s.summary.num for s in found.settings) == 1:
        del notes["most robust"]
    return "\n".join(_choice(label, *note) for label, note in notes.items())


def _choice(label: str, setting: Setting, note: str) -> str:
    return f"{label:13}{flags(setting.values)}  ({note})"
