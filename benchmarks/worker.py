"""One library's training, answering on stdin and stdout: python -m benchmarks.worker LIBRARY TASK

A JSON object a line. At first the worker says what it is, after a step, or which data file is
"missing", and ends. Then

    {"run": 100}                       the first 100 steps, from the start: seconds, what was
                                       sampled, and memory
    {"run": 100, "go_on": true}        100 more steps
    {"states": FILE, "logits": FILE}   of the policy in states read from one .npy file, written
                                       to the other

Anything else that is printed goes to stderr. While it waits a worker does nothing.
"""

import argparse
import json
import os
import sys
import time
from importlib import import_module
from typing import Any

from benchmarks import trainer
from benchmarks.settings import SETTINGS
from benchmarks.trainer import Request, Trainer

RUNNERS = {
    "gfnjax": "benchmarks.ours",
    "gfnx": "benchmarks.peers.gfnx_side",
    "torchgfn": "benchmarks.peers.torchgfn_side",
}


def _arguments() -> tuple[str, Request]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=RUNNERS)
    parser.add_argument("task", choices=SETTINGS, metavar="task", help=", ".join(SETTINGS))
    parser.add_argument("--preset", action="store_true")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-z-start", choices=("batch", "zero"))
    given = vars(parser.parse_args())
    return given.pop("library"), Request(**given)


def _start(library: str, request: Request) -> tuple[Trainer, dict[str, Any]]:
    """The trainer after its first step, and what it says of itself."""
    start = time.perf_counter()
    runner = import_module(RUNNERS[library])
    import_seconds = time.perf_counter() - start
    compiling: dict[str, float] = {}
    if library != "torchgfn":
        compiling = import_module("benchmarks.jax_side").watch_compilation()
    start, cpu_start = time.perf_counter(), time.process_time()
    made = runner.make(request)
    made.run(1, False)
    first_step, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return made, {
        "library": library,
        "task": request.task,
        **made.about,
        **trainer.host(),
        "import_seconds": import_seconds,
        "first_step_seconds": first_step,
        "first_step_cpu_seconds": cpu,
        "compile_seconds": compiling.get("seconds"),
    }


def _peak_device_bytes(library: str) -> int | None:
    if library == "torchgfn":
        return None
    return import_module("benchmarks.jax_side").peak_device_bytes()


def _answer(library: str, made: Trainer, question: dict[str, Any]) -> dict[str, Any]:
    if "logits" in question:
        import numpy as np

        assert made.logits is not None, f"{library} has no logits"
        np.save(question["logits"], made.logits(np.load(question["states"])))
        return {"logits": question["logits"]}
    start, cpu_start = time.perf_counter(), time.process_time()
    counts = made.run(question["run"], question.get("go_on", False))
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        **counts._asdict(),
        "peak_resident_bytes": trainer.peak_resident_bytes(),
        "peak_device_bytes": _peak_device_bytes(library),
    }


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    library, request = _arguments()
    try:
        made, about = _start(library, request)
    except FileNotFoundError as error:  # a data file
        say({"missing": str(error)})
        return
    say(about)
    for line in sys.stdin:
        say(_answer(library, made, json.loads(line)))


if __name__ == "__main__":
    main()
