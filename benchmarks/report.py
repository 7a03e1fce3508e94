"""Records of what was measured, as a table and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

COLUMNS = (
    "task",
    "library",
    "steps/s",
    "live transitions/s",
    "gfnjax is faster by (min to max)",
    "by CPU time",
    "mean length",
    "parameters",
    "batch",
    "first step, s (of CPU)",
    "memory, MB",
)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def record(
    about: dict[str, Any], turns: list[dict[str, Any]], ours: list[dict[str, Any]], steps: int
) -> dict[str, Any]:
    """All of one library on one task, for a line of JSON; `ours` are gfnjax's turns beside its."""
    pairs = list(zip(turns, ours, strict=True))
    return {
        **about,
        "steps_per_turn": steps,
        "mean_length": turns[-1]["transitions"] / turns[-1]["trajectories"],
        "iterations_per_second": spread([steps / turn["seconds"] for turn in turns]),
        "trajectories_per_second": spread([x["trajectories"] / x["seconds"] for x in turns]),
        "transitions_per_second": spread([x["transitions"] / x["seconds"] for x in turns]),
        "cpu_seconds_per_step": spread([turn["cpu_seconds"] / steps for turn in turns]),
        "ratio": spread([theirs["seconds"] / our["seconds"] for theirs, our in pairs]),
        "cpu_ratio": spread([theirs["cpu_seconds"] / our["cpu_seconds"] for theirs, our in pairs]),
        "ratio_by_transition": spread(
            [
                theirs["seconds"] / theirs["transitions"] / (our["seconds"] / our["transitions"])
                for theirs, our in pairs
            ]
        ),
        "peak_resident_bytes": turns[-1]["peak_resident_bytes"],
        "peak_device_bytes": turns[-1]["peak_device_bytes"],
        "turns": turns,
    }


def table(records: list[dict[str, Any]]) -> str:
    """In Markdown. Ratios are of seconds a step, the medians over turns.

    Those of CPU time hold where other programs use the machine, and mean little where a library
    computes on several cores or on an accelerator.
    """
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(_row, records)]
    return "\n".join(["", *(f"| {' | '.join(line)} |" for line in lines)])


def _row(record: dict[str, Any]) -> list[str]:
    ratio = record["ratio"]
    ours = record["library"] == "gfnjax"
    memory = record["peak_device_bytes"] or record["peak_resident_bytes"]
    return [
        record["task"],
        f"{record['library']} {record['version']}",
        f"{record['iterations_per_second']['median']:.3g}",
        f"{record['transitions_per_second']['median']:,.0f}",
        "-" if ours else f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
        "-" if ours else f"{record['cpu_ratio']['median']:.2f}",
        f"{record['mean_length']:.1f}",
        f"{record['num_parameters']:,}",
        str(record["batch_size"]),
        f"{record['first_step_seconds']:.1f} ({record['first_step_cpu_seconds']:.1f})",
        f"{memory / 1e6:,.0f}",
    ]


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Bars: how many times the seconds of gfnjax a step takes, with all turns between the ends."""
    from matplotlib.figure import Figure

    records = [record for record in records if record["library"] != "gfnjax"]
    tasks = list(dict.fromkeys(record["task"] for record in records))
    libraries = sorted({record["library"] for record in records})
    figure = Figure(figsize=(1.5 + 0.8 * len(tasks), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(len(libraries), 1)
    for i, library in enumerate(libraries):
        found = [record for record in records if record["library"] == library]
        places = [tasks.index(record["task"]) + width * i for record in found]
        middle = [record["ratio"]["median"] for record in found]
        low = [m - record["ratio"]["min"] for m, record in zip(middle, found, strict=True)]
        high = [record["ratio"]["max"] - m for m, record in zip(middle, found, strict=True)]
        axes.bar(places, middle, width, yerr=(low, high), capsize=2, label=library)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks([i + width * (len(libraries) - 1) / 2 for i in range(len(tasks))], tasks)
    axes.tick_params(axis="x", rotation=45)
    axes.set_ylabel("seconds a step, gfnjax = 1")
    if libraries:
        axes.legend()
    figure.savefig(path, dpi=150)
