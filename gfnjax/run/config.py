"""The description of a run: names of what has been registered, with options, and settings.

Equal descriptions are equal, and `from_dict(to_dict(config)) == config` through JSON.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, get_type_hints, runtime_checkable

from gfnjax import registry
from gfnjax.envs.base import Environment
from gfnjax.errors import ArgumentError
from gfnjax.options import default_of, from_plain, to_plain
from gfnjax.registry import Entry
from gfnjax.run.errors import UsageError as UsageError
from gfnjax.run.settings import WITHOUT_TEACHER
from gfnjax.run.settings import Sampling as Sampling
from gfnjax.run.settings import Training as Training

# Of each of these a run has one; without a choice, this one.
CHOICES = {"objective": "tb", "network": "mlp", "replay": "none"}


class EnvironmentConfig(Protocol):
    """A frozen dataclass of plain values: the sizes of an environment and its reward."""

    def make(self) -> Environment:
        """The environment.

        Raises:
            ValueError: for sizes that are out of range, or data that do not fit.
            OSError: for a file that is missing or cannot be read.
        """
        ...


@runtime_checkable
class ChecksNetwork(Protocol):
    """An `EnvironmentConfig` that not every network fits."""

    def check_network(self, name: str) -> None:
        """Raise a `ValueError` for the network of this name if it does not."""
        ...


E = TypeVar("E", bound=EnvironmentConfig)


@dataclass(frozen=True)
class Choice:
    """What is registered under a name, with options: an instance of its dataclass."""

    name: str
    options: Any


def choose(kind: str, name: str, **options: Any) -> Choice:
    """`choose("objective", "subtb", lambda_=0.5)`: what is registered, with some options.

    Raises:
        ValueError: for a name that is not registered, or options out of range.
        TypeError: for an option that it does not have.
    """
    return Choice(name, registry.find(kind, name).make(**options))


@dataclass(frozen=True)
class Config(Generic[E]):
    """One run.

    Attributes:
        environment: the name under which `env` is registered.
        env: its dataclass.
        training: the settings of every run.
        sampling: where trajectories come from.
        objective: what the policy is trained with.
        network: what it is computed by.
        replay: the replay buffer; "none" for none.
        loggers: where metrics go besides metrics.jsonl.

    Raises:
        ValueError: for settings that do nothing together.
    """

    environment: str
    env: E
    training: Training = Training()
    sampling: Sampling = Sampling()
    objective: Choice = field(default_factory=lambda: choose("objective", CHOICES["objective"]))
    network: Choice = field(default_factory=lambda: choose("network", CHOICES["network"]))
    replay: Choice = field(default_factory=lambda: choose("replay", CHOICES["replay"]))
    loggers: tuple[Choice, ...] = ()

    def __post_init__(self) -> None:
        replayed = self.replay.name != "none"
        if not replayed and self.sampling.replay_share != Sampling.replay_share:
            raise ArgumentError("replay_share", "does nothing without {replay}")
        if replayed and self.sampling.teacher_share > 0:
            raise ArgumentError("teacher_share", WITHOUT_TEACHER)
        if isinstance(self.env, ChecksNetwork):
            self.env.check_network(self.network.name)

    @property
    def plugins(self) -> tuple[str, ...]:
        """The modules from outside the library that have registered what is used."""
        used = [("environment", Choice(self.environment, self.env))]
        used += [(kind, getattr(self, kind)) for kind in CHOICES]
        used += [("logger", choice) for choice in self.loggers]
        modules = (_module(kind, choice) for kind, choice in used)
        return tuple(dict.fromkeys(m for m in modules if m.partition(".")[0] != registry.OWN))


def _module(kind: str, choice: Choice) -> str:
    if choice.name in registry.names(kind):
        return registry.find(kind, choice.name).module
    return type(choice.options).__module__


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values, for JSON.

    Raises:
        UsageError: for a name that is not registered, or an option that is no plain value and not
            the default.
    """
    values: dict[str, Any] = {
        "environment": config.environment,
        "env": _options(_entry("environment", config.environment), config.env),
        "training": dataclasses.asdict(config.training),
        "sampling": dataclasses.asdict(config.sampling),
    }
    for kind in CHOICES:
        values[kind] = _choice(kind, getattr(config, kind))
    values["loggers"] = [_choice("logger", choice) for choice in config.loggers]
    return {**values, "plugins": list(config.plugins)}


def _entry(kind: str, name: str) -> Entry:
    try:
        return registry.find(kind, name)
    except ValueError as error:
        raise UsageError.of(error) from error


def _choice(kind: str, choice: Choice) -> dict[str, Any]:
    entry = _entry(kind, choice.name)
    return {"name": choice.name, "options": _options(entry, choice.options)}


def _options(entry: Entry, instance: Any) -> dict[str, Any]:
    known = {option.field for option in entry.options}
    usual = {f.name: default_of(f) for f in dataclasses.fields(instance)} | dict(entry.fixed)
    for name in usual.keys() - known:
        value = getattr(instance, name)
        if value is not usual[name] and value != usual[name]:
            raise UsageError(
                f"{entry.kind} {entry.name}: {name} must be left as it is, for config.json keeps "
                f"plain values only, got {value!r}"
            )
    return {name: to_plain(getattr(instance, name)) for name in usual if name in known}


def from_dict(values: dict[str, Any]) -> Config[Any]:
    """The inverse of `to_dict`; plug-ins must have been imported.

    Raises:
        UsageError: for names, fields or values that do not exist, or are out of range.
    """
    try:
        environment = registry.find("environment", values["environment"])
        return Config(
            environment=environment.name,
            env=_read_options(environment, values["env"]),
            training=_read_settings(Training, values["training"]),
            sampling=_read_settings(Sampling, values["sampling"]),
            loggers=tuple(_read_choice("logger", value) for value in values["loggers"]),
            **{kind: _read_choice(kind, values[kind]) for kind in CHOICES},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
        raise UsageError(f"config does not fit this version of gfnjax: {reason}") from error


def _read_choice(kind: str, value: dict[str, Any]) -> Choice:
    entry = registry.find(kind, value["name"])
    return Choice(entry.name, _read_options(entry, value["options"]))


def _read_options(entry: Entry, values: dict[str, Any]) -> Any:
    hints = {option.field: option.hint for option in entry.options}
    _require_fields(f"{entry.kind} {entry.name}", hints, values)
    return entry.make(**{name: from_plain(name, hints[name], x) for name, x in values.items()})


def _read_settings(cls: type, values: dict[str, Any]) -> Any:
    hints = get_type_hints(cls)
    _require_fields(cls.__name__, hints, values)
    return cls(**{name: from_plain(name, hints[name], x) for name, x in values.items()})


def _require_fields(what: str, known: dict[str, Any], values: dict[str, Any]) -> None:
    if different := sorted(known.keys() ^ values.keys()):
        state = "missing" if different[0] in known else "unknown"
        raise TypeError(f"{what}: {different[0]} is {state}")
