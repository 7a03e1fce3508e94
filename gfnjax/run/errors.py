"""What goes wrong before anything is trained."""

from collections.abc import Callable
from typing import Self

from gfnjax.errors import ArgumentError, Words


class UsageError(ValueError):
    """A request that cannot be carried out: one line that says what is wrong and what helps.

    Attributes:
        about: the argument that is at fault, where it is one.
    """

    about: ArgumentError | None = None

    @classmethod
    def of(cls, error: Exception, place: str = "") -> Self:
        """The same in one line, with the place where it was found in front."""
        usage = cls(f"{place}: {error}" if place else str(error))
        if isinstance(error, ArgumentError):
            usage.about = error.inside(place) if place else error
        return usage

    def said(self, say: Callable[[Words], str]) -> str:
        """As `ArgumentError.said`."""
        return str(self) if self.about is None else self.about.said(say)
