"""From names to a `Config`: what suits an environment, and what somebody has chosen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from gfnjax import registry
from gfnjax.arguments import suggest
from gfnjax.errors import ArgumentError
from gfnjax.options import from_plain
from gfnjax.registry import Entry
from gfnjax.run.config import CHOICES, Choice, Config, Sampling, Training, UsageError

SETTINGS: dict[str, type] = {"training": Training, "sampling": Sampling}
# Values by field, of each part by its name: "environment", "training", "logger tensorboard".
Values = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Parts:
    """What a run is made of: everything that brings options of its own."""

    environment: Entry
    objective: Entry
    network: Entry
    replay: Entry
    loggers: tuple[Entry, ...] = ()

    @property
    def entries(self) -> dict[str, Entry]:
        """All of them by part."""
        return {
            "environment": self.environment,
            **{kind: getattr(self, kind) for kind in CHOICES},
            **{f"logger {entry.name}": entry for entry in self.loggers},
        }


def select(
    environment: str,
    chosen: Mapping[str, str] | None = None,
    loggers: Sequence[str] = (),
    variant: str | None = None,
) -> Parts:
    """What is registered under the names, or under those that suit the environment.

    Args:
        environment: its name.
        chosen: "objective", "network", "replay" to a name.
        loggers: names, each once.
        variant: of the environment's settings; the usual ones without.

    Raises:
        UsageError: for a name that is not registered, or defaults of the environment that do not
            exist.
    """
    try:
        entry = registry.find("environment", environment).varied(variant)
        names = CHOICES | {k: v for k, v in entry.defaults.items() if k in CHOICES}
        names |= chosen or {}
        found = {kind: registry.find(kind, name) for kind, name in names.items()}
        others = tuple(registry.find("logger", name) for name in dict.fromkeys(loggers))
    except (TypeError, ValueError) as error:
        raise UsageError.of(error) from error
    return Parts(entry, loggers=others, **found)


def default_values(parts: Parts) -> Values:
    """The settings and options that the environment registers as suiting it.

    Raises:
        UsageError: for some that do not exist, or have another type.
    """
    values: Values = {part: {} for part in (*SETTINGS, *parts.entries)}
    try:
        for name, value in parts.environment.defaults.items():
            for part, field, hint, given in _resolve(parts, name, value):
                values[part][field] = from_plain(field, hint, given)
    except (TypeError, ValueError) as error:
        owner = f"environment {parts.environment.name} ({parts.environment.module})"
        raise UsageError(f"{owner}: in its defaults {error}") from error
    return values


def _resolve(parts: Parts, name: str, value: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Part, field, type and value of one entry of an environment's defaults."""
    for part, cls in SETTINGS.items():
        if name in (hints := get_type_hints(cls)):
            yield part, name, hints[name], value
            return
    if name in CHOICES:
        return
    kinds = "environment", *CHOICES, "logger"
    named = [entry for kind in kinds for entry in registry.entries(kind)]
    if name not in [entry.name for entry in named] and (owner := _owner(named, name)):
        remedy = f"write {{{owner!r}: {{{name!r}: ...}}}}"
        raise ArgumentError(name, f"is an option of {owner}", remedy, repr(name))
    if not isinstance(value, Mapping) or name not in [entry.name for entry in named]:
        known = [*CHOICES, *(f.name for cls in SETTINGS.values() for f in fields(cls))]
        known += [option.field for entry in parts.entries.values() for option in entry.options]
        problem = f"is no setting {name!r}{suggest(name, known)}"
        raise ArgumentError(name, problem, subject="there")
    for part, entry in parts.entries.items():
        if entry.name == name:
            hints = {option.field: option.hint for option in entry.options}
            for field, given in value.items():
                if field not in hints:
                    problem = f"has no option {field!r}{suggest(field, hints)}"
                    raise ArgumentError(field, problem, subject=name)
                yield part, field, hints[field], given


def _owner(entries: Sequence[Entry], field: str) -> str | None:
    """The name of something that has an option of that name."""
    owners = (e.name for e in entries if field in [option.field for option in e.options])
    return next(owners, None)


def assemble(parts: Parts, values: Values) -> Config[Any]:
    """The configuration of the parts, with these values in place of their own defaults.

    Raises:
        ValueError, TypeError: for values that are out of range.
    """
    made = {part: _make(part, entry, values) for part, entry in parts.entries.items()}
    return Config(
        parts.environment.name,
        made["environment"],
        Training(**values["training"]),
        Sampling(**values["sampling"]),
        loggers=tuple(Choice(e.name, made[f"logger {e.name}"]) for e in parts.loggers),
        **{kind: Choice(getattr(parts, kind).name, made[kind]) for kind in CHOICES},
    )


def _make(part: str, entry: Entry, values: Values) -> Any:
    try:
        return entry.make(**values.get(part, {}))
    except ArgumentError as error:
        error.owner = part
        raise


def configure(
    environment: str,
    *,
    objective: str | None = None,
    network: str | None = None,
    replay: str | None = None,
    loggers: Sequence[str] = (),
    variant: str | None = None,
    **settings: Any,
) -> Config[Any]:
    """`gfnjax train` as a function: `configure("set", objective="fl-subtb", lambda_=0.5)`.

    Args:
        environment: its name.
        objective: its name, as `network` and `replay`; what suits the environment without.
        network: as `objective`.
        replay: as `objective`.
        loggers: names.
        variant: of the environment's settings, by name.
        settings: fields of `Training` and `Sampling`, else of the environment or of what has been
            chosen; where two have a field of one name, a dict by the name of its owner:
            `fm={"epsilon": 0.1}`.

    Raises:
        UsageError: for a name or a field that does not exist, or a value out of range.
    """
    chosen = {"objective": objective, "network": network, "replay": replay}
    if variant is not None and not _has_variants(environment):
        # Perhaps an option of its own.
        settings, variant = {"variant": variant, **settings}, None
    named = {kind: name for kind, name in chosen.items() if name is not None}
    parts = select(environment, named, loggers, variant)
    values = default_values(parts)
    try:
        for name, value in settings.items():
            for part, field, hint, given in _find(parts, name, value):
                values[part][field] = from_plain(field, hint, given)
        return assemble(parts, values)
    except (TypeError, ValueError) as error:
        raise UsageError.of(error) from error


def _has_variants(environment: str) -> bool:
    known = environment in registry.names("environment")
    return not known or bool(registry.find("environment", environment).variants)


def _find(parts: Parts, name: str, value: Any) -> list[tuple[str, str, Any, Any]]:
    """As `_resolve`, and fields of the parts by their own names."""
    if not any(name in get_type_hints(cls) for cls in SETTINGS.values()):
        owners = [
            (part, option)
            for part, entry in parts.entries.items()
            for option in entry.options
            if option.field == name
        ]
        if len(owners) > 1:
            names = " and ".join(parts.entries[part].name for part, _ in owners)
            raise ArgumentError(name, f"is a field of {names}", "give a dict by the name of one")
        if owners:
            part, option = owners[0]
            return [(part, name, option.hint, value)]
    return list(_resolve(parts, name, value))
