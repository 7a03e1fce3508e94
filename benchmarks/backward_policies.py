"""Backward policies at equal steps: python benchmarks/backward_policies.py [--steps 6250]

The easy grid of side 20 in four dimensions, trajectory balance, batch 16, rates 1e-3 / 0.1, for
each backward policy: exact total variation over all 160,000 objects, for several seeds. Backward
policies with a training of their own have a second network of the same size, so their steps cost
more: seconds are those of training alone, after compilation.
"""

import argparse
import time

import jax
import numpy as np
import optax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters
from gfnjax.metrics import exact, state_graph
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.policies import (
    LearnedMaximumEntropyBackward,
    LikelihoodBackward,
    PessimisticBackward,
)
from gfnjax.training import run_chunk

SCHEDULE = optax.linear_schedule(0.1, 0.0, 30_000)


def backwards(policy: gfnjax.Policy, states: StateGraph) -> dict:
    """What is compared, by name."""
    return {
        "uniform": gfnjax.UniformBackward(),
        "learned": gfnjax.LearnedBackward(),
        "tlm": LikelihoodBackward(policy),
        "tlm-slow": LikelihoodBackward(policy, target_rate=0.05),
        "pessimistic": PessimisticBackward(policy, capacity=4_000),
        "maximum-entropy": gfnjax.MaximumEntropyBackward(exact.log_path_counts(states)),
        "learned-maximum-entropy": LearnedMaximumEntropyBackward(policy),
    }


@jax.jit
def total_variation(gfn: GFlowNet, states: StateGraph, params: gfnjax.Params) -> jax.Array:
    table = exact.policy_table(gfn.model, params)
    return exact.evaluate(states, table.log_pf).total_variation


def measure(gfn: GFlowNet, states: StateGraph, num_steps: int, seed: int) -> tuple:
    """Exact total variation and seconds of one run."""
    state = jax.jit(gfn.init)(jax.random.key(seed))
    run_chunk(gfn, state, 1, num_steps)
    start = time.perf_counter()
    state, _ = run_chunk(gfn, state, num_steps, num_steps)
    seconds = time.perf_counter() - start
    return float(total_variation(gfn, states, state.params)), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6_250)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=20)
    parser.add_argument("--backward-rate", type=float, default=1e-3)
    parser.add_argument("--only", nargs="*", help="names of backward policies")
    options = parser.parse_args()
    env = gfnjax.Hypergrid(4, options.side, gfnjax.corners("easy"))
    policy, states = gfnjax.mlp_policy(env, (256, 256)), state_graph.build_graph(env)
    rates = Hyperparameters(epsilon=SCHEDULE, backward_learning_rate=options.backward_rate)
    print("| P_B | steps | seeds | mean TV | range | seconds a seed |\n|---|---|---|---|---|---|")
    for name, backward in backwards(policy, states).items():
        if options.only and name not in options.only:
            continue
        gfn = GFlowNet(env, policy, gfnjax.TrajectoryBalance(), backward, rates)
        runs = [measure(gfn, states, options.steps, seed) for seed in range(options.seeds)]
        distances, seconds = np.array(runs).T
        print(
            f"| {name} | {options.steps:,} | {options.seeds} | {distances.mean():.4f} | "
            f"{distances.min():.4f} to {distances.max():.4f} | {np.median(seconds):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
