"""The flags of one command as a dataclass, and the parser (tyro) that fills it in."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gfnjax import registry
from gfnjax.cli.spelling import Flag
from gfnjax.options import one_of
from gfnjax.run.choices import Parts, Values
from gfnjax.run.config import CHOICES, UsageError

MARKERS = tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff
HELP = {
    "objective": "what the policy is trained with",
    "network": "what the policy is computed by",
    "replay": "kind of replay buffer",
    "logger": "where metrics go besides metrics.jsonl; may be given more than once",
    "variant": "other settings than the usual ones, which other flags may change",
    "output": "folder of the {what}, new or empty; {what}s/NAME-NUMBER without",
}


def make_form(parts: Parts, flags: Sequence[Flag], command: str, own: type | None) -> type:
    """A dataclass of all flags, in groups, for the parser alone; `own` are those of a command."""
    members: list[Any] = []
    for kind in CHOICES:
        hint = Annotated[one_of(registry.names(kind)), tyro.conf.arg(help=HELP[kind])]  # type: ignore
        members.append((kind, hint, field(default=getattr(parts, kind).name)))
    several: Any = tyro.conf.UseAppendAction[tuple[one_of(registry.names("logger")), ...]]  # type: ignore
    members.append(("logger", Annotated[several, tyro.conf.arg(help=HELP["logger"])], ()))
    if parts.environment.variants:
        variants = one_of(tuple(parts.environment.variants))
        hint = Annotated[variants, tyro.conf.arg(help=HELP["variant"])]  # type: ignore
        members.append(("variant", hint, next(iter(parts.environment.variants))))
    output = HELP["output"].format(what="run" if command == "train" else "sweep")
    members.append(("output", Annotated[Path | None, tyro.conf.arg(help=output)], None))
    if own is not None:
        title = tyro.conf.arg(name=command, help="")
        members.append((command, Annotated[own, title], dataclasses.MISSING))
    titles = {part: f"{entry.kind} {entry.name}" for part, entry in parts.entries.items()}
    for part in dict.fromkeys(flag.part for flag in flags):
        group = _group_of_flags(part, flags)
        title = tyro.conf.arg(name=titles.get(part, part), help="")
        members.append((_group(part), Annotated[group, title], dataclasses.MISSING))
    return make_dataclass("Form", members, frozen=True, kw_only=True)


def read_form(parsed: Any, flags: Sequence[Flag], values: Values) -> None:
    """Put what has been parsed into `values`."""
    for i, flag in enumerate(flags):
        group = getattr(parsed, _group(flag.part))
        values[flag.part][flag.option.field] = getattr(group, f"f{i}")


def _group(part: str) -> str:
    return "g_" + re.sub(r"\W", "_", part)


def _group_of_flags(part: str, flags: Sequence[Flag]) -> type:
    members: list[Any] = []
    for i, flag in enumerate(flags):
        if flag.part == part:
            option = flag.option
            leaf = tyro.conf.arg(name=flag.name, help=option.help, prefix_name=False)
            required = option.default is dataclasses.MISSING
            default = tyro.MISSING if required else option.default
            members.append((f"f{i}", Annotated[option.hint, leaf], field(default=default)))
    group = make_dataclass("Group", members, frozen=True)
    group.__doc__ = ""
    return group


def with_tyro(form: Any, arguments: Sequence[str], prog: str, description: str) -> Any:
    """What the parser makes of arguments; None after a help text."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                form, prog=prog, description=description, args=arguments, config=MARKERS
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise UsageError(one_line(errors.getvalue(), prog)) from None


def one_line(box: str, prog: str = "gfnjax") -> str:
    """A framed message of the argument parser as one line, without its help texts."""
    sections: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines():
        text = line.strip("│ ")
        if re.fullmatch(r"[─-]{9,}|[╭╰].*", text):  # the frame, and rules within
            sections.append([])
        else:
            sections[-1].append(text)
    if "╭" not in box:  # without box-drawing characters the title comes first, on its own
        del sections[0]
    sentences = [" ".join(filter(None, lines)).rstrip(".") for lines in sections]
    hints = "For full helptext", "Argument helptext"
    message = "; ".join(s for s in sentences if s and not s.startswith(hints))
    # Values that do not go together are reported under the parser's internal name.
    message = re.sub(r"Error parsing \S*dummy\S*: ", "", message)
    return f"{message} (see {prog} --help)"
