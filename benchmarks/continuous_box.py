"""The continuous box of 2301.12594: python -m benchmarks continuous-box

JSD of a Gaussian kernel density and R / Z, from 10,000 samples (bandwidth .02: exact samples have
.015, the uniform density .155), the error of log Z, and log Z - ELBO. The paper has a JSD of .10
at delta .1 and .09 at .25, +- .02, after 3,000,000 trajectories: 23,400 steps of 128.
"""

import argparse
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import jax

from benchmarks import jax_side, trainer
from gfnjax import training
from gfnjax.run.build import describe, initial_state
from gfnjax.run.choices import configure
from gfnjax.run.evaluation import make_evaluator


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    cases = product(range(options.seeds), options.kinds, options.deltas, options.objectives)
    for seed, kind, delta, objective in cases:
        case = {"kind": kind, "delta": delta, "objective": objective, "seed": seed}
        record = _train(case, options)
        print(
            f"{kind:10} delta {delta:<5} {objective:10} seed {seed}  JSD {record['jsd']:.4f}  "
            f"log Z error {record['log_z_error']:.4f}  ELBO gap {record['elbo_gap']:.4f}  "
            f"{record['seconds']:6.0f} s",
            flush=True,
        )
        if options.output:
            with options.output.open("a") as file:
                print(json.dumps(record | jax_side.about() | trainer.host()), file=file)
        jax.clear_caches()
    return 0


def _train(case: dict[str, Any], options: Any) -> dict[str, Any]:
    """What `gfnjax train box` does, without files."""
    settings = {"steps": options.steps, "num_components": options.components}
    config = configure("box", **case, **settings)
    gfn = describe(config)
    state = initial_state(config, gfn)
    begin = time.perf_counter()
    state, _ = training.train(gfn, state, options.steps, chunk_size=min(options.steps, 500))
    seconds = time.perf_counter() - begin
    found = make_evaluator(config, gfn).evaluate(state, None)
    return {
        **case,
        **settings,
        "jsd": found["kernel_jsd"],
        "sampled_tv": found["sampled_tv"],
        "log_z_error": found["log_z_error"],
        "elbo_gap": found["true_log_z"] - found["elbo"],
        "seconds": seconds,
    }


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser("python -m benchmarks continuous-box", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    both = "cartesian", "polar"
    parser.add_argument("--kinds", nargs="+", choices=both, default=both)
    parser.add_argument("--deltas", nargs="+", type=float, default=(0.1, 0.25))
    parser.add_argument("--objectives", nargs="+", default=("tb", "db"))
    parser.add_argument("--components", type=int, default=2, help="of the Beta mixtures")
    parser.add_argument("--steps", type=int, default=23_400, help="of 128 trajectories")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="append records to this file, JSON lines")
    return parser.parse_args(arguments)
