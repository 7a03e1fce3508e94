"""What each feature costs a step, beside plain trajectory balance: python benchmarks/costs.py

All run on the 16 x 16 grid, MLP 2x256, batch 16, alternating in one process after a warm-up, so
that ratios hold on a noisy machine. Where trajectories get longer a step costs more, whatever the
feature: the last column is the cost of a live transition.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

import gfnjax
from gfnjax import GFlowNet
from gfnjax.algorithms import Teacher
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.run.build import build
from gfnjax.run.choices import configure
from gfnjax.training import init, run_chunk

TARGET = {"target_rate": 0.1}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "TB": ({}, {}),
    "DB": ({"objective": "db"}, {}),
    "SubTB": ({"objective": "subtb"}, {}),
    "FM": ({"objective": "fm"}, {}),
    "modified DB": ({"objective": "mdb"}, {}),
    "FL-DB": ({"objective": "fl-db"}, {}),
    "FL-SubTB": ({"objective": "fl-subtb"}, {}),
    "LED-DB": ({"objective": "led-db"}, {}),
    "soft DQN": ({"objective": "soft-dqn", **TARGET}, {}),
    "Munchausen": ({"objective": "munchausen", **TARGET}, {}),
    "GAE": ({"objective": "gae", "backward": "uniform"}, {}),
    "Ent-PPO, 4 updates": ({"objective": "ent-ppo", "num_updates": 4}, {}),
    "contrastive": ({"objective": "contrastive"}, {}),
    "RTB": ({"objective": "rtb"}, {}),
    "GA-TB": ({"objective": "ga-tb"}, {}),
    "P_B by likelihood (TLM)": ({"backward": "tlm"}, {}),
    "P_B pessimistic": ({"backward": "pessimistic"}, {}),
    "P_B by path counts, learned": ({"backward": "path-counts"}, {}),
    "stop-flattening": ({"temperature": 2.0}, {"exploration": "stop-flattening"}),
    "Thompson, 5 members": ({}, {"thompson": 5}),
    "teacher": ({}, {"teacher_share": 0.5}),
    "windows of 8, DB": ({"objective": "db"}, {"window": 8}),
    "replay, FIFO": ({}, {"replay": "fifo"}),
    "replay, by reward": ({}, {"replay": "prioritised"}),
    "replay, by residual": ({}, {"replay": "residual"}),
    "replay, objects only": ({}, {"replay": "terminal"}),
    "replay, distinct objects": ({}, {"replay": "fifo", "unique": True}),
    "local search, 4 rounds": ({}, {"local_search": 4}),
    "PPO on the reward, 4 updates": ({"objective": "ppo", "num_updates": 4}, {}),
    "SAC on the reward": ({"objective": "sac", **TARGET}, {}),
}


def describe(training: dict[str, Any], sampling: dict[str, Any]) -> GFlowNet | Teacher:
    gfn = build(configure("hypergrid", side=16, batch_size=16, **training, **sampling))
    assert isinstance(gfn, GFlowNet | Teacher)
    return gfn


def conditional() -> GFlowNet:
    env = temperature_conditional(gfnjax.Hypergrid(2, 16), 0.5, 2.0)
    return GFlowNet(env, gfnjax.mlp_policy(env), gfnjax.TrajectoryBalance("flow"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="steps a measurement")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    gfns = {name: describe(*case) for name, case in CASES.items()}
    gfns["condition: reward temperature"] = conditional()
    states, seconds, lengths = {}, {}, {}
    for name, gfn in gfns.items():
        state = init(gfn, jax.random.key(0))
        states[name], _ = run_chunk(gfn, state, options.steps, options.steps)
        seconds[name] = []
    for _ in range(options.rounds):
        for name, gfn in gfns.items():
            start = time.perf_counter()
            _, info = run_chunk(gfn, states[name], options.steps, options.steps)
            seconds[name].append((time.perf_counter() - start) / options.steps)
            lengths[name] = float(info.length.mean())
    plain, plain_transition = np.array(seconds["TB"]), np.array(seconds["TB"]) / lengths["TB"]
    print("| feature | ms a step | beside TB | mean length | a transition beside TB |")
    print("|---|---|---|---|---|")
    for name, times in seconds.items():
        ratio = np.median(np.array(times) / plain)
        transition = np.median(np.array(times) / lengths[name] / plain_transition)
        print(
            f"| {name} | {1e3 * np.median(times):.2f} | {ratio:.2f} | {lengths[name]:.1f} | "
            f"{transition:.2f} |"
        )


if __name__ == "__main__":
    main()
