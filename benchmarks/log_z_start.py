"""What it is worth where log Z and the flows start, for every environment.

    python benchmarks/log_z_start.py [--seeds 3] [--share .25] [--only set] [--objective db]

Each environment is trained with its own settings, but for the number of steps, from 0 and from what
a batch of the untrained policy says, the default; objectives that start flows at its mean log R
also with all of them at its estimate of log Z. Printed are mean and range over seeds of the exact
total variation where there is one, else of the ELBO (nats), and of the error of log Z where it is
known, against steps. Schedules are laid out for the steps that are taken.
"""

import argparse

import jax
import numpy as np

from gfnjax import registry
from gfnjax.run.build import build
from gfnjax.run.choices import configure
from gfnjax.run.evaluation import make_evaluator
from gfnjax.training import init, run_chunk

METRICS = "total_variation", "elbo"
CHECKPOINTS = 5


def describe(name: str, share: float, objective: str | None, log_z_init: float | str):
    """The configuration of an environment, shortened."""
    planned = configure(name).training.steps
    steps = max(round(planned * share / CHECKPOINTS), 1) * CHECKPOINTS
    return configure(name, objective=objective, steps=steps, log_z_init=log_z_init)


def starts(config) -> list[float | str]:
    """Values of `log_z_init` to compare."""
    gfn = build(config)
    if not gfn.objective.bootstraps:
        return [0.0, "batch"]
    return [0.0, "batch", round(float(init(gfn, jax.random.key(0)).params.log_z), 2)]


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
    known = [name for name in registry.names("environment") if name != "text"]  # of its own kind
    parser.add_argument("--only", nargs="+", default=known)
    parser.add_argument("--objective")
    options = parser.parse_args()
    for name in options.only:
        for start in starts(describe(name, options.share, options.objective, "batch")):
            config = describe(name, options.share, options.objective, start)
            steps = config.training.steps
            print(f"\n{name} {config.objective.name}, log Z from {start}, {steps} steps")
            for metric, values in measure(config, options.seeds).items():
                cells = [
                    f"{column.mean():.4g} ({column.min():.4g} to {column.max():.4g})"
                    for column in values.T
                ]
                print(f"  {metric:16}", " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
