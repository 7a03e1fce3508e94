"""Packages of users that register something: named by a flag, a run, or an entry point."""

import importlib
import importlib.metadata
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gfnjax import registry
from gfnjax.run.errors import UsageError

GROUP = "gfnjax.plugins"


class PluginError(UsageError):
    """A module of a user that is missing or fails."""


@dataclass(frozen=True)
class Failure:
    """An entry point that could not be imported.

    Attributes:
        name: of the entry point.
        reason: one line.
        error: what was raised.
    """

    name: str
    reason: str
    error: BaseException

    def __str__(self) -> str:
        return f"the plug-in {self.name} cannot be imported: {self.reason}"


def import_module(module: str) -> None:
    """Import a module, which registers what it has; nothing if that has been done.

    Raises:
        PluginError: if it is missing or fails.
    """
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        registry.forget_unloaded()
        reason = one_line(error)
        raise PluginError(f"the plug-in {module} cannot be imported: {reason}") from error


def require(modules: Iterable[object], run: Path) -> None:
    """Import what a run was made with.

    Raises:
        PluginError: if a module is missing or fails; it names the run.
    """
    for module in modules:
        if module in sys.modules:
            continue
        try:
            import_module(str(module))
        except PluginError as error:
            raise PluginError(f"{run} needs a module: {error}") from error


def import_entry_points() -> list[Failure]:
    """Import the plug-ins that are installed; those that fail."""
    failures = []
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            registry.forget_unloaded()
            name = f"{point.name} (entry point {point.value})"
            failures.append(Failure(name, one_line(error), error))
    return failures


def look_here() -> None:
    """Find modules in the working directory as well, as `python -m` does."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def one_line(error: BaseException) -> str:
    """An error in one line; the kind of it unless it is the registry's."""
    text = (str(error).strip() or "without a message").splitlines()[0]
    if isinstance(error, registry.RegistrationError):
        return text
    return f"{type(error).__name__}: {text}"
