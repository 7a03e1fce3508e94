"""The packages that read files of language models, where they are installed."""

from importlib import import_module
from typing import Any

from gfnjax.errors import MissingExtraError

REMEDY = 'install it with pip install "gfnjax[language]"'


def package(name: str, purpose: str) -> Any:
    """The module `name` of an optional package.

    Raises:
        ModuleNotFoundError: naming the `purpose` and the remedy where it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        needed = name.partition(".")[0]
        raise MissingExtraError(f"{purpose} needs {needed}: {REMEDY}", name=needed) from error
