"""Curves of distance against seconds, as a table of when goals were reached and as a picture."""

import math
from pathlib import Path
from statistics import median_low
from typing import Any

COLORS = {"gfnjax": "#1f6f8b", "gfnx": "#d1603d", "torchgfn": "#7a6a9b"}
FROM_ZERO = ", log Z from 0"


def name(record: dict[str, Any]) -> str:
    """The library, and where log Z starts if it is not where the library starts it."""
    return record["library"] + (FROM_ZERO if record.get("log_z_start") == "zero" else "")


def reached(record: dict[str, Any], goal: float) -> tuple[float, float]:
    """Seconds and steps of the first measurement below the goal; infinite without one."""
    found = ((seconds, steps) for steps, seconds, value in record["curve"] if value < goal)
    return next(found, (math.inf, math.inf))


def table(records: list[dict[str, Any]]) -> str:
    """In Markdown, of one task: a row a competitor, medians over seeds and their ranges.

    A seed that did not arrive took longer than the budget: its seconds are `>` those it was given.
    """
    first, num_seeds = records[0], len({record["seed"] for record in records})
    goals = [f"{first['distance']} < {goal:g}: s, steps" for goal in first["goals"]]
    head = [f"{first['task']}, {num_seeds} seed{'s' if num_seeds > 1 else ''}", *goals, "at last"]
    names = dict.fromkeys(map(name, records))
    rows = [_row([record for record in records if name(record) == x]) for x in names]
    return "\n".join(["", *(f"| {' | '.join(x)} |" for x in (head, ["---"] * len(head), *rows))])


def _row(records: list[dict[str, Any]]) -> list[str]:
    """Of the seeds of one competitor."""
    first = records[0]
    spent = max(record["curve"][-1][1] for record in records)
    cells = [name(first).replace(first["library"], f"{first['library']} {first['version']}")]
    for goal in first["goals"]:
        times = sorted(reached(record, goal) for record in records)
        seconds, steps = [x for x, _ in times], median_low(times)[1]
        count = "" if steps == math.inf else f", {steps:,}"
        cells.append("-" if seconds[0] == math.inf else _spread(seconds, spent) + count)
    steps, values = (sorted(record["curve"][-1][i] for record in records) for i in (0, 2))
    return [*cells, f"{_spread(values)} after {median_low(steps):,}"]


def _spread(values: list[float], limit: float = math.inf) -> str:
    """Median and range of values in order, to three digits."""
    low, middle, high = (
        f">{limit:.0f}" if value == math.inf else f"{value:.3g}" if value < 100 else f"{value:.0f}"
        for value in (values[0], median_low(values), values[-1])
    )
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """A panel a task, a line a competitor and seed; dotted lines are goals."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(record["task"] for record in records))
    columns = min(len(tasks), 4)
    rows = math.ceil(len(tasks) / columns)
    figure = Figure((4 * columns, 3.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, task in zip(panels, tasks, strict=False):
        _panel(axes, [record for record in records if record["task"] == task])
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=150)


def _panel(axes: Any, records: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    labels = set()
    for record in records:
        label = name(record)
        _, seconds, values = zip(*record["curve"], strict=True)
        axes.plot(
            seconds,
            values,
            color=COLORS[record["library"]],
            linestyle="--" if label.endswith(FROM_ZERO) else "-",
            linewidth=1.3,
            marker="." if len(values) == 1 else None,
            label=None if label in labels else label,
        )
        labels.add(label)
    for goal in records[0]["goals"]:
        axes.axhline(goal, color="black", linewidth=0.6, linestyle=":")
    axes.set(xscale="log", yscale="log", title=records[0]["task"])
    axes.set(xlabel="seconds of training", ylabel=f"exact {records[0]['distance']}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8, loc="lower left")
