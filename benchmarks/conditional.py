"""One network for all conditions: python benchmarks/conditional.py [--seeds 3] [--steps 2000]

Exact total variation and error of log Z at fixed conditions, by dynamic programming over all
states. "alone" is a GFlowNet without a condition, trained as long for that reward only.
"""

import argparse
import dataclasses
import time

import jax
import numpy as np

import gfnjax
from gfnjax import GFlowNet, UniformBackward
from gfnjax.envs import additive_set
from gfnjax.envs.conditional import Conditional, preference_conditional, temperature_conditional
from gfnjax.metrics import exact, state_graph
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.rewards.sets import SetEnergy
from gfnjax.training import init, run_chunk

OBJECTIVES = {
    "TB": gfnjax.TrajectoryBalance(log_z="flow"),
    "DB": gfnjax.DetailedBalance(),
    "SubTB(0.9)": gfnjax.SubTrajectoryBalance(0.9),
}
BETAS = (0.5, 1.0, 2.0, 4.0)
PREFERENCES = ((0.9, 0.1), (0.5, 0.5), (0.1, 0.9))


def describe(env: gfnjax.Environment, objective: gfnjax.Objective) -> GFlowNet:
    policy = gfnjax.mlp_policy(env, (128, 128))
    return GFlowNet(env, policy, objective, backward=UniformBackward(), batch_size=64)


@jax.jit
def evaluate(gfn: GFlowNet, states: StateGraph, params: gfnjax.Params) -> exact.ExactMetrics:
    table = exact.policy_table(gfn.model, params)
    return exact.evaluate(states, table.log_pf, gfn.log_z(params))


def measure(name: str, gfn: GFlowNet, conditions: tuple, num_steps: int, seeds: int) -> None:
    fixed = [gfn if c is None else dataclasses.replace(gfn, env=gfn.env.at(c)) for c in conditions]
    graphs = [state_graph.build_graph(each.env) for each in fixed]
    results, seconds = [], []
    for seed in range(seeds):
        state = init(gfn, jax.random.key(seed))
        if seed == 0:
            run_chunk(gfn, state, 1, num_steps)
        start = time.perf_counter()
        state, _ = run_chunk(gfn, state, num_steps, num_steps)
        seconds.append(time.perf_counter() - start)
        found = [evaluate(g, s, state.params) for g, s in zip(fixed, graphs, strict=True)]
        results.append([(float(m.total_variation), float(m.log_z_error)) for m in found])
    for condition, rows in zip(conditions, np.swapaxes(results, 0, 1), strict=True):
        distances, errors = rows.T
        print(
            f"| {name} | {'alone' if condition is None else condition} | {distances.mean():.4f} | "
            f"{distances.min():.4f} to {distances.max():.4f} | {errors.mean():.4f} | "
            f"{np.median(seconds):.0f} |",
            flush=True,
        )


def problems() -> dict[str, tuple[Conditional, tuple]]:
    grid = gfnjax.Hypergrid(2, 8, gfnjax.corners("standard"))
    rng = np.random.default_rng(0)
    small = additive_set(rng.normal(size=8), 4)
    other = SetEnergy(jax.numpy.asarray(rng.normal(size=8), "float32"))
    return {
        "8x8, beta": (temperature_conditional(grid, 0.5, 4.0), BETAS),
        "8x8, preferences": (
            preference_conditional(grid, gfnjax.Corners(), gfnjax.Cosine()),
            PREFERENCES,
        ),
        "4 of 8, preferences": (preference_conditional(small, small.reward, other), PREFERENCES),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--only", default="", help="problems and objectives that contain this text")
    arguments = parser.parse_args()
    print("| problem | condition | mean TV | range | error of log Z | seconds a seed |")
    print("|---|---|---|---|---|---|")
    for problem, (env, conditions) in problems().items():
        for name, objective in OBJECTIVES.items():
            if arguments.only in f"{problem}, {name}":
                gfn = describe(env, objective)
                measure(f"{problem}, {name}", gfn, conditions, arguments.steps, arguments.seeds)
    beta = problems()["8x8, beta"][0]
    for value in (BETAS[0], BETAS[-1]):
        env = beta.at(value)
        gfn = describe(env, OBJECTIVES["TB"])
        name = f"8x8, beta {value:g} only, TB"
        if arguments.only in name:
            measure(name, gfn, (None,), arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()
