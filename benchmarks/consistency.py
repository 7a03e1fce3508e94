"""Flow consistency in sub-graphs beside the exact distance: python -m benchmarks consistency

Policies of several methods at several steps of training, each with its exact total variation to the
target and its FCS (`gfnjax.metrics.flow_consistency`):

    exact      exact p, objects drawn uniformly
    own        exact p, objects drawn by the policy
    estimated  p from backward trajectories, objects drawn by the policy, as where none can list all

and Spearman's rank correlation of each with the total variation, for each task. Published: .99 on
sets, .90 on sequences. `fl-db-free` is forward-looking detailed balance whose terminal flow is not
tied to the reward: its loss vanishes at other policies, and only a distance tells.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.stats import spearmanr

import gfnjax
from benchmarks import jax_side, trainer
from gfnjax import GFlowNet, UniformBackward
from gfnjax.envs import additive_set, tfbind8
from gfnjax.metrics import exact, flow_consistency
from gfnjax.metrics.state_graph import StateGraph, build_graph
from gfnjax.objectives import (
    DetailedBalance,
    ForwardLooking,
    FTrajectoryBalance,
    Objective,
    SubTrajectoryBalance,
    TrajectoryBalance,
    WeightedDetailedBalance,
)
from gfnjax.training import init, run_chunk

METHODS: dict[str, Callable[[], Objective]] = {
    "tb": TrajectoryBalance,
    "db": DetailedBalance,
    "wdb": lambda: WeightedDetailedBalance(0.5),
    "subtb": lambda: SubTrajectoryBalance(0.9),
    "f-tb": FTrajectoryBalance,
    "fl-db": lambda: ForwardLooking(DetailedBalance()),
    "fl-db-free": lambda: ForwardLooking(DetailedBalance(), anchor_terminal=False),
}
FORWARD_LOOKING = "fl-db", "fl-db-free"
TASKS: dict[str, Callable[[], Any]] = {
    "grid": lambda: gfnjax.Hypergrid(2, 8, gfnjax.corners("standard")),
    "sets": lambda: additive_set(np.random.default_rng(0).normal(size=12), 6),
    "tfbind8": tfbind8,
}
KINDS = "exact", "own", "estimated"


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    for task in options.task:
        rows = []
        for row in _rows(task, options):
            rows.append(row)
            print(_line(row), flush=True)
            if options.output:
                with options.output.open("a") as file:
                    print(json.dumps(row | jax_side.about() | trainer.host()), file=file)
        for kind in KINDS:
            found = spearmanr([row[kind] for row in rows], [row["tv"] for row in rows])
            print(f"{task}: Spearman of {kind} FCS and TV {found.statistic:.3f}, n {len(rows)}")
    return 0


def _rows(task: str, options: Any) -> Iterator[dict[str, Any]]:
    env = TASKS[task]()
    graph = build_graph(env)
    names = options.method or [n for n in METHODS if task == "sets" or n not in FORWARD_LOOKING]
    for name in names:
        gfn = GFlowNet(
            env,
            gfnjax.mlp_policy(env, (64, 64)),
            METHODS[name](),
            backward=UniformBackward(),
            batch_size=32,
        )
        for seed in range(options.seeds):
            state, done = init(gfn, jax.random.key(seed)), 0
            for step in options.steps:
                begin, loss = time.perf_counter(), float("nan")
                if step > done:
                    state, infos = run_chunk(gfn, state, step - done, max(options.steps))
                    loss = float(np.asarray(infos.loss)[step - done - 1])
                seconds, done = time.perf_counter() - begin, step
                row = {"task": task, "method": name, "seed": seed, "step": step, "loss": loss}
                yield row | measure(gfn, graph, state, options) | {"seconds": seconds}


def measure(gfn: GFlowNet, graph: StateGraph, state: Any, options: Any) -> dict[str, float]:
    """Total variation, FCS of each kind with its standard error, and noise of the last."""
    table = exact.policy_table(gfn.model, state.params)
    log_p = exact.terminating_distribution(graph, table.log_pf)
    log_q, _ = exact.target_distribution(graph)
    keys = jax.random.split(jax.random.key(state.step), 3)
    sizes = options.sets, options.set_size
    given = gfn.model, state.params, keys[2], *sizes, options.trajectories
    found = {
        "exact": flow_consistency.of_table(log_p, log_q, keys[0], *sizes),
        "own": flow_consistency.of_table(log_p, log_q, keys[1], *sizes, log_p),
        "estimated": flow_consistency.of_policy(*given),
    }
    values = {"tv": float(exact.evaluate(graph, table.log_pf).total_variation)}
    for kind, each in found.items():
        values |= {kind: float(each.mean), f"{kind}_error": float(each.standard_error)}
    return values | {"noise": float(found["estimated"].noise)}


def _line(found: dict[str, Any]) -> str:
    shown = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
    return "  ".join(shown)


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(
        "python -m benchmarks consistency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--method", nargs="+", choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=2)
    steps = [0, 50, 100, 200, 400, 800, 1_600]
    parser.add_argument("--steps", type=int, nargs="+", default=steps, help="rising")
    parser.add_argument("--sets", type=int, default=64, help="sets of objects that FCS looks at")
    parser.add_argument("--set-size", type=int, default=32)
    parser.add_argument("--trajectories", type=int, default=16, help="backward, of each object")
    parser.add_argument("--output", type=Path, help="append a JSON line a policy")
    return parser.parse_args(arguments)
