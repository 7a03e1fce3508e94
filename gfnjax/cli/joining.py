"""The flags by which processes find each other: they count before all others."""

from collections.abc import Sequence

from gfnjax.arguments import whole
from gfnjax.cli.reading import take
from gfnjax.errors import ArgumentError, Words
from gfnjax.run.config import UsageError
from gfnjax.run.hosts import Hosts, connect

COMMANDS = ("sweep", "resume")
NUMBERS = ("num-processes", "process-id")


def join(arguments: Sequence[str]) -> list[str]:
    """Join the other processes that the arguments speak of; the arguments without those.

    Nothing may have been computed before, which reading the other flags might do.

    Raises:
        UsageError: for values that cannot be, or processes that cannot be reached.
    """
    words = list(arguments)
    if not words or words[0] not in COMMANDS:
        return words
    found, words = take(words, "coordinator", "host:port")
    detect = "--distributed" in words
    words = [word for word in words if word != "--distributed"]
    numbers = {}
    for name in NUMBERS:
        given, words = take(words, name, "a number")
        numbers[name.replace("-", "_")] = _number(name, given[-1]) if given else None
    try:
        connect(Hosts(found[-1] if found else None, **numbers, detect=detect))
    except UsageError as error:
        raise UsageError(error.said(_in_flags)) from error
    return words


def _in_flags(words: Words) -> str:
    return words.said(lambda name: f"--{name.replace('_', '-')}")


def _number(name: str, text: str) -> int:
    try:
        return whole(name, float(text))
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"--{name} must be a whole number, got {text}") from error
