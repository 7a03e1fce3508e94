"""Which members are trained together: those of one program, as many as fit into memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from gfnjax.errors import ArgumentError
from gfnjax.sweeps import program
from gfnjax.sweeps.placement import Layout, Placement, make_layout
from gfnjax.sweeps.population import Member
from gfnjax.sweeps.stack import kind_of, stack


class Round(NamedTuple):
    """Members that are trained together, by their numbers, and where."""

    members: list[int]
    layout: Layout


def make_rounds(members: Sequence[Member], placement: Placement, capacity: int) -> list[Round]:
    """All members: a round for each kind of description, more where memory asks for it.

    Args:
        members: of the sweep.
        placement: devices, and the memory they have.
        capacity: steps in a chunk at most.

    Raises:
        ArgumentError: for a placement that is not there, or memory that one member exceeds.
    """
    placement.devices()  # refuses before anything is compiled
    rounds = []
    for numbers in kinds_of(members):
        rounds += _fitting(numbers, [members[i] for i in numbers], placement, capacity)
    return rounds


def kinds_of(members: Sequence[Member]) -> list[list[int]]:
    """The numbers of members that one program can train, program by program."""
    kinds: dict[Any, list[int]] = {}
    for i, member in enumerate(members):
        kinds.setdefault(kind_of(member.gfn), []).append(i)
    return list(kinds.values())


def bytes_of(members: Sequence[Member], layout: Layout, capacity: int) -> int:
    """What a chunk of them takes on each device, by the compiler's account."""
    return bytes_of_program(lower(members, layout, capacity).compile())


def lower(members: Sequence[Member], layout: Layout, capacity: int) -> Any:
    """The program of a chunk before it is compiled, for as many like these as have room."""
    described = program.shapes(stack([member.gfn for member in members]), layout)
    return program.lower(described, layout, capacity)


def bytes_of_program(compiled: Any) -> int:
    """Memory of a compiled program on each device."""
    found = compiled.memory_analysis()
    kept = found.argument_size_in_bytes + found.output_size_in_bytes
    return kept - found.alias_size_in_bytes + found.temp_size_in_bytes


def _needed(members: Sequence[Member], layout: Layout, capacity: int, budget: int) -> int:
    """`bytes_of`; twice the budget where the compiler refuses a program for its size."""
    try:
        return bytes_of(members, layout, capacity)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return 2 * budget


def _fitting(
    numbers: list[int], members: list[Member], placement: Placement, capacity: int
) -> list[Round]:
    """One kind's members in as many rounds as it takes, all of one size."""
    state = jax.eval_shape(members[0].gfn.init, members[0].key)
    budget, count = placement.budget(placement.devices()), len(members)
    while True:
        layout = make_layout(placement, state, count)
        if layout.num_parts > 1:  # what cannot share a batch says so when it is traced
            lower(members[:1], make_layout(placement, state, 1), capacity)
        needed = 0 if budget is None else _needed(members[:count], layout, capacity, budget)
        if budget is None or needed <= budget:
            break
        per_device = layout.num_slots // (layout.mesh.size // layout.num_parts)
        if per_device == 1:
            problem = f"must be at least {needed:,} bytes, which one member takes, got {budget:,}"
            raise ArgumentError("memory", problem)
        # What members share is counted as theirs: too few rather than too many.
        fewer = min(int(per_device * budget / needed), per_device - 1)
        count = max(fewer, 1) * (layout.mesh.size // layout.num_parts)
    size = -(-len(members) // -(-len(members) // count))
    if size < count:
        layout = make_layout(placement, state, size)
    return [Round(numbers[i : i + size], layout) for i in range(0, len(members), size)]
