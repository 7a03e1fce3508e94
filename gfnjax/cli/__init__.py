"""The `gfnjax` command."""

from gfnjax.cli.commands import main

__all__ = ["main"]
