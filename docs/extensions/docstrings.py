"""Docstrings as they are written here, mathematics and all, made fit for reStructuredText."""

import re
from typing import Any, NamedTuple

from links import PAPER

# What is quoted or set apart stays as it is.
KEPT = re.compile(r"(``[^`]*``|`[^`]*`|(?<=\n::\n)\n(?: {4}.*\n|\n)+)", re.MULTILINE)
# |x| would be a substitution, *x* emphasis, x_ a reference.
SPECIAL = re.compile(r"([|*\\]|(?<=\w)_(?!\w))")
# Lines set apart from the text around them: mathematics, commands, code.
APART = re.compile(r"(?<=\n)\n((?: {4}.*\n)(?: {4}.*\n|\n)*)(?=\S|\Z)")


class _Example(NamedTuple):
    field: int


def escaped(text: str) -> str:
    """The same text, in which nothing but what is quoted has a meaning to reStructuredText."""
    parts = KEPT.split(text)
    for i in range(0, len(parts), 2):
        # The end of a quotation is one only before a blank.
        glued = i > 0 and parts[i - 1].endswith("`") and re.match(r"[\w^]", parts[i])
        text = PAPER.sub(r"`\1 <https://arxiv.org/abs/\1>`__", SPECIAL.sub(r"\\\1", parts[i]))
        parts[i] = "\\ " * bool(glued) + text
    return "".join(parts)


def set_apart(text: str) -> str:
    """Lines that stand between blank ones, indented below text that is not, become literal."""

    def literal(match: re.Match[str]) -> str:
        above = text[: match.start()].rstrip().rsplit("\n", 1)[-1]
        return match[0] if above[:1].isspace() else f"\n::\n\n{match[1]}\n"

    return APART.sub(literal, text)


def process(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Make a docstring fit, in place."""
    lines[:] = escaped(set_apart("\n".join(lines) + "\n")).split("\n")


def skip(_app: Any, _what: str, _name: str, obj: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples, of which `Attributes` says more."""
    return True if isinstance(obj, type(_Example.field)) else None


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    # Before napoleon, whose own markup must stay.
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
