"""How flags are spelled: `--my-balance.scale`, and `--scale` where nothing else is called that."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import get_type_hints

from gfnjax import registry
from gfnjax.arguments import suggest
from gfnjax.options import Option, field_help, one_of
from gfnjax.registry import Entry
from gfnjax.run.choices import SETTINGS, Parts, Values
from gfnjax.run.config import CHOICES, UsageError

# What the library calls otherwise.
SWEEP_NAMES = {
    "num_devices": "devices",
    "num_batch_devices": "batch-devices",
    "members_at_once": "members-at-once",
    "num_samples": "samples",
    "memory": "memory",
    "seeds": "seeds",
    "points": "points",
}
# Of the command itself, and of every environment alike.
SWEEP = (
    *("trials", "population", "study", "sampler", "pruner"),
    *("vary", "seeds", "samples", "points", "table", "metric"),
    *("devices", "batch-devices", "members-at-once", "memory", "compile-for"),
    *("coordinator", "num-processes", "process-id", "distributed"),
)
RESERVED = ("help", "import", "output", *CHOICES, "logger", *SWEEP)


@dataclass(frozen=True)
class Flag:
    """One flag of a command.

    Attributes:
        part: what it says something about, as in `gfnjax.run.choices.Values`.
        option: the field.
        name: without dashes in front, as it is shown.
        others: other ways to spell it.
    """

    part: str
    option: Option
    name: str
    others: tuple[str, ...] = field(default=())

    @property
    def column(self) -> str:
        """Its name in a table."""
        return self.name.replace("-", "_")


def command_flags(parts: Parts, values: Values) -> list[Flag]:
    """All flags of a command, whose defaults are `values` where these say something."""

    def with_default(flag: Flag) -> Flag:
        default = values[flag.part].get(flag.option.field, flag.option.default)
        return replace(flag, option=replace(flag.option, default=default))

    return [with_default(flag) for flag in (*part_flags(parts), *setting_flags())]


def setting_flags() -> list[Flag]:
    """Those of every run, which have the right to their short names."""
    flags = []
    for part, cls in SETTINGS.items():
        hints, helps = get_type_hints(cls), field_help(cls)
        for f in fields(cls):
            hint = hints[f.name]
            if f.name in registry.KINDS:
                named = one_of(registry.names(f.name))
                hint = named if f.default is not None else named | None
            option = Option(f.name, hint, f.default, helps.get(f.name, ""))
            flags.append(Flag(part, option, option.word, _with_dots(f.name)))
    return flags


def _with_dots(field: str) -> tuple[str, ...]:
    """The spelling that options of what is chosen have, for a setting of one: `huber.delta`."""
    owner, _, option = field.partition("_")
    named = owner in registry.names("regression")
    return (f"{owner}.{option.replace('_', '-')}",) if named else ()


def part_flags(parts: Parts) -> list[Flag]:
    """Those of the environment and of what has been chosen."""
    found = [(part, entry, o) for part, entry in parts.entries.items() for o in entry.options]
    taken = {flag.name for flag in setting_flags()} | set(RESERVED)
    count = Counter(option.word for _, _, option in found)
    full_count = Counter(f"{entry.name}.{option.word}" for _, entry, option in found)
    flags = []
    for part, entry, option in found:
        full, by_kind = f"{entry.name}.{option.word}", f"{entry.kind}.{option.word}"
        full = full if full_count[full] == 1 else by_kind
        unique = count[option.word] == 1 and option.word not in taken
        name = option.word if unique else full
        spelled = full, full.replace(".", "-"), by_kind, by_kind.replace(".", "-")
        others = dict.fromkeys(x for x in spelled if x != name and x not in taken)
        flags.append(Flag(part, option, name, tuple(others)))
    return flags


def find_flag(spelling: str, flags: Sequence[Flag], parts: Parts) -> Flag:
    """The flag of a spelling, without dashes in front.

    Raises:
        UsageError: as `rewrite`.
    """
    known = _by_spelling(flags)
    if spelling in RESERVED:
        raise UsageError(f"--{spelling} cannot be varied: it is one for all of them")
    if spelling not in known:
        raise UsageError(_unknown(spelling, spelling, known, parts))
    return known[spelling]


def rewrite(arguments: Sequence[str], flags: Sequence[Flag], parts: Parts) -> list[str]:
    """Arguments with every flag spelled by its `name`.

    Raises:
        UsageError: for a flag that is none here; it says of what it is one, or what is meant.
    """
    known = _by_spelling(flags)
    return [word for argument in arguments for word in _rewrite_one(argument, known, parts)]


def _by_spelling(flags: Sequence[Flag]) -> dict[str, Flag]:
    known: dict[str, Flag] = {}
    for flag in flags:
        for spelling in flag.others:
            known.setdefault(spelling, flag)
    return known | {flag.name: flag for flag in flags}


def _rewrite_one(argument: str, known: dict[str, Flag], parts: Parts) -> list[str]:
    if not argument.startswith("--") or argument in ("--", "--help"):
        return [argument]
    body, equals, value = argument[2:].replace("_", "-").partition("=")
    value = argument.partition("=")[2]
    if body in RESERVED:
        return [argument]
    if body in known:
        flag = known[body]
        if flag.option.hint is bool and flag.option.default is True and not equals:
            return []  # so it is
        return [f"--{flag.name}{equals}{value}"]
    positive = _positive(body)
    if positive in known and known[positive].option.hint is bool:
        flag = known[positive]
        return [f"--no-{flag.name}"] if flag.option.default else []
    raise UsageError(_unknown(positive or body, body, known, parts))


def _positive(body: str) -> str | None:
    """`no-x`, `no-part.x` and `part.no-x` without their "no"."""
    owner, dot, word = body.rpartition(".")
    if word.startswith("no-"):
        return f"{owner}{dot}{word.removeprefix('no-')}"
    return body.removeprefix("no-") if body.startswith("no-") else None


def _unknown(word: str, body: str, known: dict[str, Flag], parts: Parts) -> str:
    """What to say of a flag that is none of this command."""
    same = dict.fromkeys(flag.name for flag in known.values() if flag.option.word == word)
    if len(same) == 1:
        return f"there is no flag --{body}; did you mean --{next(iter(same))}?"
    if same:
        full = [f"--{name}" for name in same]
        return f"--{body} is a flag of more than one part: write {' or '.join(full)}"
    chosen = [(entry.kind, entry.name) for entry in parts.entries.values()]
    for kind in (*CHOICES, "logger", "environment"):
        owners = [
            e for e in registry.entries(kind) if (kind, e.name) not in chosen and _has(e, word)
        ]
        if owners:
            names = any_of(entry.name for entry in owners)
            if kind == "environment":
                return f"--{body} is a flag of environment {names}, not of {parts.environment.name}"
            return f"--{body} is a flag of {kind} {names}, to be chosen with --{kind}"
    for kind in (*CHOICES, "logger"):
        if word in registry.names(kind):
            return f"there is no flag --{body}; did you mean --{kind} {word}?"
    hint = suggest(word, [*RESERVED, *known])
    see = f"see gfnjax train {parts.environment.name} --help"
    return f"there is no flag --{body}{hint.replace('did you mean ', 'did you mean --')} ({see})"


def _has(entry: Entry, word: str) -> bool:
    prefixes = ("", f"{entry.name}.", f"{entry.name}-", f"{entry.kind}.", f"{entry.kind}-")
    return any(word == prefix + o.word for o in entry.options for prefix in prefixes)


def any_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
