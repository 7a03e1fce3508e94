"""GFlowNets on state graphs with cycles: python -m benchmarks cyclic

    grid          the 7 x 7 grid with a uniform source, detailed balance at each lambda of
                  `--lambdas`: exact TV and E[n], log Z error; E[n] is 4.33 with a P_B uniform over
                  neighbours and s_0, and 2.30 at least
    permutations  n = 8 and 20, beside what is published (2502.07735, table 1): L1 of P(k fixed
                  points), relative error of E[R], log Z error and E[n]

On two shared cores a step of the grid takes 3 ms, with small lambda up to 50, for trajectories are
longer; one of permutations, with 512 of them, 80 to 170 ms.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gfnjax
from benchmarks import jax_side, trainer
from gfnjax import training
from gfnjax.envs.cyclic_hypergrid import UniformSourceHypergrid
from gfnjax.envs.permutations import Permutations
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.metrics.transport import least_length
from gfnjax.objectives import Objective, RegularisedDetailedBalance, StableDetailedBalance
from gfnjax.rewards.hypergrid import corners
from gfnjax.run.evaluation import SampledEvaluator

RATES = gfnjax.Hyperparameters(1e-3, 1e-2)
# L1 of P(k), relative error of E[R], error of log Z, E[n].
PUBLISHED = {
    "db-flow": {8: (0.215, 0.214, 0.814, 2.43), 20: (0.453, 0.343, 42.98, 2.00)},
    "sdb-flow": {8: (0.031, 0.046, 0.074, 3.32), 20: (0.452, 0.343, 42.98, 2.01)},
    "db-1e-3": {8: (0.036, 0.056, 0.018, 2.80), 20: (0.041, 0.064, 0.023, 3.23)},
    "sdb-1e-3": {8: (0.037, 0.056, 0.020, 2.79), 20: (0.041, 0.064, 0.026, 3.22)},
    "db-1e-5": {8: (0.005, 0.001, 0.005, 4.31), 20: (0.017, 0.035, 0.003, 7.55)},
    "sdb-1e-5": {8: (0.005, 0.002, 0.006, 4.36), 20: (0.014, 0.025, 0.005, 7.31)},
}
MEASURED = "fixed_points_l1", "mean_reward_error", "log_z_error", "expected_length"


def objective_of(name: str) -> Objective:
    """A row of the published table."""
    kind, _, rest = name.partition("-")
    if rest == "flow":
        flow = RegularisedDetailedBalance(0.0, "flow"), StableDetailedBalance("flow")
        return flow[kind == "sdb"]
    weight = float(rest)
    if kind == "db":
        return RegularisedDetailedBalance(weight)
    return StableDetailedBalance("log", flow_regularisation=weight)


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    for name in options.only:
        for found in TASKS[name](options):
            print(_line(found), flush=True)
            if options.output:
                with options.output.open("a") as file:
                    about = jax_side.about() | trainer.host()
                    print(json.dumps({"what": name, **found, **about}), file=file)
    return 0


def grid(options: Any) -> Iterator[dict[str, Any]]:
    """Exact TV, E[n] and log Z error after so many steps, for each lambda and seed."""
    env = UniformSourceHypergrid(2, options.side, replace(corners(), r0=1e-3))
    graph = build_graph(env)
    yield {"side": options.side, "least_length": least_length(graph)}
    for weight in options.lambdas:
        gfn = gfnjax.GFlowNet(
            env,
            gfnjax.mlp_policy(env, (256, 256), "relu"),
            RegularisedDetailedBalance(weight),
            hyperparameters=RATES,
            batch_size=16,
        )
        for seed in range(options.seeds):
            begin = time.perf_counter()
            state, history = gfnjax.train(gfn, jax.random.key(seed), options.steps)
            table = exact.policy_table(gfn.model, state.params)
            metrics = exact.evaluate(graph, table.log_pf, gfn.log_z(state.params))
            yield {
                "lambda": weight,
                "seed": seed,
                "steps": options.steps,
                "total_variation": float(metrics.total_variation),
                "log_z_error": float(metrics.log_z_error),
                "expected_length": float(exact.expected_length(graph, table.log_pf)),
                "cut": float(history.info.cut.mean()),
                "seconds": time.perf_counter() - begin,
            }


def permutations(options: Any) -> Iterator[dict[str, Any]]:
    """What samples of the policy say, and what has been published, for each size and objective."""
    for size in options.sizes:
        env = Permutations(size)
        for name in options.objectives:
            gfn = gfnjax.GFlowNet(
                env,
                gfnjax.mlp_policy(env, (128, 128), "leaky_relu"),
                objective_of(name),
                hyperparameters=RATES,
                batch_size=options.batch_size,
            )
            for seed in range(options.seeds):
                begin = time.perf_counter()
                state, _ = gfnjax.train(gfn, jax.random.key(seed), options.steps)
                found = _estimates(gfn, state)
                published = dict(zip(MEASURED, PUBLISHED.get(name, {}).get(size, ()), strict=False))
                yield {
                    "size": size,
                    "objective": name,
                    "seed": seed,
                    "steps": options.steps,
                    **{key: found[key] for key in (*MEASURED, "cut")},
                    **{f"published_{key}": value for key, value in published.items()},
                    "seconds": time.perf_counter() - begin,
                }


def _estimates(gfn: gfnjax.GFlowNet, state: training.RunState) -> dict[str, float]:
    """Means over twenty evaluations of 10,000 samples each: 200,000 as published."""
    rows = [
        SampledEvaluator(gfn, gfn.env.target(), number, 10_000).evaluate(state, None)
        for number in range(20)
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


TASKS = {"grid": grid, "permutations": permutations}


def _line(found: dict[str, Any]) -> str:
    shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
    return "  ".join(shown)


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(
        "python -m benchmarks cyclic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    weights = [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    parser.add_argument("--lambdas", type=float, nargs="+", default=weights)
    parser.add_argument("--side", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 20])
    parser.add_argument("--objectives", nargs="+", choices=list(PUBLISHED), default=["db-1e-3"])
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--output", type=Path)
    return parser.parse_args(arguments)
