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
from benchmarks.hlo import Instruction, Module, dimensions, parse

FREE = {
    *("parameter", "tuple", "get-tuple-element", "constant", "bitcast", "partition-id"),
    *("after-all", "add-dependency", "opt-barrier", "copy-done", "async-done", "async-update"),
}
PRODUCTS = {"dot", "convolution"}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# What is called to be executed; what a reduction calls is part of its operation.
EXECUTED = {"call": "to_apply", "async-start": "calls"}


class Work(NamedTuple):
    """Of a stretch of a program: `operations`, and how many of them are of a kind.

    Matrix products inside of fusions count; `flops` are theirs alone.
    """

    operations: int = 0
    fusions: int = 0
    products: int = 0
    custom_calls: int = 0
    collectives: int = 0
    flops: int = 0

    def __add__(self, other: "Work") -> "Work":  # pyrefly: ignore
        return Work(*(x + y for x, y in zip(self, other, strict=True)))


class Loop(NamedTuple):
    """A while loop: `work` of one iteration, without loops within, and where it is from.

    `depth` is the number of loops around; `trips` is known for loops of constant length only.
    """

    name: str
    scope: str
    depth: int
    trips: int | None
    work: Work


class Program(NamedTuple):
    """A compiled program: `outside` is what runs once, `loops` in order of appearance.

    `flops` and `bytes` are the compiler's own estimate, which takes each loop body once.
    """

    outside: Work
    loops: list[Loop]
    temporary_bytes: int = 0
    flops: float = 0.0
    bytes: float = 0.0


class Traced(NamedTuple):
    """A program before compilation: primitives by name, bodies of loops counted once."""

    primitives: int
    loops: int
    products: int


def read_program(text: str) -> Program:
    """The counts of an optimised HLO module, without those that only a `compiled` knows."""
    module = parse(text)
    loops: list[Loop] = []
    return Program(_work(module, module.entry, loops, 0), loops)


def program_of(compiled: Any) -> Program:
    """The counts of what `jax.jit(...).lower(...).compile()` returns."""
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list) else costs
    memory = compiled.memory_analysis()
    return read_program(compiled.as_text())._replace(
        temporary_bytes=0 if memory is None else memory.temp_size_in_bytes,
        flops=float(costs.get("flops", 0.0)),
        bytes=float(costs.get("bytes accessed", 0.0)),
    )


def _work(module: Module, name: str, loops: list[Loop], depth: int) -> Work:
    """One execution of a computation; the loops it starts go into `loops`."""
    computation = module.computations[name]
    total = Work()
    for instruction in computation.values():
        if instruction.opcode == "while":
            total += Work(operations=1)
            at = len(loops)
            loops.append(Loop(instruction.name, instruction.scope, depth, instruction.trips, total))
            parts = [instruction.callee("condition"), instruction.callee("body")]
            each = [_work(module, part, loops, depth + 1) for part in parts]
            loops[at] = loops[at]._replace(work=each[0] + each[1])
        elif instruction.opcode == "conditional":
            branches = [_work(module, name, loops, depth) for _, name in instruction.called]
            total += Work(operations=1) + max(branches)  # what it can cost
        elif instruction.opcode in EXECUTED:
            total += _work(module, instruction.callee(EXECUTED[instruction.opcode]), loops, depth)
        elif instruction.opcode not in FREE:
            total += work_of(module, computation, instruction)
    return total


def work_of(module: Module, computation: dict[str, Instruction], instruction: Instruction) -> Work:
    """One instruction that is executed; of a fusion, the products inside of it as well."""
    opcode = instruction.opcode
    work = Work(
        operations=not opcode.endswith("-done"),  # counted where it started
        fusions=opcode == "fusion",
        custom_calls=opcode == "custom-call",
        collectives=opcode.removesuffix("-start") in COLLECTIVES,
        products=opcode in PRODUCTS,
        flops=_flops(computation, instruction) if opcode in PRODUCTS else 0,
    )
    if opcode == "fusion":
        inside = module.computations[instruction.callee("calls")]
        for inner in inside.values():
            if inner.opcode in {*PRODUCTS, "fusion", "custom-call"}:
                work += work_of(module, inside, inner)._replace(operations=0, fusions=0)
    return Work(*map(int, work))


def _flops(computation: dict[str, Instruction], product: Instruction) -> int:
    """Two for each multiplication: of all pairs that are summed into each element."""
    left, right = (dimensions(computation[x].shape)[0][1] for x in product.operands[:2])
    count = 2
    for size in dimensions(product.shape)[0][1]:
        count *= size
    if product.opcode == "dot":
        for axis in _numbers(product.attributes, "lhs_contracting_dims={"):
            count *= left[axis]
        return count
    labels = product.attributes.partition("dim_labels=")[2].partition("_")[2].partition("->")[0]
    for label, size in zip(labels, right, strict=False):
        if label != "o":
            count *= size
    return count


def _numbers(text: str, start: str) -> list[int]:
    inside = text.partition(start)[2].partition("}")[0]
    return [int(x) for x in inside.split(",") if x]


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
