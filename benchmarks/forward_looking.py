"""Local credit and incomplete trajectories on sets: python benchmarks/forward_looking.py

The claim of "Better Training of GFlowNets with Local Credit and Incomplete Trajectories"
(2302.01687), with the terminal flow anchored. The published sets; TB, DB, SubTB, FL-DB and
FL-SubTB on complete trajectories, and all but TB on windows of unfinished ones. Measured: the mean
reward of the best 100 distinct sets seen among 16 extra samples a step without exploration, the
error of log Z, and the largest error of an item's marginal. The truth of all three is exact; how
much of the best 100 a perfect sampler would have found by then is sampled, and drawn beside them.

Results go to a JSON file as they come, one run a line; runs that are there already are not
repeated. At the end, or with --draw, they become a table and a picture.
"""

import argparse
import json
import time
from collections import defaultdict
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gfnjax
from gfnjax import (
    DetailedBalance,
    ForwardLooking,
    GFlowNet,
    Hyperparameters,
    SubTrajectoryBalance,
    TrajectoryBalance,
)
from gfnjax.envs import published_set
from gfnjax.rewards.sets import best_log_rewards, draw_sets, published_energies, set_truth
from gfnjax.samplers import OnPolicy, Windows
from gfnjax.training import Chunk

METHODS = {
    "TB": TrajectoryBalance(),
    "DB": DetailedBalance(),
    "SubTB": SubTrajectoryBalance(0.9),
    "FL-DB": ForwardLooking(DetailedBalance()),
    "FL-SubTB": ForwardLooking(SubTrajectoryBalance(0.9)),
}
STEPS = {"small": 4_000, "medium": 2_000, "large": 2_000}
SIZES = tuple(STEPS)
BATCH, EXTRA, BEST = 16, 16, 100
WINDOW = 16
CHUNK = 50
CHECKED = 20_000


def describe(variant: str, method: str, incomplete: bool) -> GFlowNet:
    """The published setup: an MLP n-256-256, Adam 1e-3, log Z .1 and from 0, batch 16."""
    env = published_set(variant)
    return GFlowNet(
        env,
        gfnjax.mlp_policy(env, (256, 256), "leaky_relu"),
        METHODS[method],
        hyperparameters=Hyperparameters(1e-3, 0.1),
        log_z_init=0.0,
        batch_size=BATCH,
        sampler=Windows(WINDOW) if incomplete else OnPolicy(),
    )


@partial(jax.jit, static_argnames="count")
def draw_samples(gfn: GFlowNet, params: Any, key: jax.Array, count: int) -> tuple:
    trajectories = gfn.sample(params, key, count)
    return gfnjax.terminal_states(trajectories).members, trajectories.log_reward


class BestSets:
    """The best distinct sets seen so far."""

    def __init__(self) -> None:
        self._codes = np.zeros((0, 1), np.uint8)
        self._log_rewards = np.zeros(0)

    def add(self, members: np.ndarray, log_rewards: np.ndarray) -> float:
        """Take samples in; the mean reward of the best ones."""
        codes = np.packbits(members, axis=1)
        if len(self._codes):
            codes = np.concatenate([self._codes, codes])
        log_rewards = np.concatenate([self._log_rewards, log_rewards])
        codes, first = np.unique(codes, axis=0, return_index=True)
        order = np.argsort(-log_rewards[first])[:BEST]
        self._codes, self._log_rewards = codes[order], log_rewards[first][order]
        return float(np.exp(self._log_rewards).sum() / BEST)


def run(variant: str, method: str, incomplete: bool, seed: int, num_steps: int) -> dict[str, Any]:
    """One training run: the curve of the best sets, and the errors at its end."""
    gfn = describe(variant, method, incomplete)
    truth = set_truth(*published_energies(variant))
    best, curve, transitions = BestSets(), [], 0.0

    def callback(chunk: Chunk) -> None:
        nonlocal transitions
        step = int(chunk.state.step)
        key = jax.random.fold_in(jax.random.key(seed + 1_000), step)
        drawn = map(np.asarray, draw_samples(gfn, chunk.state.params, key, EXTRA * CHUNK))
        transitions += float(chunk.info.length.sum()) * BATCH
        error = abs(float(gfn.log_z(chunk.state.params)) - truth.log_z)
        curve.append((step, transitions, best.add(*drawn), error))

    start = time.perf_counter()
    state, _ = gfnjax.train(
        gfn, jax.random.key(seed), num_steps, chunk_size=CHUNK, callback=callback
    )
    seconds = time.perf_counter() - start
    keys = jax.random.split(jax.random.key(seed), CHECKED // 2_000)
    found = [draw_samples(gfn, state.params, key, 2_000)[0].mean(axis=0) for key in keys]
    return {
        "variant": variant,
        "method": method,
        "incomplete": incomplete,
        "seed": seed,
        "curve": curve,
        "log_z_error": abs(float(gfn.log_z(state.params)) - truth.log_z),
        "marginal_error": float(np.abs(np.mean(found, axis=0) - truth.marginals).max()),
        "seconds": seconds,
    }


def grouped(results: list[dict]) -> dict[tuple, list[dict]]:
    groups = defaultdict(list)
    for result in results:
        groups[result["variant"], result["incomplete"], result["method"]].append(result)
    return dict(sorted(groups.items(), key=lambda g: (SIZES.index(g[0][0]), g[0][1])))


def optimum(variant: str) -> float:
    """The mean reward of the best sets there are."""
    return float(np.exp(best_log_rewards(*published_energies(variant), BEST)).mean())


def shares(runs: list[dict]) -> np.ndarray:
    """`[seeds, visits]` the mean reward of the best sets so far, of the best there are."""
    return column(runs, 2) / optimum(runs[0]["variant"])


def column(runs: list[dict], entry: int) -> np.ndarray:
    """`[seeds, visits]` one number of every point of the curves."""
    return np.array([[point[entry] for point in run["curve"]] for run in runs])


@lru_cache
def perfect(variant: str, steps: tuple[int, ...]) -> np.ndarray:
    """`[5, visits]` the shares that independent draws from R / Z reach by each of the steps."""
    energies, set_size = published_energies(variant)
    rows = []
    for seed in range(5):
        rng, best, row, before = np.random.default_rng(seed), BestSets(), [], 0
        for step in steps:
            members = draw_sets(energies, set_size, EXTRA * (step - before), rng)
            row.append(best.add(members, -(members @ energies)))
            before = step
        rows.append(row)
    return np.array(rows) / optimum(variant)


def mean_and_spread(values: Any) -> str:
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=min(len(values) - 1, 1)):.3f}"


def table(results: list[dict]) -> None:
    print(
        "| set | trajectories | method | best 100 of the optimum, halfway | at the end | "
        "error of log Z | of a marginal | seeds | s |\n" + "|---" * 9 + "|"
    )
    for (variant, incomplete, method), runs in grouped(results).items():
        share = shares(runs)
        numbers = [
            share[:, share.shape[1] // 2 - 1],
            share[:, -1],
            [r["log_z_error"] for r in runs],
            [r["marginal_error"] for r in runs],
        ]
        kind = "windows" if incomplete else "complete"
        seconds = np.median([r["seconds"] for r in runs])
        row = variant, kind, method, *map(mean_and_spread, numbers), len(runs), f"{seconds:.0f}"
        print(f"| {' | '.join(map(str, row))} |")
    for variant, runs in by_variant(results).items():
        share = perfect(variant, tuple(int(step) for step in column(runs[:1], 0)[0]))
        cells = [mean_and_spread(share[:, k]) for k in (share.shape[1] // 2 - 1, -1)]
        print(f"| {variant} | independent draws from R / Z | | {' | '.join(cells)} | 0 | 0 | 5 | |")


def by_variant(results: list[dict]) -> dict[str, list[dict]]:
    return {
        t: [r for r in results if r["variant"] == t] for t in SIZES if t in variants_of(results)
    }


def variants_of(results: list[dict]) -> set[str]:
    return {r["variant"] for r in results}


def picture(results: list[dict], path: Path) -> None:
    """The best sets and the error of log Z against training steps, all seeds."""
    from matplotlib.figure import Figure

    variants = by_variant(results)
    figure = Figure(figsize=(4 * len(variants), 11))
    axes = figure.subplots(4, len(variants), sharex="col", squeeze=False)
    for (variant, incomplete, method), runs in grouped(results).items():
        share_ax, error_ax = axes[int(incomplete) :: 2, list(variants).index(variant)]
        color = f"C{list(METHODS).index(method)}"
        for ax, values in ((share_ax, shares(runs)), (error_ax, column(runs, 3))):
            steps = column(runs[:1], 0)[0]
            ax.plot(steps, values.mean(axis=0), color=color, label=method)
            low, high = values.min(axis=0), values.max(axis=0)
            ax.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)
    for variant, runs in variants.items():
        steps = column(runs[:1], 0)[0]
        share = perfect(variant, tuple(int(step) for step in steps)).mean(axis=0)
        for ax in axes[:2, list(variants).index(variant)]:
            ax.plot(steps, share, color="black", ls=":", label="draws from R / Z")
    label_axes(axes, list(variants))
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def label_axes(axes: np.ndarray, variants: list[str]) -> None:
    for ax, variant in zip(axes[0], variants, strict=True):
        ax.set_title(variant)
    for ax in axes[-1]:
        ax.set_xlabel("training step")
    what = ("best 100 / optimum", "error of log Z, nats")
    kinds = ("complete trajectories", f"windows of {WINDOW} steps")
    for row, (label, kind) in zip(axes, product(what, kinds), strict=True):
        row[0].set_ylabel(f"{kind}\n{label}")
        for ax in row:
            ax.grid(alpha=0.3)
            if label.startswith("error"):
                ax.set_yscale("log")
            else:
                ax.set_ylim(bottom=0)
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="a multiple of 100, instead of 4,000 or 2,000")
    parser.add_argument("--output", type=Path, default=Path("runs/forward_looking.jsonl"))
    parser.add_argument("--picture", type=Path, default=Path("docs/forward_looking.png"))
    parser.add_argument("--draw", action="store_true", help="only table and picture")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    results = [json.loads(line) for line in lines]
    done = {(r["variant"], r["method"], r["incomplete"], r["seed"]) for r in results}
    wanted = [
        (variant, method, incomplete, seed)
        for seed in range(options.seeds)
        for variant in options.variants
        for incomplete in (False, True)
        for method in METHODS
        if not (incomplete and method == "TB")
    ]
    for case in wanted:
        if options.draw or case in done:
            continue
        results.append(run(*case, options.steps or STEPS[case[0]]))
        with options.output.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
        last = {k: v for k, v in results[-1].items() if k != "curve"}
        print(last, f"best {results[-1]['curve'][-1][2]:.4g}", flush=True)
    table(results)
    picture(results, options.picture)


if __name__ == "__main__":
    main()
