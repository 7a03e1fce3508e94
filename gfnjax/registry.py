"""What has a name on the command line: environments, objectives, networks, replay buffers, loggers.

    @registry.environment("knapsack")
    @dataclass(frozen=True)
    class Knapsack:
        "One line for `gfnjax list`."
        size: int = 10                      # --size 10
        def make(self): ...

The plain fields of the dataclass are its flags; see docs/plugins.md. What the library itself has
is registered the same way, in the files that define it.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gfnjax.arguments import suggest
from gfnjax.errors import ArgumentError
from gfnjax.options import Option, options_of

OWN = "gfnjax"
KINDS = ("environment", "objective", "network", "replay", "logger", "backward", "regression")
FLAG_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*")

T = TypeVar("T")


class RegistrationError(ValueError):
    """Something that cannot be registered; the message says why, and what helps."""


class ClashError(RegistrationError):
    """Two things of one kind with the same name.

    Attributes:
        kind: of both.
        name: of both.
    """

    def __init__(self, kind: str, name: str, message: str):
        super().__init__(message)
        self.kind, self.name = kind, name


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        kind: one of `KINDS`.
        name: on the command line.
        cls: the dataclass; for backward policies and most regressions a function.
        summary: one line.
        module: where it was registered; importing it does so again.
        values: other defaults than those of the class.
        fixed: fields that this name stands for: no flags.
        defaults: of an environment: settings of a run that suit it.
        variants: of an environment: other settings by name, the usual one first.
        target_rate: of an objective: how fast the target network that it needs follows.
    """

    kind: str
    name: str
    cls: Any
    summary: str
    module: str
    values: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target_rate: float | None = None

    @property
    def is_plugin(self) -> bool:
        """Whether it is from outside the library."""
        return self.module.partition(".")[0] != OWN

    @property
    def options(self) -> tuple[Option, ...]:
        """What can be said about it."""
        if not isinstance(self.cls, type):
            return ()
        return options_of(self.cls, self.values, self.fixed)

    def varied(self, variant: str | None) -> "Entry":
        """With the settings of one of its variants; as it is without a name.

        Raises:
            ValueError: for a name that it has no variant of.
        """
        if variant is None:
            return self
        if variant not in self.variants:
            known = ", ".join(self.variants) or "none"
            problem = f"variant {variant!r} of environment {self.name}: it has {known}"
            raise ArgumentError("variant", problem, subject="there is no")
        return dataclasses.replace(self, defaults={**self.defaults, **self.variants[variant]})

    def make(self, **options: Any) -> Any:
        """An instance of the dataclass; a function as it is.

        Raises:
            TypeError: for an option that it does not have.
        """
        known = [option.field for option in self.options]
        for name in options:
            if name not in known:
                hint = suggest(name, known)
                problem = f"has no option {name!r}{hint}"
                raise ArgumentError(name, problem, subject=f"{self.kind} {self.name}")
        if not isinstance(self.cls, type):
            return self.cls
        return self.cls(**{**self.values, **self.fixed, **options})


_ENTRIES: dict[tuple[str, str], Entry] = {}


def environment(
    name: str,
    *,
    summary: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    values: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass whose `make()` gives an environment: `gfnjax train NAME`.

    Args:
        name: letters, digits and dashes.
        summary: one line; the first of the docstring without.
        defaults: settings that suit it: fields of `gfnjax.run.config.Training` and `Sampling`,
            `objective`, `network` and `replay`, and under the name of one of these its options:
            `{"steps": 500, "network": "mlp", "mlp": {"hidden_sizes": (64,)}}`.
        variants: by name, what is different in `--variant NAME`, in the form of `defaults`; its own
            fields under its own name.
        values: other defaults of its own fields than those of the class.
        fixed: values of fields that are to be no flags.

    Raises:
        RegistrationError: for a name or a class that will not do.
        ClashError: for a name that is taken.
    """
    settings = {"defaults": dict(defaults or {}), "variants": dict(variants or {})}
    return _decorator("environment", name, summary, values, fixed, **settings)


def objective(
    name: str,
    *,
    summary: str | None = None,
    target_rate: float | None = None,
    values: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Register a frozen `Objective`, or a dataclass whose `make()` gives one: `--objective NAME`.

    Args:
        name: letters, digits and dashes.
        summary: one line; the first of the docstring without.
        target_rate: of its target network where `--target-rate` is not given, if it needs one.
        values: other defaults of its own fields than those of the class.
        fixed: values of fields that are to be no flags.

    Raises:
        RegistrationError, ClashError: as `environment`.
    """
    return _decorator("objective", name, summary, values, fixed, target_rate=target_rate)


def network(
    name: str, *, summary: str | None = None, fixed: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass whose `make(env)` gives a policy: `--network NAME`.

    Arguments and errors are those of `objective`.
    """
    return _decorator("network", name, summary, None, fixed)


def replay(
    name: str, *, summary: str | None = None, fixed: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Register a frozen `Replay`, or a dataclass whose `make()` gives one: `--replay NAME`.

    Arguments and errors are those of `objective`.
    """
    return _decorator("replay", name, summary, None, fixed)


def logger(
    name: str, *, summary: str | None = None, fixed: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass whose `make(config, run, step)` gives a logger: `--logger NAME`.

    Arguments and errors are those of `objective`; see `gfnjax.run.loggers.Logger`.
    """
    return _decorator("logger", name, summary, None, fixed)


def backward(name: str, *, summary: str) -> Callable[[T], T]:
    """Register a function that makes a backward policy; see `gfnjax.run.backward`."""
    return _function("backward", name, summary)


def regression(name: str, *, summary: str) -> Callable[[T], T]:
    """Register a function of a residual, or a frozen dataclass that is one: `--regression NAME`.

    Raises:
        RegistrationError: for a class that is no frozen dataclass.
    """
    return _function("regression", name, summary)


def find(kind: str, name: str) -> Entry:
    """What is registered under a name.

    Raises:
        ValueError: for a name that is not; with one that looks like it.
    """
    if (kind, name) not in _ENTRIES:
        hint = suggest(name, [entry.name for entry in entries(kind)])
        problem = f"{kind} {name!r}{hint} (see gfnjax list)"
        raise ArgumentError(kind, problem, subject="there is no")
    return _ENTRIES[kind, name]


def entries(kind: str) -> list[Entry]:
    """All of a kind by name, those of the library first."""
    found = (entry for (k, _), entry in _ENTRIES.items() if k == kind)
    return sorted(found, key=lambda entry: (entry.is_plugin, entry.name))


def names(kind: str) -> tuple[str, ...]:
    """The names of `entries`."""
    return tuple(entry.name for entry in entries(kind))


def forget_unloaded() -> None:
    """Drop what was registered by modules whose import has failed since."""
    for key in [key for key, entry in _ENTRIES.items() if entry.module not in sys.modules]:
        del _ENTRIES[key]


def _decorator(
    kind: str,
    name: str,
    summary: str | None,
    values: Mapping[str, Any] | None,
    fixed: Mapping[str, Any] | None,
    **settings: Any,
) -> Callable[[type[T]], type[T]]:
    module = _caller(3)

    def register(cls: type[T]) -> type[T]:
        _check_class(kind, name, cls)
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for given in (*(values or {}), *(fixed or {})):
            if given not in known:
                raise RegistrationError(f"{cls.__name__} has no field {given!r} ({kind} {name!r})")
        line = _first_line(cls) if summary is None else summary
        _add(Entry(kind, name, cls, line, module, values or {}, fixed or {}, **settings))
        return cls

    return register


def _function(kind: str, name: str, summary: str) -> Callable[[T], T]:
    module = _caller(3)

    def register(function: T) -> T:
        if isinstance(function, type):
            _check_class(kind, name, function)
        _add(Entry(kind, name, function, summary, module))
        return function

    return register


def _add(entry: Entry) -> None:
    if not FLAG_WORD.fullmatch(entry.name):
        raise RegistrationError(
            f"the name of a {entry.kind} must be letters, digits and dashes, such as my-balance, "
            f"got {entry.name!r}"
        )
    old = _ENTRIES.get((entry.kind, entry.name))
    if old is not None and old.module in sys.modules and _place(old) != _place(entry):
        raise ClashError(
            entry.kind,
            entry.name,
            f"{entry.kind} {entry.name!r} is registered twice, by {_place(old)} and by "
            f"{_place(entry)}: give one of them another name",
        )
    _ENTRIES[entry.kind, entry.name] = entry


def _place(entry: Entry) -> str:
    return f"{entry.module}.{getattr(entry.cls, '__qualname__', entry.cls)}"


def _check_class(kind: str, name: str, cls: Any) -> None:
    params = vars(cls).get("__dataclass_params__") if isinstance(cls, type) else None
    if params is None or not params.frozen:
        raise RegistrationError(
            f"{getattr(cls, '__name__', cls)} must be a frozen dataclass to be the {kind} "
            f"{name!r}: write @dataclass(frozen=True) between it and @registry.{kind}"
        )


def _first_line(cls: type) -> str:
    doc = (vars(cls).get("__doc__") or "").strip()
    # A dataclass without a docstring is given its signature.
    return "" if doc.startswith(f"{cls.__name__}(") else doc.partition("\n")[0].strip()


def _caller(depth: int) -> str:
    """The module that a decorator stands in: what has to be imported to have it again."""
    return sys._getframe(depth).f_globals.get("__name__", "__main__")
