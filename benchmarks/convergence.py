"""Seconds of training to an exact total variation: python -m benchmarks quality [--peers]

A 20^4 grid (`grid-tb` or another), every library with the same settings, in a process of its own;
they take turns. After every so many steps a worker is asked for its logits in all cells, and
the distribution that these end in is computed by dynamic programming. Seconds are those of the
steps alone; compilation is `first_step_seconds` of `python -m benchmarks run`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import processes
from benchmarks.processes import Worker, WorkerError
from benchmarks.tasks import TASKS, gflownet
from gfnjax import masking
from gfnjax.metrics import exact, state_graph

GRIDS = tuple(name for name in TASKS if name.startswith("grid-"))
GOALS = 0.2, 0.1, 0.05


def main(arguments: Sequence[str]) -> int:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks quality", description=summary)
    parser.add_argument("--task", choices=GRIDS, default=GRIDS[0])
    parser.add_argument("--peers", action="store_true", help="beside gfnx and torchgfn")
    parser.add_argument("--chunk", type=int, default=250, help="steps between two measurements")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of training a library")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="append a JSON line a library and seed")
    options = parser.parse_args(arguments)
    jax.config.update("jax_platforms", "cpu")  # of this process; others are for the workers
    measure, positions = total_variation(options.task)
    goals = " | ".join(f"TV < {goal}, s (steps)" for goal in GOALS)
    print(f"| library | seed | {goals} | at last |")
    print("|---" * (len(GOALS) + 3) + "|")
    for seed in range(options.seeds):
        for curve in run(options, seed, measure, positions):
            print(_row(curve), flush=True)
            if options.output:
                with options.output.open("a") as file:
                    print(json.dumps(curve), file=file)
    return 0


def total_variation(task: str) -> tuple[Callable[[Any], float], list[list[int]]]:
    """From logits `[cells, moves + stop]`, and the cells that they are of."""
    env = gflownet(task).env
    states = state_graph.build_graph(env)
    num_cells = env.side**env.num_dims
    # Terminal states follow the cells.
    cells = jax.vmap(env.state_at)(jnp.arange(num_cells, dtype=jnp.int32))

    def measure(logits: Any) -> float:
        padded = jnp.pad(jnp.asarray(logits), ((0, num_cells), (0, 0)))
        log_pf = masking.log_softmax(padded, states.forward_mask)
        return float(exact.evaluate(states, log_pf).total_variation)

    return measure, np.asarray(cells.position).tolist()


def run(
    options: argparse.Namespace, seed: int, measure: Callable, positions: list[list[int]]
) -> list[dict[str, Any]]:
    """Of each library `(steps, seconds, total variation)` until all goals have been reached."""
    workers = _start(options.task, options.peers, seed)
    curves: list[dict[str, Any]] = [{**w.about, "seed": seed, "curve": []} for w in workers]
    open_ones = list(zip(workers, curves, strict=True))
    while open_ones:
        for worker, curve in list(open_ones):
            steps, seconds, _ = curve["curve"][-1] if curve["curve"] else (0, 0.0, 1.0)
            took = processes.ask(worker, run=options.chunk, go_on=steps > 0)["seconds"]
            value = measure(processes.ask(worker, logits=positions)["logits"])
            curve["curve"].append((steps + options.chunk, seconds + took, value))
            if value < min(GOALS) or seconds + took > options.budget:
                open_ones.remove((worker, curve))
    for worker in workers:
        processes.stop(worker)
    return curves


def _start(task: str, peers: bool, seed: int) -> list[Worker]:
    workers = []
    for library in ("gfnjax", *(TASKS[task].peers if peers else ())):
        try:
            workers.append(processes.start(library, task, "--seed", str(seed)))
        except (FileNotFoundError, WorkerError) as error:
            print(f"{library} is left out: {error}", file=sys.stderr)
    return workers


def _row(curve: dict[str, Any]) -> str:
    cells = [f"{curve['library']} {curve['version']}", str(curve["seed"])]
    for goal in GOALS:
        reached = [(s, t) for s, t, value in curve["curve"] if value < goal]
        cells.append(f"{reached[0][1]:.1f} ({reached[0][0]:,})" if reached else "-")
    steps, seconds, value = curve["curve"][-1]
    return f"| {' | '.join([*cells, f'{value:.3f} after {seconds:.0f} s ({steps:,})'])} |"
