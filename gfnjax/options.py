"""The plain fields of a frozen dataclass: what is a flag on the command line and kept in JSON."""

import ast
import contextlib
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gfnjax.errors import ArgumentError

SCALARS = (bool, int, float, str, Path, NoneType)


@dataclass(frozen=True)
class Option:
    """One field with a plain value.

    Attributes:
        field: its name.
        hint: its type.
        default: its value without a flag; `dataclasses.MISSING` where it must be given.
        help: the string after the field, or its line under `Attributes:` in the docstring.
    """

    field: str
    hint: Any
    default: Any
    help: str

    @property
    def word(self) -> str:
        """As a flag, without dashes in front: `lambda_` is `lambda`."""
        return self.field.strip("_").replace("_", "-")


def options_of(
    cls: type, values: Mapping[str, Any] | None = None, fixed: Mapping[str, Any] | None = None
) -> tuple[Option, ...]:
    """The options of a dataclass, in its order.

    Args:
        cls: the dataclass.
        values: other defaults than its own.
        fixed: fields that are no options.

    Raises:
        TypeError: for a field without a default that no flag can give.
    """
    values, fixed = values or {}, fixed or {}
    hints, helps = get_type_hints(cls), field_help(cls)
    options = []
    for field in dataclasses.fields(cls):
        if not field.init or field.name in fixed:
            continue
        default = values.get(field.name, default_of(field))
        if is_plain(hints[field.name]):
            text = helps.get(field.name, "")
            options.append(Option(field.name, hints[field.name], default, text))
        elif default is dataclasses.MISSING:
            raise TypeError(
                f"{cls.__name__}.{field.name} must have a default, or a type that a flag can give: "
                "bool, int, float, str, Path, Literal, an optional or a tuple of these"
            )
    return tuple(options)


def default_of(field: dataclasses.Field) -> Any:
    """The default of a field; `dataclasses.MISSING` where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def is_plain(hint: Any) -> bool:
    """Whether values of a type are plain: they can be flags, and JSON gives them back."""
    hint = _bare(hint)
    if hint in SCALARS:
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return all(isinstance(value, SCALARS) for value in inner)
    if origin is tuple:
        return all(kind is Ellipsis or is_plain(kind) for kind in inner)
    return origin in (Union, UnionType) and all(map(is_plain, inner))


def to_plain(value: Any) -> Any:
    """A plain value as JSON has it."""
    if isinstance(value, tuple):
        return [to_plain(x) for x in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(name: str, hint: Any, value: Any) -> Any:
    """The inverse of `to_plain`.

    Raises:
        TypeError: for a value of another type, by the field's name.
    """
    found = _read(hint, value)
    if found is _NO:
        raise ArgumentError(name, f"must be {describe(hint)}, got {value!r}")
    return found


_NO = object()


def _read(hint: Any, value: Any) -> Any:
    """A value as `hint` has it; `_NO` if it is something else."""
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        found = [x for x in (_read(kind, value) for kind in inner) if x is not _NO]
        return found[0] if found else _NO
    if origin is Literal:
        return value if any(x == value and type(x) is type(value) for x in inner) else _NO
    if origin is tuple:
        return _read_tuple(inner, value)
    if hint is Path:
        return Path(value) if isinstance(value, str | Path) else _NO
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number and (hint is float or float(value).is_integer()) else _NO
    return value if isinstance(value, hint) else _NO


def _read_tuple(inner: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return _NO
    kinds = (inner[0],) * len(value) if inner[-1:] == (Ellipsis,) else inner
    if len(kinds) != len(value):
        return _NO
    found = tuple(map(_read, kinds, value))
    return _NO if any(x is _NO for x in found) else found


def from_text(name: str, hint: Any, text: str, *, or_none: bool = False) -> Any:
    """A value as it is typed: `1e-3`, `true`, `none`, the words of a list.

    Raises:
        TypeError: for a text that is no value of this type; with `or_none` there is None instead.
    """
    tries = (_read(hint, value) for value in _meanings(text))
    found: Any = next((value for value in tries if value is not _NO), _NO)
    if found is _NO and or_none:
        return None
    if found is _NO:
        raise ArgumentError(name, f"must be {describe(hint)}, got {text!r}")
    return float(found) if _bare(hint) is float else found


def _meanings(text: str) -> list[Any]:
    """What a text may stand for: one value, or the list of its words."""
    return [*_values_of(text), [_values_of(word)[0] for word in text.split()]]


def _values_of(word: str) -> list[Any]:
    """The most particular first: a number before a text."""
    named = {"true": True, "yes": True, "false": False, "no": False, "none": None}
    found: list[Any] = [named[word.lower()]] if word.lower() in named else []
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return [*found, kind(word), word]
    return [*found, word]


def is_number_hint(hint: Any) -> bool:
    """Whether a type has numbers among its values."""
    hint = _bare(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(map(is_number_hint, get_args(hint)))
    return hint in (int, float)


def describe(hint: Any) -> str:
    """A type in words: `a whole number`, `one of tb, db`."""
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        return "a list"
    if origin in (Union, UnionType):
        return " or ".join(map(describe, inner))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words.get(hint, "a path" if hint is Path else "null")


def one_of(values: tuple[str, ...]) -> Any:
    """The type of one of the values, for a parser: no type checker can know it."""
    literal: Any = Literal
    return literal[values]


def _bare(hint: Any) -> Any:
    """Without annotations and names of its own."""
    hint = getattr(hint, "__value__", hint)
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


@lru_cache(maxsize=256)
def field_help(cls: type) -> dict[str, str]:
    """What the source of a class says of its fields."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        found |= _attributes(base.__dict__.get("__doc__") or "") | _strings(base)
    return found


def _strings(cls: type) -> dict[str, str]:
    """The strings that stand after fields."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # made without a file
        return {}
    found = {}
    for field, after in pairwise(getattr(tree, "body", [])):
        text = after.value if isinstance(after, ast.Expr) else None
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Constant)
            and isinstance(text.value, str)
        ):
            found[field.target.id] = " ".join(text.value.split())
    return found


def _attributes(doc: str) -> dict[str, str]:
    """The entries below `Attributes:`."""
    text = inspect.cleandoc(doc) + "\n"
    section = re.search(r"^(?:Attributes|Args):\n((?: +.*\n|\n)+)", text, re.M)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+): ((?:.|\n {5,})*)", section[1], re.M)
    return {name: " ".join(text.split()) for name, text in entries}
