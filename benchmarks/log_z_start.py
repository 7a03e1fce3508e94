"""What it is worth to start log Z and the flows at a batch's estimate: every preset, both ways.

    python benchmarks/log_z_start.py [--seeds 3] [--share .25] [--only set] [--objective db]

Each preset is trained with its own settings, but for the number of steps, from 0 and from the
estimate; printed are mean and range over seeds of the exact total variation where there is one,
else of the ELBO (nats), and of the error of log Z where it is known, against steps. Schedules are
laid out for the steps that are taken.
"""

import argparse
import dataclasses

import jax
import numpy as np

from gfnjax.run.build import build
from gfnjax.run.evaluation import make_evaluator
from gfnjax.run.presets import PRESETS, default_config
from gfnjax.training import init, run_chunk

METRICS = "total_variation", "elbo"
CHECKPOINTS = 5


def describe(name: str, share: float, objective: str | None, log_z_init: float | str):
    """The configuration of a preset, shortened."""
    config = default_config(name)
    steps = max(round(config.training.steps * share / CHECKPOINTS), 1) * CHECKPOINTS
    changes = {"steps": steps, "log_z_init": log_z_init}
    if objective is not None:
        changes["objective"] = objective
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changes))


def measure(config, seeds: int) -> dict[str, np.ndarray]:
    """`[seeds, CHECKPOINTS + 1]` of each metric there is, from before the first step on."""
    gfn = build(config)
    evaluator = make_evaluator(config, gfn)
    size = config.training.steps // CHECKPOINTS
    rows = []
    for seed in range(seeds):
        state, found = init(gfn, jax.random.key(seed)), []
        found.append(evaluator.evaluate(state, None))
        for _ in range(CHECKPOINTS):
            state, info = run_chunk(gfn, state, size, size)
            found.append(evaluator.evaluate(state, info))
        rows.append(found)
    names = [name for name in (*METRICS, "log_z_error", "neg_log_rmse") if name in rows[0][0]]
    return {name: np.array([[x[name] for x in found] for found in rows]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--only", nargs="+", default=list(PRESETS))
    parser.add_argument("--objective")
    options = parser.parse_args()
    for name in options.only:
        for start in (0.0, "batch"):
            config = describe(name, options.share, options.objective, start)
            steps = config.training.steps
            print(f"\n{name} {config.training.objective}, log Z from {start}, {steps} steps")
            for metric, values in measure(config, options.seeds).items():
                cells = [
                    f"{column.mean():.4g} ({column.min():.4g} to {column.max():.4g})"
                    for column in values.T
                ]
                print(f"  {metric:16}", " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
