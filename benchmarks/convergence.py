"""Seconds of training to an exact distance: python -m benchmarks quality [--task NAME ...]

Total variation, or Jensen-Shannon divergence in nats for Bayesian networks (`benchmarks.measures`).
Every library has the same settings and a process of its own; they take turns. Every so many steps
a worker is asked for its logits in all states. Seconds are those of the steps alone, measurements
come after them; compilation is `first_step_seconds` of `python -m benchmarks run`.

gfnjax starts log Z and the flows at the estimate of a first batch, which counts as compilation,
and again from 0 like the peers: `--log-z-start both`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import curves, race
from benchmarks.measures import MEASURES, make_gauge
from benchmarks.tasks import gflownet


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    jax.config.update("jax_platforms", "cpu")  # of this process; others are for the workers
    records: list[dict[str, Any]] = []
    for task in dict.fromkeys(options.task):
        try:
            gauge = make_gauge(gflownet(task).env, MEASURES[task].metric)
        except FileNotFoundError as error:
            print(f"{task} is left out: {error}", file=sys.stderr)
            continue
        found = []
        for seed in range(options.seeds):
            found += race.run(options, task, seed, gauge)
            if options.output:
                with options.output.open("a") as file:
                    file.writelines(json.dumps(x) + "\n" for x in found if x["seed"] == seed)
        print(curves.table(found), flush=True)
        records += found
        if options.plot:
            curves.plot(records, options.plot)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks quality", description=summary)
    tasks = ", ".join(MEASURES)
    parser.add_argument(
        "--task", nargs="+", choices=MEASURES, default=["grid-tb"], metavar="task", help=tasks
    )
    parser.add_argument("--peers", action="store_true", help="beside gfnx and torchgfn")
    parser.add_argument(
        "--log-z-start",
        choices=("batch", "zero", "both"),
        default="batch",
        help="of gfnjax: a first batch's estimate, 0, or one run of each",
    )
    parser.add_argument("--chunk", type=int, help="least steps between two measurements")
    parser.add_argument(
        "--growth", type=float, default=0.1, help="steps between two measurements, of those so far"
    )
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of training a library")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="append a JSON line a library and seed")
    parser.add_argument("--plot", type=Path, help="distances against seconds, a panel a task")
    return parser.parse_args(arguments)
