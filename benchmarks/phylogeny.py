"""How few changes a tree needs: python benchmarks/phylogeny.py [--dataset DS1] [--seeds 3]

Trains on a benchmark alignment (which needs its data file, see `gfnjax.data`) and prints, per
seed, the parsimony of samples before training (merges at probability exp(-changes / 4)), of
samples after it, and the best tree among all samples drawn without exploration: 64 after every
fifty steps and 1,024 at the end.

The settings published for these data (forward-looking detailed balance, transformer of 6 layers,
batch 32, 100,000 steps) are cut down to minutes on a CPU: the variance of log Z over the batch,
which needs no estimate of log Z, near 450 nats here, and a network that sees the merge costs and
not the 929 columns.
"""

import argparse
import time
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, TrainState
from gfnjax.envs.phylogeny import phylogeny_benchmark
from gfnjax.policies.forest import forest_policy
from gfnjax.training import Chunk

BATCH = 64
FINAL_BATCHES = 16


class Result(NamedTuple):
    """Parsimony `[1024]` of samples before and after training, the best tree seen, its text."""

    before: np.ndarray
    after: np.ndarray
    best: int
    newick: str


def describe(dataset: str, num_steps: int, rate: float, batch_size: int) -> GFlowNet:
    env = phylogeny_benchmark(dataset)
    return GFlowNet(
        env,
        forest_policy(env, width=32, num_heads=4, num_layers=1, read_sets=False),
        gfnjax.LogPartitionVariance(),
        backward=gfnjax.UniformBackward(),
        batch_size=batch_size,
        hyperparameters=Hyperparameters(
            learning_rate=optax.cosine_decay_schedule(rate, num_steps, alpha=0.03),
            epsilon=optax.linear_schedule(0.05, 0.0, num_steps // 2),
        ),
        regression=gfnjax.regression.huber,
    )


@partial(jax.jit, static_argnames="size")
def draw(gfn: GFlowNet, state: TrainState, key: jax.Array, size: int):
    return gfnjax.terminal_states(gfn.sample(state.params, key, size))


def run(gfn: GFlowNet, seed: int, num_steps: int, verbose: bool) -> Result:
    key = jax.random.key(seed)
    best, newick = np.iinfo(np.int32).max, ""

    def sample(state: TrainState, num_batches: int) -> np.ndarray:
        nonlocal best, newick
        found = []
        for i in range(num_batches):
            trees = draw(gfn, state, jax.random.fold_in(jax.random.key(2**20 + i), seed), BATCH)
            found.append(np.asarray(trees.parsimony))
            first = int(found[-1].argmin())
            if found[-1][first] < best:
                best = int(found[-1][first])
                newick = gfn.env.newick(jax.tree.map(lambda x, i=first: x[i], trees))
        return np.concatenate(found)

    def callback(chunk: Chunk) -> bool:
        found = sample(chunk.state, 1)
        if verbose:
            loss = float(chunk.info.loss.mean())
            numbers = f"{found.mean():.1f} +- {found.std():.1f}, best {best}, loss {loss:.2f}"
            print(f"  {int(chunk.state.step)} {numbers}", flush=True)
        return False

    before = sample(jax.jit(gfn.init)(key), FINAL_BATCHES)
    best = np.iinfo(np.int32).max
    state, _ = gfnjax.train(gfn, key, num_steps, chunk_size=50, callback=callback)
    return Result(before, sample(state, FINAL_BATCHES), best, newick)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="DS1", choices=[f"DS{i}" for i in range(1, 9)])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--verbose", action="store_true", help="print every measurement")
    options = parser.parse_args()
    gfn = describe(options.dataset, options.steps, options.rate, options.batch)
    print("| data | seed | before: mean +- sd, best | after | best seen | seconds | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for seed in range(options.seeds):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = run(gfn, seed, options.steps, options.verbose)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        before, after = (
            f"{x.mean():.1f} +- {x.std():.1f}, {x.min()}" for x in (result.before, result.after)
        )
        row = options.dataset, seed, before, after, result.best, f"{wall:.0f}", f"{cpu:.0f}"
        print(f"| {' | '.join(map(str, row))} |", flush=True)
        if options.verbose:
            print(f"  {result.newick}", flush=True)


if __name__ == "__main__":
    main()
