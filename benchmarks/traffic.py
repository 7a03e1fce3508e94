"""What a program did when it ran: operations, arithmetic and bytes, by how often each op ran.

How often loops went round is not in a program; a trace of it counts the runs of each operation.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from benchmarks.topops import Trace
from gfnjax.compiled.counts import EXECUTED, FREE, PRODUCTS, work_of
from gfnjax.compiled.hlo import Instruction, Module, dimensions, size_in_bytes

# Of their first operand they touch no more than what they give or take.
READS_PART = {"dynamic-slice", "gather", "slice"}
WRITES_PART = {"dynamic-update-slice", "scatter"}


class Product(NamedTuple):
    """`[rows, inner] @ [inner, columns]`."""

    rows: int
    inner: int
    columns: int


class Round(NamedTuple):
    """A loop as it went: `operations` an iteration, `iterations` each time the program ran."""

    operations: int
    iterations: float


class Executed(NamedTuple):
    """Per run: operations, floating-point operations of products, bytes read and written.

    `product` is the one that most of the arithmetic was, `loop` the one with most operations.
    """

    operations: float
    flops: float
    bytes: float
    product: Product | None
    loop: Round | None


def executed(module: Module, trace: Trace, num_runs: int) -> Executed:
    """Of a program that was traced over `num_runs` iterations of its outermost loop."""
    operations = flops = moved = 0.0
    products: dict[Product, float] = {}
    for computation in module.computations.values():
        for name, instruction in computation.items():
            if name not in trace.costs or instruction.opcode in {*FREE, "while", "call"}:
                continue
            count = trace.costs[name].count / num_runs
            own = count * work_of(module, computation, instruction).flops
            operations, flops = operations + count, flops + own
            moved += count * bytes_of(module, computation, instruction)
            for product in _products(module, computation, instruction):
                products[product] = products.get(product, 0.0) + count * prod(product)
    largest = max(products, key=lambda x: products[x], default=None)
    rounds = [_round(module, trace, loop, num_runs) for loop in _inner_loops(module)]
    loop = max(rounds, key=lambda x: x.operations * x.iterations, default=None)
    return Executed(operations, flops, moved, largest, loop)


def _inner_loops(module: Module) -> Iterator[Instruction]:
    """All but the one that repeats the program."""
    for name, computation in module.computations.items():
        if name != module.entry:
            yield from (x for x in computation.values() if x.opcode == "while")


def _round(module: Module, trace: Trace, loop: Instruction, num_runs: int) -> Round:
    found = [
        (name, trace.costs[name].count)
        for name in _executed_in(module, loop.callee("body"))
        if name in trace.costs
    ]
    return Round(len(found), max((count for _, count in found), default=0) / num_runs)


def _executed_in(module: Module, name: str) -> Iterator[str]:
    for instruction in module.computations[name].values():
        if instruction.opcode in EXECUTED:
            yield from _executed_in(module, instruction.callee(EXECUTED[instruction.opcode]))
        elif instruction.opcode not in FREE:
            yield instruction.name


def _products(
    module: Module, computation: dict[str, Instruction], instruction: Instruction
) -> Iterator[Product]:
    if instruction.opcode == "fusion":
        inside = module.computations[instruction.callee("calls")]
        for inner in inside.values():
            yield from _products(module, inside, inner)
    elif instruction.opcode in PRODUCTS:
        sizes = dimensions(instruction.shape)[0][1]
        columns = sizes[-1] if sizes else 1
        flops = work_of(module, computation, instruction).flops
        yield Product(prod(sizes) // columns, flops // 2 // prod(sizes), columns)


def bytes_of(module: Module, computation: dict[str, Instruction], instruction: Instruction) -> int:
    """Read and written by one run; of large arrays that are read or changed in part, the part."""
    if instruction.opcode == "fusion":
        return _bytes_of_fusion(module, computation, instruction)
    written = _written(computation, instruction)
    operands = instruction.operands
    if instruction.opcode in READS_PART | WRITES_PART:
        first = 0 if instruction.opcode in WRITES_PART else written
        return written + first + _sizes(computation, operands[1:])
    return written + _sizes(computation, operands)


def _written(computation: dict[str, Instruction], instruction: Instruction) -> int:
    if instruction.opcode == "dynamic-update-slice":
        return _sizes(computation, instruction.operands[1:2])
    if instruction.opcode == "scatter":
        return _sizes(computation, instruction.operands[2:])
    return size_in_bytes(instruction.shape)


def _sizes(computation: dict[str, Instruction], names: tuple[str, ...]) -> int:
    return sum(size_in_bytes(computation[x].shape) for x in names if x in computation)


def _bytes_of_fusion(
    module: Module, computation: dict[str, Instruction], instruction: Instruction
) -> int:
    inside = module.computations[instruction.callee("calls")]
    total = 0
    for name, inner in inside.items():
        if inner.opcode != "parameter":
            continue
        users = [x for x in inside.values() if name in x.operands]
        total += min(size_in_bytes(inner.shape), sum(_read(inside, x, name) for x in users))
    last = list(inside.values())[-1]
    while last.opcode in {"bitcast", "copy"}:
        last = inside[last.operands[0]]
    roots = [inside[x] for x in last.operands] if last.opcode == "tuple" else [last]
    return total + sum(_written(inside, x) for x in roots)


def _read(inside: dict[str, Instruction], user: Instruction, name: str) -> int:
    """What an instruction of a fusion reads of one of its operands."""
    if user.operands[0] == name and user.opcode in READS_PART:
        return size_in_bytes(user.shape)
    if user.operands[0] == name and user.opcode in WRITES_PART:
        return 0
    return size_in_bytes(inside[name].shape)
