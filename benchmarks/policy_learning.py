"""Reinforcement learning on the 16 x 16 grid: python benchmarks/policy_learning.py [--seeds 5]

R0 = .1, uniform P_B, two layers of 256; exact total variation after a fixed number of steps, and
the seconds of training alone, after compilation. `--only NAME` for one of the methods.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, UniformBackward
from gfnjax.metrics import exact, state_graph
from gfnjax.objectives.entropy_ppo import EntropyPPO
from gfnjax.objectives.policy_gradient import PolicyGradient
from gfnjax.objectives.soft_q_learning import SoftDQN
from gfnjax.training import run_chunk

SIDE = 16


@dataclass(frozen=True)
class Method:
    """An objective with the settings it is run with."""

    objective: gfnjax.Objective
    num_steps: int
    goal: float
    options: dict[str, Any]


def decayed(rate: float, num_steps: int) -> Hyperparameters:
    return Hyperparameters(learning_rate=optax.cosine_decay_schedule(rate, num_steps, alpha=0.01))


Q_LEARNING = {
    "batch_size": 16,
    "regression": gfnjax.regression.huber,
    "target_rate": 0.25,
}
METHODS = {
    "PG, GAE": Method(PolicyGradient("gae"), 1_000, 0.05, {"batch_size": 64}),
    "Ent-PPO": Method(EntropyPPO(), 500, 0.05, {"batch_size": 64, "num_updates": 4}),
    "soft DQN": Method(SoftDQN(), 2_000, 0.08, Q_LEARNING),
    "Munchausen DQN": Method(SoftDQN(0.15), 2_000, 0.08, Q_LEARNING),
}


def describe(method: Method) -> GFlowNet:
    env = gfnjax.Hypergrid(2, SIDE, gfnjax.corners("standard"))
    return GFlowNet(
        env,
        gfnjax.mlp_policy(env, (256, 256)),
        method.objective,
        backward=UniformBackward(),
        hyperparameters=decayed(1e-3, method.num_steps),
        **method.options,
    )


def measure(name: str, method: Method, seeds: int) -> None:
    gfn = describe(method)
    states = state_graph.build_graph(gfn.env)

    @jax.jit
    def evaluate(gfn: GFlowNet, params: gfnjax.Params) -> exact.ExactMetrics:
        table = exact.policy_table(gfn.model, params)
        return exact.evaluate(states, table.log_pf, gfn.log_z(params))

    results = []
    for seed in range(seeds):
        state = jax.jit(gfn.init)(jax.random.key(seed))
        run_chunk(gfn, state, 1, method.num_steps)
        start = time.perf_counter()
        state, _ = run_chunk(gfn, state, method.num_steps, method.num_steps)
        seconds = time.perf_counter() - start
        metrics = evaluate(gfn, state.params)
        results.append((float(metrics.total_variation), float(metrics.log_z_error), seconds))
    distances, errors, seconds = np.array(results).T
    print(
        f"| {name} | {method.num_steps:,} x {gfn.batch_size} | {seeds} | {distances.mean():.4f} | "
        f"{distances.min():.4f} to {distances.max():.4f} | {errors.max():.3f} | {method.goal} | "
        f"{np.median(seconds):.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=METHODS)
    arguments = parser.parse_args()
    print(
        "| method | steps x batch | seeds | mean TV | range | largest error of log Z | goal | "
        "seconds a seed |\n|---|---|---|---|---|---|---|---|"
    )
    for name, method in METHODS.items():
        if arguments.only in (None, name):
            measure(name, method, arguments.seeds)


if __name__ == "__main__":
    main()
