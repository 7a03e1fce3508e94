"""What the library says about its arguments, said about the flags of one command."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gfnjax import registry
from gfnjax.cli.spelling import SWEEP_NAMES, Flag, any_of, part_flags, setting_flags
from gfnjax.errors import ArgumentError, Use, Words
from gfnjax.objectives.base import as_objective
from gfnjax.registry import Entry
from gfnjax.run.choices import Parts, select
from gfnjax.run.config import CHOICES, Config, Sampling, UsageError
from gfnjax.run.session import RunFailedError

# The fields of settings that say what an argument is to be, where they are called otherwise. An
# entry of the registry can have a `stands_for` of its own.
STANDS_FOR: dict[str, tuple[str, ...]] = {
    "sampler": ("replay", "local_search", "window", "teacher_share", "thompson", "group_size"),
    "fresh": ("window",),
    "Windows.length": ("window",),
    "ModeCount.sampler": ("count_modes",),
    "num_rounds": ("local_search",),
    "back_share": ("search_back",),
    "policy": ("network",),
    "EnsemblePolicy.num_members": ("thompson",),
    "num_members": ("thompson",),
    "keep": ("thompson_keep",),
    "Teacher.share": ("teacher_share",),
    "share": ("teacher_share",),
    "num_chains": ("batch_size",),
    "size": ("group_size",),
    "temperatures": ("lowest_temperature", "highest_temperature"),
}


@dataclass(frozen=True)
class Wording:
    """The flags of a command, by what they say something about.

    Attributes:
        parts: who takes part.
        flags: all flags.
        config: what has been chosen; None before it is complete.
        owner: the part that is spoken of, if it is known.
    """

    parts: Parts
    flags: Sequence[Flag]
    config: Config | None = None
    owner: str | None = None

    def say(self, words: Words) -> str:
        """A text, or what to do instead, about flags."""
        found = list(self._remedies(words)) if isinstance(words, Use) else []
        return ", or ".join(found) or words.said(self.name)

    def name(self, argument: str) -> str:
        """The flags that an argument comes from; itself, where there are none."""
        own = [getattr(entry.cls, "stands_for", {}) for entry in self.parts.entries.values()]
        renamed = [names[argument] for names in own if argument in names]
        last = argument.rpartition(".")[2]
        stood_for = STANDS_FOR.get(argument) or STANDS_FOR.get(last, ())
        qualified = argument in STANDS_FOR and argument != last
        tries = renamed, stood_for if qualified else (last,), stood_for
        for fields in tries:
            flags = [flag for flag in map(self._flag, self._in_use(fields)) if flag is not None]
            if flags:
                return _all_of(flags)
        return f"--{SWEEP_NAMES[argument]}" if argument in SWEEP_NAMES else argument

    def _in_use(self, fields: Sequence[str]) -> Sequence[str]:
        """Of several, those that are not as they are by themselves; all, where that is unknown."""
        if self.config is None or len(fields) < 2:
            return fields
        given = dataclasses.asdict(self.config.sampling) | {"replay": self.config.replay.name}
        usual = dataclasses.asdict(Sampling()) | CHOICES
        return [field for field in fields if given[field] != usual[field]] or fields

    def _flag(self, field: str) -> str | None:
        """Of what is spoken of, before all others."""
        if field in (*CHOICES, "logger", "output"):
            return f"--{field}"
        flags = [flag for flag in self.flags if flag.option.field == field]
        flags.sort(key=lambda flag: (flag.part != self.owner, flag.name != flag.option.word))
        return f"--{flags[0].name}" if flags else None

    def _remedies(self, use: Use) -> Iterator[str]:
        for argument, suits in use.suits.items():
            if isinstance(suits, str):
                if flag := self._flag(argument):
                    yield f"use {flag} {suits}"
            elif argument not in registry.KINDS:
                yield f"use {self.name(argument)}"
            elif names := list(self._names(argument, suits)):
                yield f"use --{argument} {any_of(names)}"
        if use.without:
            yield f"leave out {_all_of(dict.fromkeys(map(self.name, use.without)))}"

    def _names(self, kind: str, suits: Callable[[Any], bool] | None) -> Iterator[str]:
        """What is registered and would do."""
        settings = None if self.config is None else self.config.training
        for entry in registry.entries(kind):
            other = entry.name != getattr(settings, kind, None)
            if other if suits is None else _suits(entry, suits):
                yield entry.name


def _suits(entry: Entry, suits: Callable[[Any], bool]) -> bool:
    try:
        made = entry.make()
        made = made.make() if hasattr(made, "make") else made
        return suits(as_objective(made) if entry.kind == "objective" else made)
    except Exception:  # a plug-in's, or one that takes more than its defaults
        return False


def _all_of(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def in_flags(error: Exception, parts: Parts, config: Config | None = None) -> str:
    """An error of the library for somebody who has typed flags."""
    owner = getattr(getattr(error, "about", error), "owner", None)
    wording = Wording(parts, [*part_flags(parts), *setting_flags()], config, owner)
    if isinstance(error, ArgumentError | UsageError | RunFailedError):
        return error.said(wording.say)
    return str(error)


class Told(Exception):
    """What is to be said of the error that it comes from."""


@contextmanager
def speaking_of(read: Callable[[], Config]) -> Iterator[None]:
    """Errors of a run name the flags of its configuration, which `read` gives."""
    try:
        yield
    except (UsageError, RunFailedError) as error:
        if isinstance(error, UsageError) and error.about is None:
            raise
        config = read()
        chosen = {kind: getattr(config, kind).name for kind in CHOICES}
        parts = select(config.environment, chosen, [choice.name for choice in config.loggers])
        raise Told(in_flags(error, parts, config)) from error
