"""Flags that count before all others: how processes find each other, chips to compile for."""

from collections.abc import Sequence

from gfnjax.arguments import whole
from gfnjax.cli.reading import take
from gfnjax.errors import ArgumentError, Words
from gfnjax.run.config import UsageError
from gfnjax.run.hosts import Hosts, connect
from gfnjax.run.sweeps.ahead import prepare

COMMANDS = ("sweep", "resume")
NUMBERS = ("num-processes", "process-id")


def begin(arguments: Sequence[str]) -> list[str]:
    """Prepare what JAX must know before it computes anything, as reading other flags might.

    Join the other processes that the arguments speak of, and find the compiler of the chips that
    they name.

    Returns:
        The arguments without those that are done with.

    Raises:
        UsageError: for values that cannot be, or processes that cannot be reached.
    """
    words = list(arguments)
    if not words or words[0] not in COMMANDS:
        return words
    chips, _ = take(words, "compile-for", "chips such as v5e:2x4")
    if chips:
        try:
            prepare(chips[-1])
        except UsageError as error:
            raise UsageError(str(error).replace("topology", "--compile-for", 1)) from error
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
