"""How the cost of a training step grows: python -m benchmarks growth [--quick]

One quantity at a time, those of `benchmarks.sizes`. After a few steps learning rates are set to
zero, so that lengths of trajectories stay what they are; each number is the median of the repeats.
A cost grows as size^exponent, by least squares on logarithms, and between the last two sizes alone.
`--quick` stops at the third size.
"""

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

import gfnjax
from benchmarks import jax_side, trainer
from benchmarks.report import spread
from benchmarks.sizes import GROWTHS
from benchmarks.tasks import num_parameters
from gfnjax import GFlowNet
from gfnjax.training import chunks, init

WARM_UP, CAPACITY, QUICK = 8, 1_024, 3
COSTS = "ms_per_step", "ms_per_transition"
COLUMNS = (
    "what",
    "size",
    "mean length",
    "ms a step (min to max)",
    "ms a live transition",
)
EXPONENTS = "a step, x of all", "of the last two", "a live transition, x of all", "of the last two"


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    print(_heading(COLUMNS), flush=True)
    records = []
    for name in options.only or GROWTHS:
        sizes, describe = GROWTHS[name]
        points = []
        for size in sizes[:QUICK] if options.quick else sizes:
            points.append(measure(describe(size), options.repeats, options.seconds))
            points[-1]["size"] = size
            print(_row(name, points[-1]), flush=True)
        records.append({"what": name, **exponents(points), "points": points, **_about()})
        if options.output:
            with options.output.open("a") as file:
                print(json.dumps(records[-1]), file=file)
    print(_exponent_table(records))
    if options.plot:
        plot(records, options.plot)
    return 0


def measure(gfn: GFlowNet, repeats: int, seconds: float) -> dict[str, Any]:
    """One point: `repeats` turns of as many steps as take some seconds."""
    state = init(gfn, jax.random.key(0))
    state, *_ = _run(gfn, state, WARM_UP)
    state, taken, _ = _run(gfn, _stand_still(state), WARM_UP)
    steps = min(max(round(seconds * WARM_UP / taken), 1), CAPACITY)
    per_step, per_transition = [], []
    for _ in range(repeats):
        state, taken, length = _run(gfn, state, steps)
        per_step.append(1e3 * taken / steps)
        per_transition.append(per_step[-1] / (length * gfn.batch_size))
    return {
        "ms_per_step": spread(per_step),
        "ms_per_transition": spread(per_transition),
        "mean_length": length,
        "batch_size": gfn.batch_size,
        "num_parameters": num_parameters(gfn),
        "steps": steps,
        "repeats": repeats,
    }


def _run(model: Any, state: Any, num_steps: int) -> tuple[Any, float, float]:
    """The state afterwards, seconds, and the mean length; `state` is gone."""
    start, lengths = time.perf_counter(), []
    for after, info in chunks(model, state, int(state.step) + num_steps, CAPACITY, donate=True):
        state = after
        lengths.append(info.length)
    return state, time.perf_counter() - start, float(np.concatenate(lengths).mean())


def _stand_still(state: Any) -> Any:
    """Learning rates of zero from here on: as much is computed, and the policy stays."""
    numbers = state.hyperparameters
    rates = "learning_rate", "log_z_learning_rate"
    zeros = {rate: jnp.zeros_like(getattr(numbers, rate)) for rate in rates}
    return state._replace(hyperparameters=numbers._replace(**zeros))


def exponents(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Of both costs."""
    sizes = [point["size"] for point in points]
    return {"exponents": {x: exponent(sizes, [p[x]["median"] for p in points]) for x in COSTS}}


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    """The slope of log cost against log size: of all by least squares, and of the last two."""
    x, y = np.log(sizes), np.log(costs)
    return {
        "fitted": float(np.polyfit(x, y, 1)[0]),
        "last_two": float((y[-1] - y[-2]) / (x[-1] - x[-2])),
    }


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """A panel a quantity: milliseconds against size, both logarithmic, minima and maxima shaded."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(records), 3.4), layout="constrained")
    panels = figure.subplots(1, len(records), squeeze=False)[0]
    for axes, record in zip(panels, records, strict=True):
        sizes = [point["size"] for point in record["points"]]
        for cost, label in zip(COSTS, ("a step", "a live transition"), strict=True):
            low, middle, high = (
                [point[cost][key] for point in record["points"]] for key in ("min", "median", "max")
            )
            fit = record["exponents"][cost]["fitted"]
            axes.loglog(sizes, middle, "o-", markersize=3, label=f"{label}, exponent {fit:.2f}")
            axes.fill_between(sizes, low, high, alpha=0.25)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
        axes.minorticks_off()
        axes.set_xlabel(record["what"])
        axes.legend(fontsize="small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    panels[0].set_ylabel("ms")
    figure.savefig(path, dpi=150)


def _row(name: str, point: dict[str, Any]) -> str:
    step = point["ms_per_step"]
    cells = (
        name,
        f"{point['size']:,}",
        f"{point['mean_length']:.1f}",
        f"{step['median']:.3g} ({step['min']:.3g} to {step['max']:.3g})",
        f"{point['ms_per_transition']['median']:.2g}",
    )
    return f"| {' | '.join(cells)} |"


def _heading(columns: Sequence[str]) -> str:
    return f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def _exponent_table(records: list[dict[str, Any]]) -> str:
    lines = [_heading(("cost grows as", *EXPONENTS))]
    for record in records:
        fits = [f"{fit:.2f}" for cost in COSTS for fit in record["exponents"][cost].values()]
        lines.append(f"| {record['what']}^x | {' | '.join(fits)} |")
    return "\n".join(lines)


def _about() -> dict[str, Any]:
    return {
        "version": gfnjax.__version__,
        **jax_side.about(),
        "jaxlib": jaxlib.__version__,
        **trainer.host(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks growth", description=summary)
    names = f"all without: {', '.join(GROWTHS)}"
    parser.add_argument("--only", nargs="+", choices=GROWTHS, metavar="NAME", help=names)
    parser.add_argument("--quick", action="store_true", help="only the three smallest sizes")
    parser.add_argument("--repeats", type=int, default=5, help="whose median counts")
    parser.add_argument("--seconds", type=float, default=0.5, help="a repeat, about")
    parser.add_argument("--output", type=Path, help="append a JSON line a quantity")
    parser.add_argument("--plot", type=Path, help="draw costs against sizes")
    return parser.parse_args(arguments)
