"""Records of `benchmarks.molecules`, as a table and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.molecule_methods import METHODS, PUBLISHED, PUBLISHED_MOLECULES

TOPS = "top_10", "top_100", "top_1000"
COUNTS = tuple(f"{what}_above_{t}" for what in ("modes", "scaffolds") for t in ("7", "7.5", "8"))
METRICS = (*TOPS, "similarity_1000", *COUNTS)
TITLES = {
    "similarity_1000": "mean similarity of the top 1,000",
    **{name: f"mean proxy of the {name.removeprefix('top_')} best" for name in TOPS},
    **{name: name.replace("_", " ") for name in COUNTS},
}
Record = dict[str, Any]


def table(records: Sequence[Record]) -> str:
    """In Markdown: medians over seeds, and from the lowest to the highest; published ones below."""
    header = ("method", "seeds", "molecules", *(x.replace("_", " ") for x in METRICS))
    header = (*header, "distinct", "proxy calls ahead")
    lines = [header, ("---",) * len(header)]
    lines += [_row(name, found) for name, found in by_method(records).items()]
    for name, numbers in PUBLISHED.items():
        given = [f"{numbers[x]:.2f}" if x in numbers else "" for x in METRICS]
        lines.append((f"*{name}, published*", "", f"{PUBLISHED_MOLECULES:,}", *given, "", ""))
    return "\n".join(["", *(f"| {' | '.join(line)} |" for line in lines)])


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of one method and its settings each: those of `METHODS`, then others."""
    groups: dict[str, list[Record]] = {}
    kinds: dict[str, list[Any]] = {}
    order = [*METHODS, *dict.fromkeys(record["method"] for record in records)]
    for record in sorted(records, key=lambda record: order.index(record["method"])):
        settings = kinds.setdefault(record["method"], [])
        if record["settings"] not in settings:
            settings.append(record["settings"])
        number = settings.index(record["settings"])
        name = record["method"] + (f" ({number + 1})" if number else "")
        groups.setdefault(name, []).append(record)
    return groups


def _row(name: str, records: list[Record]) -> tuple[str, ...]:
    last = [{k: curve[-1] for k, curve in record["curves"].items()} for record in records]
    return (
        name,
        str(len(records)),
        f"{records[0]['molecules']:,}",
        *(_spread([x[metric] for x in last]) for metric in METRICS),
        _spread([x["distinct"] for x in last]),
        _spread([record["proxy_calls_ahead"] for record in records]),
    )


def _spread(values: Sequence[float]) -> str:
    digits = 0 if all(isinstance(x, int) for x in values) else 2
    middle, low, high = (f"{x:,.{digits}f}" for x in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def plot(records: Sequence[Record], path: Path) -> None:
    """A panel a metric, a line a method: medians, with all seeds between the shaded ends."""
    from matplotlib.figure import Figure

    groups = by_method(records)
    figure = Figure(figsize=(18, 7), layout="constrained")
    panels = figure.subplots(2, 5).flat
    for axes, metric in zip(panels, METRICS, strict=True):
        for color, (name, found) in enumerate(groups.items()):
            at = np.array(found[0]["curves"]["visited"])
            curves = np.array([_curve(x["curves"], metric) for x in found])
            axes.plot(at, np.median(curves, axis=0), color=f"C{color}", label=name)
            axes.fill_between(at, curves.min(0), curves.max(0), color=f"C{color}", alpha=0.15)
        _published(axes, metric)
        axes.set_xscale("log")
        if metric in COUNTS:
            axes.set_yscale("symlog")
            axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1))
        axes.set_title(TITLES[metric], fontsize="medium")
        axes.set_xlabel("molecules visited")
    figure.legend(*_handles(figure), loc="outside lower center", ncols=10)
    figure.savefig(path, dpi=120)


def _curve(curves: dict[str, list[Any]], metric: str) -> np.ndarray:
    """The k best once there are k."""
    curve = np.array(curves[metric], float)
    if metric in TOPS:
        curve[np.array(curves["distinct"]) < int(metric.removeprefix("top_"))] = np.nan
    return curve


def _published(axes: Any, metric: str) -> None:
    for marker, (name, numbers) in zip("*so", PUBLISHED.items(), strict=True):
        if metric in numbers:
            place, label = PUBLISHED_MOLECULES, f"{name}, published"
            axes.plot(place, numbers[metric], marker, color="black", label=label, fillstyle="none")


def _handles(figure: Any) -> tuple[list[Any], list[str]]:
    """One handle a label."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    return list(found.values()), list(found)
