"""What the compiler makes of a training step, in numbers that no busy machine changes.

`python benchmarks/programs.py TASK...` prints a table: operations that run once, and in each
iteration of each loop; matrix products; memory. Operations are instructions that are executed one
by one, a fusion counting once, those that only rename memory not at all.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.extend import core

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gfnjax.compiled.counts import Loop, Program, program_of


class Traced(NamedTuple):
    """A program before compilation: primitives by name, bodies of loops counted once."""

    primitives: int
    loops: int
    products: int


def traced_of(fn: Callable, *args: Any) -> Traced:
    """The counts of a function as it is traced, which no compiler has seen."""
    names = Counter(eqn.primitive.name for eqn in _equations(jax.make_jaxpr(fn)(*args).jaxpr))
    calls = sum(names[x] for x in ("jit", "pjit", "closed_call", "custom_jvp_call"))
    loops = names["while"] + names["scan"]
    products = names["dot_general"] + names["conv_general_dilated"]
    return Traced(sum(names.values()) - calls, loops, products)


def _equations(jaxpr: core.Jaxpr) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(value):
                yield from _equations(getattr(value, "jaxpr", value))


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def quantities(program: Program) -> dict[str, int]:
    """The numbers of a program by name, flat: for tables and for comparing."""
    loops = [loop.work for loop in program.loops]
    every = sum(loops, start=program.outside)
    found = {
        "loops": len(loops),
        "temporary bytes": program.temporary_bytes,
        "operations outside of loops": program.outside.operations,
        "products outside of loops": program.outside.products,
        "fusions": every.fusions,
        "custom calls": every.custom_calls,
        "collectives": every.collectives,
    }
    for i, loop in enumerate(program.loops):
        found[f"operations in loop {i}"] = loop.work.operations
        if loop.work.products:
            found[f"products in loop {i}"] = loop.work.products
    return found


def print_program(name: str, program: Program) -> None:
    """One row for what runs once, one for each loop."""
    print(f"\n{name}: {program.temporary_bytes:,} bytes of temporaries\n")
    print("| part | depth | trips | operations | fusions | products | flops | other | scope |")
    print("|---|---|---|---|---|---|---|---|---|")
    once = Loop("once", "", 0, 1, program.outside)
    for part in (once, *program.loops):
        work, trips = part.work, "?" if part.trips is None else part.trips
        other = f"{work.custom_calls} calls, {work.collectives} collectives"
        counts = f"{work.operations} | {work.fusions} | {work.products} | {work.flops:,}"
        print(f"| {part.name} | {part.depth} | {trips} | {counts} | {other} | {part.scope[-60:]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="+")
    parser.add_argument("--batch", type=int, default=None, help="trajectories per step")
    args = parser.parse_args()
    from benchmarks.tasks import gflownet

    for name in args.task:
        gfn = gflownet(name, batch_size=args.batch)
        state = jax.eval_shape(gfn.init, jax.random.key(0))
        print_program(name, program_of(jax.jit(gfn.step).lower(state).compile()))
        print(f"\nTraced: {traced_of(gfn.step, state)}")


if __name__ == "__main__":
    main()
