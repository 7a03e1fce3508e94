"""Training steps per second: python -m benchmarks run [--task NAME ...] [--peers]

Each library trains in a process of its own, with the same settings and a network of the same
size; they take turns, and ratios are taken turn by turn, so that they hold on a noisy machine.
Every turn starts from the first step and takes the same number of steps, so that all libraries
train through the same window: lengths of trajectories change with training, and are reported
beside. There are as many steps as the fastest takes --seconds for, as long as the slowest needs
no more than five times that. What is not installed or lacks a data file is left out.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import processes, report
from benchmarks.processes import Worker, WorkerError
from benchmarks.settings import SETTINGS

# How much longer than --seconds a turn of the slowest library may take.
PATIENCE = 5.0
PEERS = "gfnx", "torchgfn"


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    records: list[dict[str, Any]] = []
    for task in options.task or SETTINGS:
        try:
            found = measure(task, options)
        except FileNotFoundError as error:
            print(f"{task} is left out: {error}", file=sys.stderr)
            continue
        records += found
        if options.output:
            with options.output.open("a") as file:
                file.writelines(json.dumps(record) + "\n" for record in found)
        print(report.table(found), flush=True)
    if len(options.task or SETTINGS) > 1:
        print(report.table(records))
    if options.plot:
        report.plot(records, options.plot)
    return 0


def measure(task: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One record a library, gfnjax first."""
    workers = _start_all(task, options)
    try:
        steps = _calibrate(workers, options.seconds)
        turns = [
            [processes.ask(worker, run=steps) for worker in workers] for _ in range(options.repeats)
        ]
    finally:
        for worker in workers:
            processes.stop(worker)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    columns = zip(*turns, strict=True)
    return [
        report.record(worker.about, list(column), [turn[0] for turn in turns], steps)
        | {"seed": options.seed, "preset": options.preset, "time": now}
        for worker, column in zip(workers, columns, strict=True)
    ]


def _start_all(task: str, options: argparse.Namespace) -> list[Worker]:
    """One at a time, so that none compiles while another does."""
    flags = ["--seed", str(options.seed)]
    if options.batch_size is not None:
        flags += ["--batch-size", str(options.batch_size)]
    ours = [*flags, "--preset"] if options.preset else flags
    workers = [processes.start("gfnjax", task, *ours)]
    for library in _peers(task) if options.peers else ():
        try:
            workers.append(processes.start(library, task, *flags))
        except (FileNotFoundError, WorkerError) as error:
            print(f"{library} is left out: {error}", file=sys.stderr)
    return workers


def _peers(task: str) -> tuple[str, ...]:
    from benchmarks.tasks import TASKS

    return TASKS[task].peers


def _calibrate(workers: list[Worker], seconds: float) -> int:
    """How many steps a turn takes."""
    rates = [_rate(worker, seconds / 4) for worker in workers]
    steps = min(max(rates) * seconds, min(rates) * seconds * PATIENCE)
    return max(round(steps), 1)


def _rate(worker: Worker, seconds: float) -> float:
    """Steps a second, from as many as take some seconds."""
    steps = 1
    while (taken := processes.ask(worker, run=steps)["seconds"]) < seconds:
        # More than is needed would be as long as a turn where steps become slower.
        steps *= 2 if taken < seconds / 2 else 1 + (taken < seconds)
    return steps / taken


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks run", description=__doc__.splitlines()[0]
    )
    names = f"all without: {', '.join(SETTINGS)}"
    parser.add_argument("--task", nargs="+", choices=SETTINGS, metavar="NAME", help=names)
    parser.add_argument("--peers", action="store_true", help="beside gfnx and torchgfn")
    parser.add_argument(
        "--preset", action="store_true", help="gfnjax as `gfnjax train` has the problem"
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns of each library")
    parser.add_argument("--seconds", type=float, default=2.0, help="a turn, about")
    parser.add_argument("--batch-size", type=int, help="in place of the published one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="append a JSON line a library and task")
    parser.add_argument("--plot", type=Path, help="draw the ratios")
    return parser.parse_args(arguments)
