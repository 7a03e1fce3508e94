"""How long sequences and sets take to be learned: python benchmarks/sequences.py [PROBLEM ...]

Exact total variation on TFBind8 and QM9-small (which needs its data file, see `gfnjax.data`), and
the largest error of an item's marginal on the medium sets. Each seed stops when it has
reached its goal twice in a row. Seconds are those of training, compilation included.

The settings of the literature for the sequences (`--published`: MLP 2x256 on one-hot letters,
batch 16, a constant rate, up to a million steps) need hours. By default the first layer looks up
whole words at their positions instead of single letters, which costs hardly more a step and fits
a table of measurements much faster; batches are larger and the rate falls to zero.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, TrainState
from gfnjax.envs.sequences import FixedSequence, qm9_small, tfbind8
from gfnjax.envs.sets import Set, published_set
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import StateGraph, build_graph
from gfnjax.policies.mlp import MLP
from gfnjax.rewards.sets import set_truth
from gfnjax.training import Chunk

Measure = Callable[[TrainState], float]


class Problem(NamedTuple):
    """A run, what is measured after every chunk of steps, and when that is good enough."""

    gfn: GFlowNet
    measure: Measure
    goal: float
    num_steps: int
    chunk_size: int


def total_variation(gfn: GFlowNet, graph: StateGraph) -> Measure:
    @jax.jit
    def measure(gfn, graph, params):
        table = exact.policy_table(gfn.model, params)
        return exact.evaluate(graph, table.log_pf).total_variation

    return lambda state: float(measure(gfn, graph, state.params))


def marginal_error(gfn: GFlowNet, num_batches: int = 25, batch_size: int = 2_000) -> Measure:
    """Largest |frequency - probability| of an item; its standard error is .0022 at most."""
    truth = set_truth(np.asarray(gfn.env.reward.energies), gfn.env.set_size)

    @partial(jax.jit, static_argnames="size")
    def frequencies(gfn, params, key, size):
        samples = gfnjax.terminal_states(gfn.sample(params, key, size))
        return samples.members.mean(axis=0)

    def measure(state: TrainState) -> float:
        keys = jax.random.split(jax.random.key(1), num_batches)
        found = [frequencies(gfn, state.params, key, batch_size) for key in keys]
        return float(np.abs(np.mean(found, axis=0) - truth.marginals).max())

    return measure


def word_policy(env: FixedSequence, size: int, width: int) -> gfnjax.Policy:
    """One hidden layer on all words of `size` neighbouring letters, told apart by position."""
    letters, num_words = env.alphabet_size + 1, env.length - size + 1

    def observe(env: FixedSequence, state) -> jax.Array:
        windows = [state.tokens[i : i + num_words] + 1 for i in range(size)]
        word = sum(letters**i * window for i, window in enumerate(windows))
        return jnp.arange(num_words, dtype=jnp.int32) * letters**size + word

    sizes = env.num_actions, env.num_backward_actions, (width,)
    return gfnjax.from_flax(MLP(*sizes, num_features=num_words * letters**size), observe)


def sequence_problem(name: str, published: bool) -> Problem:
    env = tfbind8() if name == "tfbind8" else qm9_small()
    goal = 0.05 if name == "tfbind8" else 0.1
    if published:
        epsilon = optax.linear_schedule(1.0, 0.0, 50_000) if name == "tfbind8" else 0.0
        policy, batch_size, num_steps = gfnjax.mlp_policy(env), 16, 1_000_000
        numbers = Hyperparameters(5e-4, 0.05, epsilon)
    else:
        word_size, rate, num_steps = (5, 4e-3, 8_000) if name == "tfbind8" else (3, 4e-3, 8_000)
        policy, batch_size = word_policy(env, word_size, 128), 256
        numbers = Hyperparameters(
            optax.cosine_decay_schedule(rate, num_steps),
            optax.cosine_decay_schedule(0.05, num_steps),
        )
    gfn = GFlowNet(
        env,
        policy,
        gfnjax.TrajectoryBalance(),
        hyperparameters=numbers,
        batch_size=batch_size,
    )
    chunk_size = 5_000 if published else 500
    return Problem(gfn, total_variation(gfn, build_graph(env)), goal, num_steps, chunk_size)


def set_problem(published: bool) -> Problem:
    env: Set = published_set("medium")
    gfn = GFlowNet(
        env,
        gfnjax.mlp_policy(env, activation="leaky_relu"),
        gfnjax.TrajectoryBalance(),
        hyperparameters=Hyperparameters(1e-3, 0.1),
    )
    return Problem(gfn, marginal_error(gfn), 0.02, 50_000, 2_500)


PROBLEMS: dict[str, Callable[[bool], Problem]] = {
    "tfbind8": partial(sequence_problem, "tfbind8"),
    "qm9-small": partial(sequence_problem, "qm9-small"),
    "set-medium": set_problem,
}


def clocks() -> np.ndarray:
    """Seconds of wall time and of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def run(problem: Problem, seed: int, verbose: bool) -> tuple[int, np.ndarray, float]:
    """Steps and training seconds until the goal is reached, and the last measurement."""
    values: list[float] = []
    seconds, last = np.zeros(2), clocks()

    def callback(chunk: Chunk) -> bool:
        nonlocal seconds, last
        seconds += clocks() - last
        values.append(problem.measure(chunk.state))
        if verbose:
            log_z = float(chunk.info.log_z[-1])
            print(
                f"  {int(chunk.state.step)} {seconds[0]:.0f} s {values[-1]:.4f} {log_z:.3f}",
                flush=True,
            )
        last = clocks()
        return len(values) > 1 and max(values[-2:]) < problem.goal

    state, _ = gfnjax.train(
        problem.gfn,
        jax.random.key(seed),
        problem.num_steps,
        chunk_size=problem.chunk_size,
        callback=callback,
    )
    return int(state.step), seconds, values[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "problems", nargs="*", default=list(PROBLEMS), metavar="PROBLEM", help=str(list(PROBLEMS))
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="at most this many steps a seed")
    parser.add_argument("--published", action="store_true", help="settings of the literature")
    parser.add_argument("--verbose", action="store_true", help="print every measurement")
    options = parser.parse_args()
    print("| problem | seed | goal | reached | steps | seconds | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for name in options.problems:
        problem = PROBLEMS[name](options.published)
        problem = problem._replace(num_steps=options.steps or problem.num_steps)
        for seed in range(options.seeds):
            steps, seconds, value = run(problem, seed, options.verbose)
            wall, cpu = (f"{x:.0f}" for x in seconds)
            row = name, seed, f"< {problem.goal}", f"{value:.4f}", f"{steps:,}", wall, cpu
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
