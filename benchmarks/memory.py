"""Memory of sampling, training and checkpoints: python benchmarks/memory.py [--only programs]

Bytes that compiled programs set aside, from XLA's own account: nothing large is run. "train" is a
chunk of steps as the host loop runs it, "padded" one of the plain steps of `padded.py`. A replay
buffer is there where its capacity is named; the size of a checkpoint is that of the training state.
The second table writes and reads a state of a gigabyte and reports the largest resident memory of
the process beyond the state itself.
"""

import argparse
import inspect
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from items import Items
from padded import padded_step

import gfnjax
from gfnjax import GFlowNet, Hypergrid, TrainState, training
from gfnjax.envs.phylogeny import phylogeny_benchmark
from gfnjax.policies.forest import forest_policy
from gfnjax.replay import Fifo
from gfnjax.run import checkpoint
from gfnjax.samplers import Mixed


def forest(dataset: str, batch_size: int, **options: Any) -> GFlowNet:
    env = phylogeny_benchmark(dataset)
    policy = forest_policy(env, width=32, num_heads=4, num_layers=1, read_sets=False)
    objective = gfnjax.LogPartitionVariance()
    options = {"backward": gfnjax.UniformBackward(), "batch_size": batch_size, **options}
    return GFlowNet(env, policy, objective, **options)


def layers(env: Any, batch_size: int, **options: Any) -> GFlowNet:
    policy = gfnjax.mlp_policy(env, (256, 256))
    objective = gfnjax.TrajectoryBalance()
    return GFlowNet(env, policy, objective, batch_size=batch_size, log_z_init=0.0, **options)


PADDED = "grid 20^4, batch 4,096"
CASES: dict[str, Callable[[], GFlowNet]] = {
    PADDED: lambda: layers(Hypergrid(4, 20), 4096),
    "grid 20^4, batch 4,096, replay 100,000": lambda: layers(
        Hypergrid(4, 20), 4096, sampler=Mixed(Fifo(100_000))
    ),
    "phylogeny DS1, batch 1,024": lambda: forest("DS1", 1024),
    "phylogeny DS8, batch 256": lambda: forest("DS8", 256),
    "phylogeny DS8, batch 256, replay 10,000": lambda: forest(
        "DS8", 256, sampler=Mixed(Fifo(10_000))
    ),
    "3,151 actions, batch 4,096": lambda: layers(Items(), 4096),
}


@partial(jax.jit, static_argnums=0)
def sample(size: int, gfn: GFlowNet, params: Any, key: jax.Array) -> gfnjax.Trajectory:
    return gfn.sample(params, key, size)


@partial(jax.jit, static_argnames="num_steps")
def padded(gfn: GFlowNet, state: TrainState, num_steps: int) -> TrainState:
    return jax.lax.scan(lambda s, _: padded_step(gfn, s), state, None, length=num_steps)[0]


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f}"


def programs() -> None:
    print("| MB | program | arguments | outputs | of them in place | temporary | checkpoint |")
    print("|---|---|---|---|---|---|---|")
    for name, make in CASES.items():
        try:
            gfn = make()
        except FileNotFoundError as error:
            print(f"| {name} | left out: {error} |||||")
            continue
        key = jax.eval_shape(lambda: jax.random.key(0))
        state = jax.eval_shape(gfn.init, key)
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
        lowered = {
            "sample": sample.lower(gfn.batch_size, gfn, state.params, key),
            "train": training._run.lower(gfn, state, 10, 10),
        }
        if name == PADDED:
            lowered["padded"] = padded.lower(gfn, state, 10)
        for program, low in lowered.items():
            used = low.compile().memory_analysis()
            row = (
                used.argument_size_in_bytes,
                used.output_size_in_bytes,
                used.alias_size_in_bytes,
                used.temp_size_in_bytes,
            )
            numbers = [*map(megabytes, row), megabytes(size) if program == "train" else ""]
            print(f"| {name} | {program} | {' | '.join(numbers)} |", flush=True)


class Gigabyte(NamedTuple):
    """A training state of one large and many middling arrays."""

    step: jax.Array
    leaves: list[jax.Array]


def gigabyte() -> Gigabyte:
    sizes = [64_000_000, *[3_000_000] * 62]
    return Gigabyte(jnp.int32(3), [jnp.full(n, i, jnp.float32) for i, n in enumerate(sizes)])


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def worker(action: str, path: Path) -> None:
    """In a process of its own, whose largest memory is that of this one thing."""
    state = jax.block_until_ready(gigabyte())
    before, start = peak(), time.perf_counter()
    if action == "write":
        checkpoint.write(path, state)
    else:
        after = checkpoint.read(path, state)
        assert np.asarray(after.leaves[5])[0] == 5
    seconds = time.perf_counter() - start
    print(f"| {action} | {megabytes(peak() - before)} | {seconds:.1f} |", flush=True)


def checkpoints() -> None:
    print("\n| a state of 1,000 MB | beyond the state, MB | s |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for action in ("write", "read"):
            file = inspect.getsourcefile(worker)
            assert file is not None
            path = str(Path(folder) / "x.ckpt")
            subprocess.run([sys.executable, file, "--worker", action, path], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("programs", "checkpoints"), help="one of the tables")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker[0], Path(options.worker[1]))
        return
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}\n", flush=True)
    if options.only != "checkpoints":
        programs()
    if options.only != "programs":
        checkpoints()


if __name__ == "__main__":
    main()
