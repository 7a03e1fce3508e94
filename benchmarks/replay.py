"""What replay and local search cost and pay: python benchmarks/replay.py [--quick] [--only x]

Trajectory balance on a hard 16x16 grid (R0 = .001), batch 16, an MLP of 2x128: exact total
variation after the same number of steps, and milliseconds a step. A searched trajectory costs
two rollouts a round, a replayed one none. The last table compares capacities, and a buffer that
is new with one that is not: a step must not cost more the more it has seen.
"""

import argparse
import time

import jax
import numpy as np

from gfnjax import (
    Corners,
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    TrajectoryBalance,
    mlp_policy,
)
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.replay import Fifo, ResidualPrioritised, RewardPrioritised, TerminalReplay
from gfnjax.samplers import Mixed, OnPolicy, Windows
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.training import init, run_chunk

ENV = Hypergrid(2, 16, Corners(1e-3, 0.5, 2.0))
POLICY = mlp_policy(ENV, (128, 128))
CAPACITY = 2000
SAMPLERS = {
    "OnPolicy()": OnPolicy(),
    "Fifo": Mixed(Fifo(CAPACITY)),
    "RewardPrioritised": Mixed(RewardPrioritised(CAPACITY)),
    "RewardPrioritised, unique": Mixed(RewardPrioritised(CAPACITY, unique=True)),
    "ResidualPrioritised": Mixed(ResidualPrioritised(CAPACITY)),
    "TerminalReplay(Fifo)": Mixed(TerminalReplay(Fifo(CAPACITY))),
    "greedy search": Mixed(local_search=LocalSearch()),
    "Metropolis search": Mixed(local_search=LocalSearch(acceptance="metropolis")),
    "all: reward, unique, greedy": Mixed(
        RewardPrioritised(CAPACITY, unique=True), 0.5, LocalSearch(), 0.25
    ),
    "Windows(4), DB": Windows(4),
    "Windows(4), DB, RewardPrioritised": Mixed(RewardPrioritised(CAPACITY), fresh=Windows(4)),
}


def describe(sampler, windows=False):
    objective = DetailedBalance() if windows else TrajectoryBalance()
    rates = Hyperparameters(1e-3, 0.1, epsilon=0.05)
    return GFlowNet(ENV, POLICY, objective, hyperparameters=rates, sampler=sampler)


def timed(gfn, state, num_steps):
    start = time.perf_counter()
    state, _ = run_chunk(gfn, state, num_steps, num_steps)
    jax.block_until_ready(state)
    return state, 1e3 * (time.perf_counter() - start) / num_steps


def quality(seeds, num_steps):
    graph = build_graph(ENV)

    @jax.jit
    def total_variation(gfn, params):
        table = exact.policy_table(gfn.model, params)
        return exact.evaluate(graph, table.log_pf).total_variation

    print("| sampler | total variation | spread | ms a step |")
    print("|---|---|---|---|")
    for name, sampler in SAMPLERS.items():
        gfn = describe(sampler, "DB" in name)
        run_chunk(gfn, init(gfn, jax.random.key(0)), num_steps, num_steps)
        runs = [timed(gfn, init(gfn, jax.random.key(s)), num_steps) for s in range(seeds)]
        tvs = np.array([total_variation(gfn, state.params) for state, _ in runs])
        cost = np.median([ms for _, ms in runs])
        print(f"| {name} | {tvs.mean():.3f} | {tvs.std():.3f} | {cost:.2f} |", flush=True)


def capacities():
    print("| capacity | buffer | ms a step, new | ms a step, after 1000 steps |")
    print("|---|---|---|---|")
    kinds = {
        "Fifo": Fifo,
        "RewardPrioritised": RewardPrioritised,
        "RewardPrioritised, unique": lambda c: RewardPrioritised(c, unique=True),
        "ResidualPrioritised": ResidualPrioritised,
    }
    for capacity in (1_000, 100_000):
        for name, make in kinds.items():
            gfn = describe(Mixed(make(capacity)))
            start = init(gfn, jax.random.key(0))
            run_chunk(gfn, start, 200, 200)
            first = np.median([timed(gfn, start, 200)[1] for _ in range(3)])
            state = start
            for _ in range(5):
                state, _ = timed(gfn, state, 200)
            later = np.median([timed(gfn, state, 200)[1] for _ in range(3)])
            print(f"| {capacity} | {name} | {first:.2f} | {later:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("quality", "capacities"), help="one of the tables")
    options = parser.parse_args()
    seeds, num_steps = (1, 200) if options.quick else (options.seeds, 2000)
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, {num_steps} steps\n")
    if options.only != "capacities":
        quality(seeds, num_steps)
        print()
    if options.only != "quality":
        capacities()


if __name__ == "__main__":
    main()
