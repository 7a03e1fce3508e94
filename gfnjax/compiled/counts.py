"""What the compiler makes of a program, in numbers that no busy machine changes.

Operations are instructions that are executed one by one, a fusion counting once, those that only
rename memory not at all.
"""

from collections import Counter
from typing import Any, NamedTuple

from gfnjax.compiled.hlo import Instruction, Module, dimensions, parse

FREE = {
    *("parameter", "tuple", "get-tuple-element", "constant", "bitcast", "partition-id"),
    *("after-all", "add-dependency", "opt-barrier", "copy-done", "async-done", "async-update"),
}
PRODUCTS = {"dot", "convolution"}
COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("collective-broadcast", "ragged-all-to-all"),
)
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


def collectives_of(module: Module) -> tuple[dict[str, int], dict[str, int]]:
    """How devices exchange numbers, by kind: in all, and within loops; in each loop once."""
    parts = [x for part in module.computations.values() for x in part.values()]
    loops = [callee for x in parts if x.opcode == "while" for _, callee in x.called]
    inside = _reached(module, loops)
    everywhere, in_loops = Counter[str](), Counter[str]()
    for name, computation in module.computations.items():
        found = Counter(x.opcode.removesuffix("-start") for x in computation.values())
        everywhere += found
        in_loops += found if name in inside else Counter()
    return _collectives(everywhere), _collectives(in_loops)


def _collectives(opcodes: Counter[str]) -> dict[str, int]:
    return {kind: opcodes[kind] for kind in COLLECTIVES if opcodes[kind]}


def _reached(module: Module, names: list[str]) -> set[str]:
    """Computations that these call, and what those call."""
    found, left = set(), list(names)
    while left:
        if (name := left.pop()) in found or name not in module.computations:
            continue
        found.add(name)
        left += [y for x in module.computations[name].values() for _, y in x.called]
    return found


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
