"""The flags of a training, in two steps: who takes part, then what there is to say about them.

The parser is built for one environment, objective, network and so on, so that its help shows these
and nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gfnjax import registry
from gfnjax.cli.form import make_form, read_form, with_tyro
from gfnjax.cli.spelling import Flag, command_flags, rewrite
from gfnjax.run import plugins
from gfnjax.run.choices import Parts, Values, default_values, select
from gfnjax.run.config import CHOICES, UsageError


@dataclass(frozen=True)
class Read:
    """What has been read: who takes part, all flags, what they say, and the form they were in."""

    parts: Parts
    flags: list[Flag]
    values: Values
    parsed: Any


def take(arguments: Sequence[str], name: str, what: str = "a name") -> tuple[list[str], list[str]]:
    """The values of a flag, given once or more; the arguments without it.

    Raises:
        UsageError: if a value is missing.
    """
    values, others = [], []
    rest = iter(arguments)
    for argument in rest:
        word, equals, value = argument.partition("=")
        if word.replace("_", "-") != f"--{name}":
            others.append(argument)
            continue
        value = value if equals else next(rest, "")
        if not value or value.startswith("-"):
            raise UsageError(f"--{name} must be followed by {what}")
        values.append(value)
    return values, others


def read_training(
    name: str,
    arguments: Sequence[str],
    failures: Sequence[plugins.Failure],
    command: str,
    own: type | None = None,
) -> Read | None:
    """The flags of a training of the environment `name`; None after a help text.

    Args:
        name: of the environment.
        arguments: what comes after it.
        failures: plug-ins that could not be imported.
        command: that is read, for help and errors.
        own: a dataclass of the flags that this command has besides.

    Raises:
        UsageError: for anything else, in one line.
    """
    parts, arguments = _choose(name, arguments, failures)
    _refuse_clashes(parts, failures)
    values = default_values(parts)
    flags = command_flags(parts, values)
    given = rewrite(arguments, flags, parts)
    form = make_form(parts, flags, command, own)
    parsed = with_tyro(form, given, f"gfnjax {command} {name}", parts.environment.summary)
    if parsed is None:
        return None
    read_form(parsed, flags, values)
    return Read(parts, flags, values, parsed)


def _choose(
    name: str, arguments: Sequence[str], failures: Sequence[plugins.Failure]
) -> tuple[Parts, Sequence[str]]:
    """The first step: who takes part; and the other arguments."""
    chosen = {}
    for kind in CHOICES:
        values, arguments = take(arguments, kind)
        chosen |= {kind: values[-1]} if values else {}
    loggers, arguments = take(arguments, "logger")
    variant = None
    if name in registry.names("environment") and registry.find("environment", name).variants:
        values, arguments = take(arguments, "variant")
        variant = values[-1] if values else None
    try:
        parts = select(name, chosen, loggers, variant)
        for kind in ("backward", "regression"):
            for value in take(arguments, kind)[0]:
                registry.find(kind, value)
    except ValueError as error:
        # What is missing may be in a plug-in that could not be imported.
        raise UsageError("; ".join(map(str, [error, *failures]))) from error
    return parts, arguments


def _refuse_clashes(parts: Parts, failures: Iterable[plugins.Failure]) -> None:
    """Raise a `UsageError` where a plug-in has another thing of the name that is asked for."""
    used = {(entry.kind, entry.name) for entry in parts.entries.values()}
    for failure in failures:
        error = failure.error
        if isinstance(error, registry.ClashError) and (error.kind, error.name) in used:
            raise UsageError(failure.reason)
