"""What the compilers of accelerators make of a training step, without one: no time is measured.

    python benchmarks/accelerators.py [TASK] [--batch 16 1024] [--jsonl FILE]

For TPUs the whole compiler runs on any machine: `pip install gfnjax[tpu]` brings it. For GPUs it
needs one: run it there for the row of the machine it runs on. Without, the step is only lowered for
CUDA, as far as StableHLO, which is what XLA gets.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.tasks import gflownet
from gfnjax import ArgumentError, GFlowNet, TrainState
from gfnjax.compiled import chips
from gfnjax.compiled.counts import Loop, Program, Work, collectives_of, program_of
from gfnjax.compiled.hlo import parse
from gfnjax.errors import MissingExtraError
from gfnjax.types import PyTree

CHIPS = "v5e:2x2"
# A line of the table by column.
Row = dict[str, Any]


def on_chips(gfn: GFlowNet, devices: list[Any], spread: str) -> Row:
    """The step compiled for TPUs.

    Args:
        gfn: what is trained.
        devices: of a topology.
        spread: "nothing" for one chip, "batch" for a part of the batch on each, "runs" for a sweep
            of as many runs as there are chips.
    """
    key, axis = jax.random.key(0), Mesh(np.array(devices), ("chip",))
    rows, copies = (NamedSharding(axis, PartitionSpec(*x)) for x in (("chip",), ()))
    if spread == "runs":
        state = jax.eval_shape(jax.vmap(gfn.init), jax.random.split(key, len(devices)))
        return compiled("tpu v5e, runs spread", len(devices), gfn, jax.vmap(gfn.step), state, rows)
    state = jax.eval_shape(gfn.init, key)
    if spread == "batch":
        step = spread_step(gfn, rows)
        return compiled("tpu v5e, batch spread", len(devices), gfn, step, state, copies)
    return compiled("tpu v5e", 1, gfn, gfn.step, state, SingleDeviceSharding(devices[0]))


def compiled(
    platform: str, chips: int, gfn: GFlowNet, step: Any, state: PyTree, sharding: Any = None
) -> Row:
    """The counts of a compiled step; without a `sharding`, for the machine that this runs on."""
    if sharding is not None:
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state
        )
    start, busy = time.perf_counter(), time.process_time()
    program = jax.jit(step).lower(state).compile()
    took = time.perf_counter() - start, time.process_time() - busy
    found = row(platform, chips, gfn, program_of(program), took)
    return found | {"collectives": collectives_of(parse(program.as_text()))[0]}


def spread_step(gfn: GFlowNet, sharding: NamedSharding) -> Any:
    """`gfn.step` with each chip holding a part of the batch; the compiler finds the rest."""

    def step(state: TrainState) -> Any:
        batch, memory = gfn.draw(state)
        batch = jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), batch)
        return gfn.learn(state._replace(memory=memory), batch)

    return step


def on_cuda(gfn: GFlowNet) -> Row:
    """The step lowered for CUDA: StableHLO, before any compiler, and whether it can be exported."""
    state = jax.eval_shape(gfn.init, jax.random.key(0))
    start, busy = time.perf_counter(), time.process_time()
    export.export(jax.jit(gfn.step), platforms=["cuda"])(state)
    took = time.perf_counter() - start, time.process_time() - busy
    lowered = jax.jit(gfn.step).trace(state).lower(lowering_platforms=("cuda",))
    return row("cuda, StableHLO", 1, gfn, stablehlo(lowered.compiler_ir("stablehlo")), took)


def row(
    platform: str, chips: int, gfn: GFlowNet, program: Program, took: tuple[float, float]
) -> Row:
    inside = [loop.work for loop in program.loops]
    return Row(
        platform=platform,
        chips=chips,
        batch=gfn.batch_size,
        loops=len(inside),
        where=[loop.scope.replace("jit(step)/", "").replace("body/", "") for loop in program.loops],
        operations_per_iteration=[work.operations for work in inside],
        operations_outside=program.outside.operations,
        products_per_iteration=[work.products for work in inside],
        mflop_per_iteration=_or_none([round(1e-6 * work.flops, 2) for work in inside]),
        collectives_per_iteration=[work.collectives for work in inside],
        collectives_outside=program.outside.collectives,
        collectives={},
        temporary_mb=_or_none(round(1e-6 * program.temporary_bytes, 2)),
        mb_each_loop_once=_or_none(round(1e-6 * program.bytes, 2)),
        compile_seconds=round(took[0], 1),
        compile_cpu_seconds=round(took[1], 1),
    )


def _or_none(found: Any) -> Any:
    """What only a compiler knows is not zero where none has been."""
    return found if np.any(found) else None


def stablehlo(module: Any) -> Program:
    """Operations of a lowered module, constants left out, functions counted where they are called.

    Nothing is fused yet: the counts are of what was asked for, not of kernels.
    """
    functions = {str(op.attributes["sym_name"]).strip('"'): op for op in module.body.operations}
    loops: list[Any] = []

    def work(region: Any, depth: int) -> Work:
        total = Work()
        for op in (op for block in region.blocks for op in block.operations):
            name = op.operation.name
            if name == "func.call":
                callee = str(op.attributes["callee"]).lstrip("@").strip('"')
                total += work(functions[callee].regions[0], depth)
            elif name == "stablehlo.while":
                total += Work(operations=1)
                at = len(loops)
                loops.append(None)
                each = [work(part, depth + 1) for part in op.regions]
                scope = str(op.location).partition('"')[2].partition('"')[0]
                loops[at] = Loop("while", scope, depth, None, each[0] + each[1])
            elif name not in {"stablehlo.constant", "stablehlo.return", "func.return"}:
                total += Work(
                    operations=1,
                    products=int(name in {"stablehlo.dot_general", "stablehlo.convolution"}),
                    custom_calls=int(name == "stablehlo.custom_call"),
                )
        return total

    outside = work(functions["main"].regions[0], 0)
    return Program(outside, loops)


def rows(task: str, batches: list[int]) -> Iterator[Row]:
    """What can be compiled; a line in words for what cannot."""
    devices = []
    try:
        chips.set_environment(CHIPS)
        devices = chips.find(CHIPS).devices
    except (MissingExtraError, ArgumentError) as error:
        print(f"No row of TPUs: {error}")
    for batch in batches:
        gfn = gflownet(task, batch_size=batch)
        state = jax.eval_shape(gfn.init, jax.random.key(0))
        yield compiled(f"{jax.default_backend()}, here", 1, gfn, gfn.step, state)
        for spread in ("nothing", "batch", "runs") if devices else ():
            try:
                yield on_chips(gfn, devices, spread)
            except Exception as error:  # too large for the chip, for instance
                print(f"Batch {batch}, spread {spread}: {str(error).splitlines()[0][:200]}")
        yield on_cuda(gfn)


def print_row(found: Row, first: bool) -> None:
    if first:
        print("| " + " | ".join(key.replace("_", " ") for key in found) + " |")
        print("|" + "---|" * len(found))
    print("| " + " | ".join(map(_cell, found.values())) + " |", flush=True)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {kind}" for kind, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="grid-tb")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 1024, 16_384])
    parser.add_argument("--jsonl", type=Path, default=None, help="file to append lines to")
    args = parser.parse_args()
    for i, found in enumerate(rows(args.task, args.batch)):
        print_row(found, i == 0)
        if args.jsonl is not None:
            with args.jsonl.open("a") as file:
                file.write(json.dumps({"task": args.task, "jax": jax.__version__, **found}) + "\n")


if __name__ == "__main__":
    main()
