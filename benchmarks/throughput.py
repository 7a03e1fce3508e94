"""Speed of a training step on the 20^4 grid: python benchmarks/throughput.py [--quick]

Two tables, each measured in one process, alternating, so that ratios hold on a noisy machine:
iterations per second against a plain padded step over the first steps of a run; cost at a fixed
horizon as trajectories get shorter. For batch sizes: `python -m benchmarks run --batch-size`.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from padded import padded_step

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, TrainState
from gfnjax.training import run_chunk


def describe(batch_size: int = 16, side: int = 20) -> GFlowNet:
    """Trajectory balance on the easy four-dimensional grid, settings of the literature."""
    env = gfnjax.Hypergrid(num_dims=4, side=side, reward=gfnjax.corners("easy"))
    schedule = optax.linear_schedule(0.1, 0.0, 30_000)
    return GFlowNet(
        env,
        gfnjax.mlp_policy(env, (256, 256)),
        gfnjax.TrajectoryBalance(),
        hyperparameters=Hyperparameters(epsilon=schedule),
        batch_size=batch_size,
    )


@partial(jax.jit, static_argnames="num_steps")
def padded_chunk(gfn: GFlowNet, state: TrainState, num_steps: int) -> TrainState:
    return lax.scan(lambda s, _: padded_step(gfn, s), state, None, length=num_steps)[0]


def timed(fn: Callable, *args) -> tuple:
    start = time.perf_counter()
    result = jax.block_until_ready(fn(*args))
    return result, time.perf_counter() - start


def against_padded(num_steps: int, chunk: int, probe: int, seed: int = 0) -> None:
    gfn = describe()
    state = jax.jit(gfn.init)(jax.random.key(seed))
    _, compile_seconds = timed(lambda: jax.jit(gfn.step).lower(state).compile())
    run_chunk(gfn, state, 1, chunk)
    padded_chunk(gfn, state, probe)
    print(f"\nTrajectory balance, batch 16, compiled in {compile_seconds:.1f} s\n")
    print("| steps | mean length | gfnjax it/s | padded it/s | ratio |\n|---|---|---|---|---|")
    rows = []
    for done in range(0, num_steps, chunk):
        _, padded = timed(padded_chunk, gfn, state, probe)
        (state, info), seconds = timed(run_chunk, gfn, state, chunk, chunk)
        rows.append((info.length.mean(), seconds / chunk, padded / probe))
        length, ours, theirs = rows[-1]
        print(
            f"| {done + chunk} | {length:.1f} | {1 / ours:.0f} | {1 / theirs:.0f} | "
            f"{theirs / ours:.2f} |",
            flush=True,
        )
    length, ours, theirs = np.mean(rows, axis=0)
    theirs = np.median([row[2] for row in rows])  # its cost does not depend on the step
    print(
        f"| **mean** | {length:.1f} | {1 / ours:.0f} | {1 / theirs:.0f} | **{theirs / ours:.2f}** |"
    )


def by_length(num_steps: int) -> None:
    """A bias on the stop action shortens trajectories at an unchanged horizon of 77."""
    print("\n| stop bias | mean length | ms per step |\n|---|---|---|")
    gfn = describe()
    state = jax.jit(gfn.init)(jax.random.key(0))
    stop = gfn.env.num_actions - 1
    for bias in (-4.0, -2.0, 0.0, 2.0):
        params = state.params.policy
        heads = params["params"]["heads"]
        heads = {**heads, "bias": heads["bias"].at[stop].set(bias)}
        policy = {"params": {**params["params"], "heads": heads}}
        zero = jnp.zeros(())
        numbers = state.hyperparameters._replace(
            learning_rate=zero, log_z_learning_rate=zero, epsilon=zero
        )
        biased = state._replace(
            params=state.params._replace(policy=policy), hyperparameters=numbers
        )
        run_chunk(gfn, biased, 1, num_steps)
        (_, info), seconds = timed(run_chunk, gfn, biased, num_steps, num_steps)
        print(f"| {bias:+.0f} | {info.length.mean():.1f} | {1e3 * seconds / num_steps:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    scale = 10 if parser.parse_args().quick else 1
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, 20^4 grid, MLP 2x256")
    against_padded(6_000 // scale, 500 // scale, 100 // scale)
    by_length(500 // scale)


if __name__ == "__main__":
    main()
