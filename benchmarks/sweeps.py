"""Many runs in one program against the same runs one after another: python -m benchmarks sweeps

    grid-tb   16 runs of trajectory balance on the 20^4 grid (batch 16, MLP 256-256)
    tiny      64 runs on the 8 x 8 grid (batch 16, MLP 32-32)
    memory    bytes of the compiled program against members, 20^4 grid

Both sides take the same steps in chunks, in one process, turn by turn; compilation is not counted.
Single runs have all cores for themselves, one device. `--devices` are CPU devices (one a core
without), `--at-once` members in one operation.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gfnjax
from benchmarks import jax_side, trainer
from benchmarks.report import spread
from benchmarks.sizes import describe
from benchmarks.tasks import gflownet
from gfnjax import training
from gfnjax.sweeps.cores import use_cores
from gfnjax.sweeps.placement import Placement
from gfnjax.sweeps.population import Member, Population
from gfnjax.sweeps.rounds import bytes_of, make_rounds

CASES = {
    "grid-tb": (16, 50, lambda: gflownet("grid-tb", batch_size=16)),
    "tiny": (64, 250, lambda: describe(gfnjax.Hypergrid(2, 8), 32, 32)),
}


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    use_cores(options.devices)
    placement = Placement(members_at_once=options.at_once)
    records = []
    for name in options.only or CASES:
        records.append(measure(name, placement, options.repeats))
        print(_line(records[-1]), flush=True)
    if options.memory:
        records.append(memory(placement))
        print(_memory_line(records[-1]), flush=True)
    if options.output:
        with options.output.open("a") as file:
            for record in records:
                print(json.dumps({**record, **jax_side.about(), **trainer.host()}), file=file)
    return 0


def measure(name: str, placement: Placement, repeats: int) -> dict[str, Any]:
    """Seconds a chunk of all members, together and one after another, in turn."""
    count, steps, make = CASES[name]
    gfn = make()
    members = [Member(gfn, key) for key in jax.random.split(jax.random.key(0), count)]
    (each,) = make_rounds(members, placement, steps)
    population = Population(members, each.layout)
    states = [training.init(gfn, jax.random.clone(member.key)) for member in members]
    together, alone = [], []
    for turn in range(repeats + 1):
        begin = time.perf_counter()
        population.advance((turn + 1) * steps, steps)
        population.status = ["running"] * count
        middle = time.perf_counter()
        for i, state in enumerate(states):
            states[i], _ = next(training.chunks(gfn, state, (turn + 1) * steps, steps, donate=True))
        if turn:  # the first one compiles
            together.append(middle - begin)
            alone.append(time.perf_counter() - middle)
    ratios = [b / a for a, b in zip(together, alone, strict=True)]
    layout = {"devices": each.layout.mesh.size, "at_once": each.layout.at_once}
    times = {"together": spread(together), "alone": spread(alone), "ratio": spread(ratios)}
    return {"what": name, "members": count, "steps": steps, **layout, **times}


def memory(placement: Placement) -> dict[str, Any]:
    """Bytes on a device for several numbers of members."""
    gfn, sizes = CASES["grid-tb"][2](), (2, 4, 8, 16, 32)
    found = {}
    for count in sizes:
        members = [Member(gfn, key) for key in jax.random.split(jax.random.key(0), count)]
        (each,) = make_rounds(members, placement, 50)
        found[count] = bytes_of(members, each.layout, 50)
    slope, start = np.polyfit(sizes, list(found.values()), 1)
    return {"what": "memory", "bytes": found, "per_member": float(slope), "fixed": float(start)}


def _line(record: dict[str, Any]) -> str:
    ratio = record["ratio"]
    return (
        f"{record['what']}: {record['members']} runs, {record['steps']} steps a chunk, "
        f"{record['devices']} devices, {record['at_once']} at once: "
        f"{record['together']['median']:.2f} s together, {record['alone']['median']:.2f} s one "
        f"after another: {ratio['median']:.2f} times ({ratio['min']:.2f} to {ratio['max']:.2f})"
    )


def _memory_line(record: dict[str, Any]) -> str:
    sizes = ", ".join(f"{n}: {x / 1e6:.1f}" for n, x in record["bytes"].items())
    return f"MB a device by members: {sizes}; {record['per_member'] / 1e6:.2f} a member"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks sweeps", description=summary)
    parser.add_argument("--only", nargs="+", choices=CASES, help="all without")
    parser.add_argument("--devices", type=int, help="CPU devices; one a core without")
    parser.add_argument("--at-once", type=int, help="members in one operation at most")
    parser.add_argument("--repeats", type=int, default=5, help="whose median counts")
    parser.add_argument("--memory", action="store_true", help="bytes against members as well")
    parser.add_argument("--output", type=Path, help="append a JSON line a case")
    return parser.parse_args(arguments)
