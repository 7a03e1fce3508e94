"""`gfnjax sweep NAME`: the flags of a training, and `--vary` for any of them."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from gfnjax.arguments import whole
from gfnjax.cli.reading import Read, read_training, take
from gfnjax.cli.spelling import Flag, find_flag
from gfnjax.cli.wording import in_flags
from gfnjax.errors import ArgumentError
from gfnjax.run import plugins
from gfnjax.run.choices import assemble
from gfnjax.run.config import CHOICES, UsageError
from gfnjax.run.sweeps.config import COMMON, Point, SweepConfig
from gfnjax.run.sweeps.judging import check_metric
from gfnjax.run.sweeps.spelling import read_bytes, read_points, read_values
from gfnjax.sweeps.placement import Placement
from gfnjax.sweeps.points import Uniform, given_points, make_points

# Who takes part: these decide which other flags there are.
PARTS = (*CHOICES, "variant")


@dataclass(frozen=True)
class SweepFlags:
    """What a sweep has besides the flags of a training."""

    vary: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUES, any flag, once or more: 1e-4,1e-3 or start:stop:count or log:start:stop:count,
    or, to be drawn, uniform:low:high or log-uniform:low:high"""
    seeds: int = 1
    """of each setting: --seed and those that follow"""
    samples: int | None = None
    """how many settings are drawn, where any are"""
    points: Path | None = None
    """a CSV file of settings, one a row, instead of all combinations"""
    devices: int | None = None
    """how many; all without, and on CPU one a core"""
    batch_devices: int = 1
    """devices that share the batch of one run"""
    members_at_once: int | None = None
    """runs that a device computes in one operation, at most; what suits it without"""
    memory: str | None = None
    """that a device may use, such as 16GB; what it reports without"""
    table: Literal["csv", "parquet"] = "csv"
    """form of the results"""
    metric: str | None = None
    """by which settings are judged"""
    compile_for: str | None = None
    """train nothing: compile for TPUs that need not be here, such as v5e:2x4, and say what of it"""
    coordinator: str | None = None
    """where there are several processes: host:port of the first of them"""
    num_processes: int | None = None
    """how many processes there are"""
    process_id: int | None = None
    """of this process, from 0 on"""
    distributed: bool = False
    """ask SLURM, Open MPI, a TPU pod or Kubernetes for the last three"""


@dataclass(frozen=True)
class Sweep:
    """Train many settings and seeds of an environment as one compiled program."""

    config: SweepConfig
    output: Path | None
    placement: Placement
    table: str
    metric: str | None
    compile_for: str | None


def parse_sweep(
    name: str, arguments: Sequence[str], failures: Sequence[plugins.Failure]
) -> tuple[Sweep | None, list[str]]:
    """The command, or None after a help text; and warnings.

    Raises:
        UsageError: for anything else, in one line.
    """
    asked, arguments = take_vary(arguments)
    bases = Bases(name, arguments, failures)
    kinds = {k: words_of(text) for k, text in asked.items() if k in PARTS}
    first = bases.at({kind: names[0] for kind, names in kinds.items()})
    if first is None:
        return None, []
    own: SweepFlags = first.parsed.sweep
    try:
        points = _points(asked, kinds, own, bases, first)
        made = tuple(make_point(point, bases, kinds) for point in points)
        placement = placement_of(own)
        check_metric(own.metric)
        seed = first.values["training"].get("seed", 0)
        config = SweepConfig(made, tuple(range(seed, seed + whole("seeds", own.seeds, least=1))))
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(in_flags(error, first.parts)) from error
    given = first.parsed.output, placement, own.table, own.metric, own.compile_for
    return Sweep(config, *given), list(map(str, failures))


def words_of(text: str) -> list[str]:
    """Names between commas."""
    return [word.strip() for word in text.split(",")]


def take_vary(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What `--vary` says, by name as it is spelled, and the arguments without it.

    Raises:
        UsageError: if it says something else than NAME=VALUES, or a name twice.
    """
    texts, others = take(arguments, "vary", "NAME=VALUES")
    asked = dict(map(_pair, texts))
    if len(asked) < len(texts):
        raise UsageError("--vary names something twice: give each name all its values at once")
    return asked, others


def placement_of(own: Any) -> Placement:
    """What the flags of a command say of devices and memory; an `ArgumentError` where wrong."""
    memory = None if own.memory is None else read_bytes(own.memory)
    return Placement(own.devices, own.batch_devices, own.members_at_once, memory)


@dataclass
class Bases:
    """What the other flags say, with each choice of who takes part."""

    name: str
    arguments: Sequence[str]
    failures: Sequence[plugins.Failure]
    command: str = "sweep"
    own: type = SweepFlags

    def __post_init__(self) -> None:
        self._known: dict[tuple[tuple[str, str], ...], Read | None] = {}

    def at(self, chosen: Mapping[str, str]) -> Read | None:
        key = tuple(chosen.items())
        if key not in self._known:
            words = [f"--{kind}={name}" for kind, name in chosen.items()]
            given = [*self.arguments, *words]
            read = read_training(self.name, given, self.failures, self.command, self.own)
            self._known[key] = read
        return self._known[key]


def _pair(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals or not name:
        raise UsageError(
            f"--vary must say NAME=VALUES, such as learning_rate=1e-4,1e-3, got {text}"
        )
    return name.lstrip("-").replace("_", "-"), values


def _points(
    asked: Mapping[str, str],
    kinds: Mapping[str, list[str]],
    own: SweepFlags,
    bases: Bases,
    first: Read,
) -> list[dict[str, Any]]:
    """Values by name, as they are spelled in a table."""

    def column(spelled: str) -> tuple[str, Any]:
        word = spelled.replace("_", "-")
        if word in PARTS:
            problem = f"must be varied with --vary {word}=..., not in a file"
            raise ArgumentError("points", problem)
        found = find_varied(word, bases, kinds)
        return found.column, found.option.hint

    if own.points is not None:
        if asked or own.samples is not None:
            raise UsageError("--points has all settings: leave out --vary and --samples")
        return given_points(read_points(own.points, column))
    vary: dict[str, list[Any] | Uniform] = {}
    for spelled, text in asked.items():
        if spelled in kinds:
            vary[spelled] = list(kinds[spelled])
            continue
        found = find_varied(spelled, bases, kinds)
        if found.column in vary:
            raise UsageError(f"--vary names --{found.name} twice: give it all its values at once")
        vary[found.column] = read_values(found.option.field, found.option.hint, text)
    if own.samples is None and (drawn := [n for n, v in vary.items() if isinstance(v, Uniform)]):
        raise UsageError(f"--samples must say how many settings are drawn ({', '.join(drawn)})")
    return make_points(vary, own.samples, first.values["training"].get("seed", 0))


def find_varied(spelled: str, bases: Bases, kinds: Mapping[str, Sequence[str]]) -> Flag:
    """A flag that may be varied, and is there whoever takes part; a `UsageError` for any other."""
    flags = []
    for chosen in itertools.product(*kinds.values()):
        read = bases.at(dict(zip(kinds, chosen, strict=True)))
        assert read is not None
        flags.append(find_flag(spelled, read.flags, read.parts))
        _check_varied(flags[-1])
    return flags[0]


def _check_varied(flag: Flag) -> None:
    field = flag.option.field
    if field == "seed":
        raise UsageError("--vary seed: use --seeds N, for --seed and those that follow")
    if flag.part == "training" and field in COMMON:
        raise UsageError(f"--vary {flag.name}: it is one for all members of a sweep")


def make_point(point: Mapping[str, Any], bases: Bases, kinds: Mapping[str, Sequence[str]]) -> Point:
    """The point of some values."""
    base = bases.at({kind: point[kind] for kind in kinds})
    assert base is not None
    values = copy.deepcopy(base.values)
    columns = {flag.column: flag for flag in base.flags}
    for name, value in point.items():
        if name not in kinds:
            flag = columns[name]
            values[flag.part][flag.option.field] = value
    return Point(dict(point), assemble(base.parts, values))
