"""`gfnjax list`: everything that has a name, what it is, and its flags."""

import dataclasses
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from gfnjax import registry
from gfnjax.cli.spelling import RESERVED, setting_flags
from gfnjax.options import Option
from gfnjax.registry import Entry
from gfnjax.run.choices import default_values, select
from gfnjax.run.config import Training, UsageError

LIST_WIDTH, NAME_WIDTH = 100, 18
WORDS = {str: "TEXT", int: "NUMBER", float: "NUMBER"}


def listing() -> str:
    """Environments with their flags and settings, then all else."""
    lines = ["environments: gfnjax train NAME, with these and other flags"]
    for entry in registry.entries("environment"):
        lines += [*_about(entry), _entry("", [_settings(entry.name)])]
    for kind in registry.KINDS[1:]:
        lines.append(f"\n--{kind}")
        for entry in registry.entries(kind):
            lines += _about(entry)
    return "\n".join(lines)


def _about(entry: Entry) -> Iterator[str]:
    origin = f" [{entry.module}]" if entry.is_plugin else ""
    yield _entry(entry.name, f"{entry.summary}{origin}".split())
    taken = {flag.name for flag in setting_flags()} | set(RESERVED)
    names = [o.word if o.word not in taken else f"{entry.name}.{o.word}" for o in entry.options]
    if flags := [_flag(*pair) for pair in zip(names, entry.options, strict=True)]:
        yield _entry("", flags, gap="  ")


def _settings(name: str) -> str:
    """What a run of an environment is without flags."""
    try:
        parts = select(name)
        training = Training(**default_values(parts)["training"])
    except (UsageError, TypeError, ValueError) as error:
        return f"(cannot be trained: {error})"
    words = (
        parts.objective.name,
        parts.network.name,
        f"{training.backward or 'learned'} backward policy",
    )
    return f"({', '.join(words)}, batch {training.batch_size}, {training.steps:,} steps)"


def _entry(name: str, words: Sequence[str], gap: str = " ") -> str:
    """A name and what belongs to it, on lines of at most 100 characters."""
    lines = [""]
    for word in words:
        longer = lines[-1] + gap + word if lines[-1] else word
        if len(longer) > LIST_WIDTH - NAME_WIDTH - 3:
            lines.append(word)
        else:
            lines[-1] = longer
    names = [name, *[""] * (len(lines) - 1)]
    return "\n".join(f"  {n:<{NAME_WIDTH}} {x}" for n, x in zip(names, lines, strict=True))


def _flag(name: str, option: Option) -> str:
    """`--flag default`, or the alternatives."""
    flag, default = f"--{name}", option.default
    if isinstance(default, bool):
        return f"[--no-{name}]" if default else f"[{flag}]"
    kinds = get_args(option.hint) if get_origin(option.hint) is Literal else ()
    if kinds:
        return f"{flag} {'|'.join(map(str, kinds))}"
    if default is None:
        return f"[{flag} {_word(option.hint)}]"
    if default is dataclasses.MISSING:
        return f"{flag} {_word(option.hint)}"
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{flag} {shown}"


def _word(hint: Any) -> str:
    kinds = get_args(hint) or (hint,)
    kind = next((kind for kind in kinds if kind is not NoneType), str)
    return WORDS.get(kind, "FILE")
