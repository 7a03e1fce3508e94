"""Competitors that train in turn until each has reached the last goal or spent its budget."""

import argparse
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import curves, processes
from benchmarks.measures import MEASURES, Gauge
from benchmarks.processes import Worker, WorkerError
from benchmarks.settings import SETTINGS
from benchmarks.tasks import TASKS

# Of all seconds: a run whose next chunk would be shorter is at its end.
LEAST_CHUNK = 0.03


class Competitor(NamedTuple):
    """A worker and `[steps, seconds, distance]` of it so far."""

    worker: Worker
    curve: list[tuple[int, float, float]]


def run(options: argparse.Namespace, task: str, seed: int, gauge: Gauge) -> list[dict[str, Any]]:
    """A record of each competitor, with the options of `python -m benchmarks quality`."""
    measure = MEASURES[task]
    about = {"seed": seed, "distance": measure.name, "goals": measure.goals}
    competitors = [Competitor(worker, []) for worker in start(options, task, seed)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "states.npy"), gauge.states)
            open_ones = list(competitors)
            while open_ones:
                open_ones = [x for x in open_ones if _turn(x, options, gauge, Path(folder))]
    finally:
        for competitor in competitors:
            processes.stop(competitor.worker)
    return [{**c.worker.about, **about, "curve": c.curve} for c in competitors]


def _turn(competitor: Competitor, options: argparse.Namespace, gauge: Gauge, folder: Path) -> bool:
    """Some steps and a measurement; whether there is more to do."""
    measure = MEASURES[competitor.worker.about["task"]]
    steps = next_chunk(competitor.curve, options, measure.chunk)
    if steps:
        _advance(competitor, steps, gauge, folder)
    if steps and not competitor.curve[-1][2] < measure.goals[-1]:
        return True
    _tell(competitor)
    return False


def next_chunk(
    curve: list[tuple[int, float, float]], options: argparse.Namespace, chunk: int
) -> int:
    """How many steps to take, 0 where the budget has been spent; further apart the later it is."""
    chunk = options.chunk or chunk
    if not curve:
        return chunk
    steps, seconds, _ = curve[-1]
    left = options.budget - seconds
    if left < LEAST_CHUNK * options.budget:
        return 0
    return min(max(chunk, math.ceil(options.growth * steps)), math.ceil(left / seconds * steps))


def _advance(competitor: Competitor, num_steps: int, gauge: Gauge, folder: Path) -> None:
    worker, curve = competitor
    steps, seconds, _ = curve[-1] if curve else (0, 0.0, math.nan)
    took = processes.ask(worker, run=num_steps, go_on=steps > 0)["seconds"]
    logits = folder / "logits.npy"
    processes.ask(worker, states=str(folder / "states.npy"), logits=str(logits))
    curve.append((steps + num_steps, seconds + took, gauge.distance(np.load(logits))))


def _tell(competitor: Competitor) -> None:
    about = competitor.worker.about
    steps, seconds, value = competitor.curve[-1]
    text = f"{about['task']}, {curves.name(about)}: {value:.3f} after {seconds:.1f} s, {steps:,}"
    print(text, file=sys.stderr, flush=True)


def start(options: argparse.Namespace, task: str, seed: int) -> list[Worker]:
    """One at a time, so that none compiles while another does."""
    starts = {"both": ("batch", "zero")}.get(options.log_z_start, (options.log_z_start,))
    if SETTINGS[task].objective == "mdb":  # which has neither log Z nor flows
        starts = ("batch",)
    workers = []
    for log_z_start in starts:
        given = "--seed", str(seed), "--log-z-start", log_z_start
        workers.append(processes.start("gfnjax", task, *given))
    for library in TASKS[task].peers if options.peers else ():
        try:
            workers.append(processes.start(library, task, "--seed", str(seed)))
        except (FileNotFoundError, WorkerError) as error:
            print(f"{library} is left out: {error}", file=sys.stderr)
    return workers
