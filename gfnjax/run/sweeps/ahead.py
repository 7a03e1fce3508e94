"""What a sweep will be on TPUs, before there is one: its own program, compiled for chips not here.

prepare("v5e:2x4")  # before JAX computes anything
print(text(examine(members, Placement(), 250, "v5e:2x4")))
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from gfnjax.compiled import chips
from gfnjax.compiled.counts import collectives_of, program_of
from gfnjax.compiled.hlo import parse
from gfnjax.errors import MissingExtraError
from gfnjax.run.errors import UsageError
from gfnjax.run.sweeps.capacity import Capacity, Curve, find
from gfnjax.sweeps.placement import RUN, Layout, Placement, make_layout
from gfnjax.sweeps.population import Member
from gfnjax.sweeps.rounds import bytes_of_program, kinds_of, lower
from gfnjax.tuning import suited_to

# What will take longer to compile is not compiled to make sure of an answer.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Memory:
    """Bytes of a program on each chip; `alias` is what outputs take over from arguments."""

    arguments: int
    outputs: int
    temporaries: int
    alias: int
    total: int


@dataclass(frozen=True)
class Ahead:
    """One program of a sweep, as compiled for chips.

    Attributes:
        chip: their kind.
        num_chips: that are used; of all that were asked for.
        num_chips_asked: all that were asked for.
        members: their numbers, in the sweep.
        members_per_chip: that the program trains on each; fewer than there are to each chip where
            these do not fit, and are trained in turn.
        at_once: of these, in one operation.
        memory: of the program.
        limit: bytes a chip has for it; None where nobody says.
        most_per_chip: members that fit on each; None without a limit.
        most: members that fit, on all chips asked for.
        sure: whether a program for so many has been compiled; else it is about so many.
        num_operations: instructions of the program, each loop's counted once.
        num_loops: in it.
        flops: a chip, each loop counted once; None where the compiler does not say.
        bytes_accessed: as `flops`.
        collectives: exchanges between chips, by kind.
        collectives_in_loops: those of them that are within loops.
        compile_seconds: of this program.
    """

    chip: str
    num_chips: int
    num_chips_asked: int
    members: tuple[int, ...]
    members_per_chip: int
    at_once: int
    memory: Memory
    limit: int | None
    most_per_chip: int | None
    most: int | None
    sure: bool
    num_operations: int
    num_loops: int
    flops: float | None
    bytes_accessed: float | None
    collectives: dict[str, int]
    collectives_in_loops: dict[str, int]
    compile_seconds: float


def prepare(topology: str) -> None:
    """Let the TPU compiler be found, and all else be computed on the CPU.

    Args:
        topology: as in `examine`.

    Raises:
        UsageError: for a topology that does not exist, or without libtpu.
    """
    try:
        chips.set_environment(topology)
    except (ValueError, MissingExtraError) as error:
        raise UsageError.of(error) from error
    jax.config.update("jax_platforms", "cpu")


def examine(
    members: Sequence[Member], placement: Placement, capacity: int, topology: str
) -> tuple[Ahead, ...]:
    """Compile a sweep for TPUs, after `prepare`, program by program; nothing is trained.

    Args:
        members: of the sweep.
        placement: how many chips of the topology are used, and how many share a batch; its
            `memory` in place of what a chip has. Without `members_at_once`, a chip computes all
            of its members at once.
        capacity: steps in a chunk at most.
        topology: a kind of TPU and how its chips are laid out: "v5e:2x4", "v5p:2x2x1".

    Raises:
        UsageError: for a topology or a placement that cannot be, a member that does not fit, or
            a program that the compiler refuses.
    """
    try:
        found = chips.find(topology)
    except (ValueError, MissingExtraError) as error:
        raise UsageError.of(error) from error
    with suited_to("tpu"):
        return examine_on(members, placement, capacity, found.devices, found.memory)


def examine_on(
    members: Sequence[Member],
    placement: Placement,
    capacity: int,
    devices: list[Any],
    memory: int | None = None,
) -> tuple[Ahead, ...]:
    """As `examine`, for any `devices`, and bytes of `memory` of each."""
    try:
        used = placement.devices(devices)
    except ValueError as error:
        raise UsageError.of(error) from error
    limit = placement.memory or memory
    kinds = kinds_of(members)
    return tuple(
        _examine(_Compiler([members[i] for i in kind], placement, capacity, used), kind, limit)
        for kind in kinds
    )


class _Built(NamedTuple):
    """A compiled program, and the seconds it took."""

    layout: Layout
    compiled: Any
    seconds: float

    @property
    def per_chip(self) -> int:
        return self.layout.num_slots // self.layout.mesh.shape[RUN]


class _Compiler:
    """Programs for more or fewer members like these."""

    def __init__(
        self, members: list[Member], placement: Placement, capacity: int, devices: list[Any]
    ):
        self.members, self.devices = members, devices
        self._placement, self._capacity = placement, capacity
        self._state = jax.eval_shape(members[0].gfn.init, members[0].key)
        self._last = 1, 0.0

    def patient(self, per_chip: int) -> bool:
        """Whether a program for so many on a chip will be compiled soon enough."""
        number, seconds = self._last  # of more members, about as the square root
        return seconds * max(per_chip / number, 1.0) ** 0.5 < PATIENCE_S

    @property
    def num_rows(self) -> int:
        """Chips, or groups of them that share a batch."""
        return len(self.devices) // self._placement.num_batch_devices

    def build(self, num_members: int) -> _Built | None:
        """The program for so many; None if the compiler says that there is no room."""
        layout = make_layout(self._placement, self._state, num_members, self.devices)
        start = time.perf_counter()
        try:
            compiled = lower(self.members, layout, self._capacity).compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                return None
            line = str(error).splitlines()[0]
            raise UsageError(f"the compiler refuses the sweep: {line}") from error
        built = _Built(layout, compiled, time.perf_counter() - start)
        self._last = max(self._last, (built.per_chip, built.seconds))
        return built

    def bytes_of(self, per_chip: int) -> int | None:
        """Memory of a chip with so many members."""
        built = self.build(per_chip * self.num_rows)
        return None if built is None else bytes_of_program(built.compiled)


def _examine(compiler: _Compiler, numbers: list[int], limit: int | None) -> Ahead:
    first = _largest(compiler, len(numbers), limit)
    most = None if limit is None else _most(compiler, first, limit)
    mesh, memory = first.layout.mesh, first.compiled.memory_analysis()
    program = program_of(first.compiled)
    collectives, in_loops = collectives_of(parse(first.compiled.as_text()))
    return Ahead(
        chip=mesh.devices.flat[0].device_kind,
        num_chips=mesh.size,
        num_chips_asked=len(compiler.devices),
        members=tuple(numbers),
        members_per_chip=first.per_chip,
        at_once=first.layout.at_once,
        memory=Memory(
            memory.argument_size_in_bytes,
            memory.output_size_in_bytes,
            memory.temp_size_in_bytes,
            memory.alias_size_in_bytes,
            bytes_of_program(first.compiled),
        ),
        limit=limit,
        most_per_chip=None if most is None else most.count,
        most=None if most is None else most.count * compiler.num_rows,
        sure=most is not None and most.sure,
        num_operations=sum((x.work.operations for x in program.loops), program.outside.operations),
        num_loops=len(program.loops),
        flops=program.flops or None,
        bytes_accessed=program.bytes or None,
        collectives=collectives,
        collectives_in_loops=in_loops,
        compile_seconds=first.seconds,
    )


def _largest(compiler: _Compiler, count: int, limit: int | None) -> _Built:
    """The program for so many members, or the half of them, and so on, until they fit."""
    while True:
        built = compiler.build(count)
        if built is not None and (limit is None or bytes_of_program(built.compiled) <= limit):
            return built
        per_chip = -(-count // compiler.num_rows)
        if per_chip == 1:
            raise UsageError(f"one member does not fit into the {limit or 0:,} bytes of a chip")
        count = per_chip // 2 * compiler.num_rows


def _most(compiler: _Compiler, first: _Built, limit: int) -> Capacity:
    curve = Curve(compiler.bytes_of, limit)
    curve.bytes[first.per_chip] = bytes_of_program(first.compiled)
    return find(curve, first.per_chip, compiler.patient)


def text(found: Sequence[Ahead]) -> str:
    """About eight lines a program, for people."""
    blocks = []
    for number, one in enumerate(found, 1):
        rows = _rows(one)
        if len(found) > 1:
            rows = {"program": f"{number} of {len(found)}", **rows}
        blocks.append("\n".join(f"{name:13}{line}" for name, line in rows.items()))
    return "\n\n".join(blocks)


def _rows(one: Ahead) -> dict[str, str]:
    used = "" if one.num_chips == one.num_chips_asked else f" of {one.num_chips_asked}"
    has = "" if one.limit is None else f", {size(one.limit)} each"
    return {
        "chips": f"{one.num_chips}{used} {one.chip}{has}",
        "members": _members(one),
        "memory": _memory(one),
        "room for": _room(one),
        "operations": f"{one.num_operations:,}, {one.num_loops} of them loops",
        "a chip does": _work(one),
        "collectives": _collectives(one),
        "compiled in": f"{one.compile_seconds:.1f} s",
    }


def _members(one: Ahead) -> str:
    at_once = "all at once" if one.at_once == one.members_per_chip else f"{one.at_once} at once"
    return f"{len(one.members):,}, {one.members_per_chip:,} a chip, {at_once}"


def _memory(one: Ahead) -> str:
    total, parts = one.memory.total, one.memory
    share = "" if one.limit is None else f", {total / one.limit:.1%}"
    told = f"arguments {size(parts.arguments)}, outputs {size(parts.outputs)}"
    told += f" ({size(parts.alias)} of them in place), temporaries {size(parts.temporaries)}"
    return f"{size(total)} a chip{share}: {told}"


def _room(one: Ahead) -> str:
    if one.most is None:
        return "as many as the machine has memory for: it does not say"
    about = "" if one.sure else "about "
    return f"{about}{one.most:,} members, {one.most_per_chip:,} a chip"


def _work(one: Ahead) -> str:
    said = "" if one.flops is None else f"{one.flops:,.0f} flops, "
    moved = "nothing that the compiler tells"
    if one.bytes_accessed is not None:
        moved = f"{said}{size(one.bytes_accessed)} read and written"
    return f"{moved} (each loop counted once)"


def _collectives(one: Ahead) -> str:
    if not one.collectives:
        return "none: no chip waits for another"
    inside = one.collectives_in_loops
    return ", ".join(
        f"{n} {kind} ({inside.get(kind, 0)} in loops)" for kind, n in one.collectives.items()
    )


def size(number: float) -> str:
    """Bytes in a unit that suits them."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.3g} {unit}" if number < 1000 else f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:,.2f} GiB"
