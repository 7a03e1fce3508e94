"""From arguments to a command, in two steps: who takes part, then the flags that these have.

The parser is built for one environment, objective, network and so on, so that its help shows what
there is to say about them and nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gfnjax import registry
from gfnjax.cli.form import make_form, read_form, with_tyro
from gfnjax.cli.spelling import command_flags, rewrite
from gfnjax.cli.wording import in_flags
from gfnjax.options import one_of
from gfnjax.run import plugins
from gfnjax.run.choices import Parts, assemble, default_values, select
from gfnjax.run.config import CHOICES, Config, UsageError

DESCRIPTION = (
    "Train, evaluate and draw GFlowNets: networks that sample objects x with p(x) ~ R(x). "
    "--import MODULE, anywhere, adds what a module of your own registers."
)
HELP = ("-h", "--help")


@dataclass(frozen=True)
class Train:
    """Train on an environment; without flags, on its default size."""

    config: Config
    output: Path | None


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was interrupted, as if it had not been."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""
    steps: int | None = None
    """new total number of steps, to extend the run; its --stop-at-tv no longer applies"""


@dataclass(frozen=True)
class Plot:
    """Draw the pictures of a run, from its metrics and newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""


@dataclass(frozen=True)
class List:
    """List environments, objectives, networks and all else that has a name, with their flags."""


def _commands() -> Any:
    """All commands, for their help; a training has a parser of its own."""
    names = Annotated[
        one_of(registry.names("environment")),  # type: ignore
        tyro.conf.arg(help="the environment, see gfnjax list"),
    ]
    train = make_dataclass("TrainName", [("name", tyro.conf.Positional[names])])  # type: ignore
    train.__doc__ = "Train on an environment; gfnjax train NAME --help has all flags."
    return (
        Annotated[train, tyro.conf.subcommand("train")]
        | Annotated[Resume, tyro.conf.subcommand("resume")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[List, tyro.conf.subcommand("list")]
    )


def parse(arguments: Sequence[str]) -> tuple[Train | Resume | Plot | List | None, list[str]]:
    """The command, or None after a help text; and warnings of plug-ins that nothing is used of.

    Raises:
        UsageError: for anything else, in one line.
    """
    modules, arguments = take(arguments, "import")
    if modules or arguments[:1] in (["resume"], ["plot"]):
        plugins.look_here()
    for module in modules:
        plugins.import_module(module)
    command, name = arguments[:1], arguments[1:2]
    if command not in (["train"], ["list"]):
        return with_tyro(_commands(), arguments or ["--help"], "gfnjax", DESCRIPTION), []
    failures = plugins.import_entry_points()
    if command == ["train"] and name and not name[0].startswith("-"):
        return _parse_train(name[0], arguments[2:], failures)
    if command == ["train"] and not (name and name[0] in HELP):
        names = ", ".join(registry.names("environment"))
        raise UsageError(f"train needs the name of an environment first, one of {names}")
    return with_tyro(_commands(), arguments, "gfnjax", DESCRIPTION), list(map(str, failures))


def take(arguments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """The values of a flag, given once or more; the arguments without it.

    Raises:
        UsageError: if a value is missing.
    """
    values, others = [], []
    rest = iter(arguments)
    for argument in rest:
        word, equals, value = argument.partition("=")
        if word != f"--{name}":
            others.append(argument)
            continue
        value = value if equals else next(rest, "")
        if not value or value.startswith("-"):
            raise UsageError(f"--{name} must be followed by a name")
        values.append(value)
    return values, others


def _parse_train(
    name: str, arguments: Sequence[str], failures: Sequence[plugins.Failure]
) -> tuple[Train | None, list[str]]:
    """The second step: the flags of those who take part."""
    parts, arguments = _choose(name, arguments, failures)
    _refuse_clashes(parts, failures)
    values = default_values(parts)
    flags = command_flags(parts, values)
    given = rewrite(arguments, flags, parts)
    form = make_form(parts, flags)
    parsed = with_tyro(form, given, f"gfnjax train {name}", parts.environment.summary)
    if parsed is None:
        return None, []
    read_form(parsed, flags, values)
    try:
        config = assemble(parts, values)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(in_flags(error, parts)) from error
    return Train(config, parsed.output), list(map(str, failures))


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
