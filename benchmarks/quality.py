"""Exact total variation after a fixed number of steps: python benchmarks/quality.py [--seeds 5]

Every number is computed by dynamic programming over all states, for several seeds; seconds are
those of training alone, after compilation.
"""

import argparse
import time

import jax
import numpy as np
import optax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, UniformBackward
from gfnjax.metrics import exact, state_graph
from gfnjax.training import run_chunk


def describe(side: int, objective: gfnjax.Objective, batch_size: int, rate: float) -> GFlowNet:
    """A two-dimensional grid, R0 = 0.1, with a uniform backward policy."""
    # There flows of states that are balanced one by one do better from 1 (docs/measured.md).
    local = isinstance(objective, gfnjax.DetailedBalance | gfnjax.FlowMatching)
    env = gfnjax.Hypergrid(2, side, gfnjax.corners("standard"))
    return GFlowNet(
        env,
        gfnjax.mlp_policy(env, (256, 256)),
        objective,
        backward=UniformBackward(),
        hyperparameters=Hyperparameters(learning_rate=rate),
        log_z_init=0.0 if local else "batch",
        batch_size=batch_size,
    )


def large_grid() -> GFlowNet:
    """The easy grid of side 20 in four dimensions, settings of the literature."""
    env = gfnjax.Hypergrid(4, 20, gfnjax.corners("easy"))
    schedule = optax.linear_schedule(0.1, 0.0, 30_000)
    return GFlowNet(
        env,
        gfnjax.mlp_policy(env, (256, 256)),
        gfnjax.TrajectoryBalance(),
        hyperparameters=Hyperparameters(epsilon=schedule),
    )


def measure(name: str, gfn: GFlowNet, num_steps: int, seeds: int) -> None:
    states = state_graph.build_graph(gfn.env)

    @jax.jit
    def evaluate(gfn, states, params):
        table = exact.policy_table(gfn.model, params)
        return exact.evaluate(states, table.log_pf).total_variation

    results = []
    for seed in range(seeds):
        state = jax.jit(gfn.init)(jax.random.key(seed))
        run_chunk(gfn, state, 1, num_steps)
        start = time.perf_counter()
        state, _ = run_chunk(gfn, state, num_steps, num_steps)
        seconds = time.perf_counter() - start
        results.append((float(evaluate(gfn, states, state.params)), seconds))
    distances, seconds = np.array(results).T
    print(
        f"| {name} | {num_steps:,} | {seeds} | {distances.mean():.4f} | "
        f"{distances.min():.4f} to {distances.max():.4f} | {np.median(seconds):.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    print("| grid | steps | seeds | mean TV | range | seconds a seed |\n|---|---|---|---|---|---|")
    balance = {
        "TB": gfnjax.TrajectoryBalance(),
        "DB": gfnjax.DetailedBalance(),
        "SubTB(0.9)": gfnjax.SubTrajectoryBalance(0.9),
    }
    for name, objective in balance.items():
        measure(f"16x16, batch 16, {name}", describe(16, objective, 16, 1e-3), 2_000, seeds)
    measure("8x8, batch 128, TB", describe(8, balance["TB"], 128, 1e-3), 250, seeds)
    flow = gfnjax.FlowMatching()
    measure("8x8, batch 128, FM", describe(8, flow, 128, 1e-3), 250, seeds)
    measure("20^4 easy, batch 16, TB", large_grid(), 6_250, min(seeds, 3))


if __name__ == "__main__":
    main()
