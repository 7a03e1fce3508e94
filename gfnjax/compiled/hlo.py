"""Optimised HLO text as data: computations, their instructions, and where they come from.

`compiled.as_text()` is the one description that XLA gives for every platform. It is read line by
line; whatever is not understood is left in `attributes`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s*(\(.*)?\{\s*$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT\s+)?%?([\w.\-]+)\s+=\s+(.*)$")
_CALLED = re.compile(
    r"\b(condition|body|calls|to_apply|true_computation|false_computation|branch_computations"
    r"|called_computations|select|scatter|comparator)=(\{[^}]*\}|%?[\w.\-]+)"
)
_SCOPE = re.compile(r'op_name="([^"]*)"')
_SOURCE = re.compile(r'source_file="([^"]*)"\s+source_line=(\d+)')
_FRAME = re.compile(r"stack_frame_id=(\d+)")
_TRIPS = re.compile(r'"?known_trip_count"?:\s*\{"?n"?:"?(\d+)')
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\]")
_COMMENT = re.compile(r"/\*.*?\*/")
_BRACKETS = {"(": ")", "{": "}", "[": "]"}
_OPENING = "([{"

BYTES = {"pred": 1, "s4": 1, "u4": 1, "token": 0, "opaque": 0}


class Source(NamedTuple):
    """A line of a source file; the file by its path within its package."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Instruction(NamedTuple):
    """One instruction: `called` are pairs (role, computation), `sources` innermost first."""

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    called: tuple[tuple[str, str], ...]
    attributes: str
    scope: str
    sources: tuple[Source, ...]

    def callee(self, role: str) -> str:
        return next(name for this, name in self.called if this == role)

    @property
    def trips(self) -> int | None:
        """Of a loop whose number of iterations the compiler knows."""
        found = _TRIPS.search(self.attributes)
        return int(found[1]) if found else None


class Module(NamedTuple):
    """Computations by name, in order of appearance, and the name of the one that is executed."""

    computations: dict[str, dict[str, Instruction]]
    entry: str

    def find(self, name: str) -> Instruction | None:
        """An instruction by its name, which is unique in a module."""
        for computation in self.computations.values():
            if name in computation:
                return computation[name]
        return None


def parse(text: str) -> Module:
    """What `compiled.as_text()` says.

    Raises:
        ValueError: for text without an entry computation.
    """
    lines = text.splitlines()
    frames = _stack_frames(lines)
    computations: dict[str, dict[str, Instruction]] = {}
    entry = current = None
    for line in lines:
        line = _COMMENT.sub("", line)
        header = None if line[:1].isspace() else _HEADER.match(line)
        if header and not line.startswith("HloModule"):
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current[found[1]] = _instruction(found[1], found[2], frames)
    if entry is None:
        raise ValueError("the text has no ENTRY computation: it is no HLO module")
    return Module(computations, entry)


def _instruction(name: str, text: str, frames: dict[int, tuple[Source, ...]]) -> Instruction:
    cut = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shape, rest = text[:cut], text[cut:].strip()
    start = rest.index("(")
    end = _closing(rest, start)
    opcode, inside, attributes = rest[:start], rest[start + 1 : end - 1], rest[end:]
    operands = tuple(part.split()[-1].lstrip("%") for part in _split(inside) if part.strip())
    called = tuple(
        (role, callee.strip().lstrip("%"))
        for role, names in _CALLED.findall(attributes)
        for callee in names.strip("{}").split(",")
        if callee.strip()
    )
    scope, source = _SCOPE.search(attributes), _SOURCE.search(attributes)
    frame = _FRAME.search(attributes)
    sources = (Source(_short(source[1]), int(source[2])),) if source else ()
    if frame:
        sources = frames.get(int(frame[1]), ())
    return Instruction(
        name, opcode, shape, operands, called, attributes, scope[1] if scope else "", sources
    )


def _closing(text: str, start: int) -> int:
    """Past the bracket that closes the one at `start`; quotes are skipped."""
    depth, quoted = 0, False
    for i in range(start, len(text)):
        if text[i] == '"':
            quoted = not quoted
        elif not quoted and text[i] in _BRACKETS:
            depth += 1
        elif not quoted and text[i] in _BRACKETS.values():
            depth -= 1
            if depth == 0:
                return i + 1
    raise ValueError(f"unbalanced brackets in {text[:80]!r}")


def _split(text: str) -> Iterator[str]:
    """At commas outside of brackets."""
    depth = start = 0
    for i, char in enumerate(text):
        depth += (char in _BRACKETS) - (char in _BRACKETS.values())
        if char == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _stack_frames(lines: list[str]) -> dict[int, tuple[Source, ...]]:
    """By number, the lines of source on the stack when an operation was traced."""
    tables: dict[str, dict[int, str]] = {}
    table: dict[int, str] = {}
    for line in lines:
        if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            table = tables.setdefault(line, {})
        elif tables and line[:1].isdigit():
            number, _, rest = line.partition(" ")
            table[int(number)] = rest
    if "StackFrames" not in tables:
        return {}

    def field(text: str, name: str) -> int:
        found = re.search(rf"\b{name}=(\d+)", text)
        return int(found[1]) if found else 0

    names, places, calls = (tables[x] for x in ("FileNames", "FileLocations", "StackFrames"))
    # Parents are numbered from 0 or from 1, which the outermost frame tells.
    first = field(calls[1], "parent_frame_id") if 1 in calls else 0
    frames: dict[int, tuple[Source, ...]] = {0: ()}
    for number, text in sorted(calls.items()):
        place = places[field(text, "file_location_id")]
        file = names[field(place, "file_name_id")].strip('"')
        above = frames.get(field(text, "parent_frame_id") - first, ())
        frames[number] = (Source(_short(file), field(place, "line")), *above)
    return frames


def _short(path: str) -> str:
    """Within the package, so that it reads the same on all machines."""
    path = path.rpartition("site-packages/")[2]
    found = re.search(r"(?:^|/)((?:gfnjax|benchmarks|tests)/.*)", path)
    return found[1] if found else path.lstrip("/") if "site-packages" in path else path


def dimensions(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """Types and sizes of all arrays in a shape, which may be a tuple of shapes."""
    return [
        (kind, tuple(int(x.lstrip("<=")) for x in sizes.split(",") if x))
        for kind, sizes in _ARRAY.findall(shape)
    ]


def size_in_bytes(shape: str) -> int:
    """Of all arrays of a shape together, without padding."""
    total = 0
    for kind, sizes in dimensions(shape):
        bits = re.search(r"\d+", kind)
        width = BYTES.get(kind, int(bits[0]) // 8 if bits else 4)
        count = 1
        for size in sizes:
            count *= size
        total += width * count
    return total
