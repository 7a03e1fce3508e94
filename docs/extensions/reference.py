"""The reference: a page for each module of `imports.md`, from docstrings.

What that page lists and cannot be imported, or has no docstring, fails the build. An object that
several modules offer is described where it is at home, and has a line in a table elsewhere.
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from docstrings import escaped

from gfnjax.cli.listing import listing

SECTION = re.compile(r"^## `(gfnjax[\w.]*)`\n\n(.+)\n\n(.+)$", re.MULTILINE)
PREFACE = """Every supported import, from its docstrings; :doc:`../imports` has the names alone.
What several modules offer is described where it is at home."""
Names = dict[str, list[str]]
Homes = dict[int, str]


def listed(page: str) -> Names:
    """The names of each module, in the order of the page of imports."""
    return {module: re.findall(r"`(\w+)`", names) for module, _, names in SECTION.findall(page)}


def found(module: str, name: str) -> Any:
    """What may be imported, which has a docstring."""
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"imports.md: {module}.{name} cannot be imported") from error
    if not (inspect.getdoc(value) or "").strip():
        raise ValueError(f"{module}.{name} has no docstring")
    return value


def homes(names: Names) -> Homes:
    """The module that describes each object: that which defines it, else the last to offer it."""
    home: Homes = {}
    for module in reversed(names):
        for name in names[module]:
            value = found(module, name)
            if id(value) not in home or getattr(value, "__module__", None) == module:
                home[id(value)] = module
    return home


def summary(value: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def described(module: str, name: str) -> list[str]:
    """The entry of an object at home."""
    kind = (
        "class" if inspect.isclass(getattr(importlib.import_module(module), name)) else "function"
    )
    return [f".. auto{kind}:: {module}.{name}", *["   :members:"] * (kind == "class"), ""]


def mentioned(module: str, name: str, home: Homes) -> list[str]:
    """A row of the table of what is described elsewhere."""
    value = found(module, name)
    if inspect.ismodule(value):
        link = f":doc:`{name} <{value.__name__}>`"
    else:
        link = f":py:obj:`{name} <{home[id(value)]}.{name}>`"
    return [f"   * - {link}", f"     - {escaped(summary(value))}"]


def page(module: str, names: list[str], home: Homes) -> str:
    """The page of a module."""
    lines = [module, "=" * len(module), "", f".. automodule:: {module}", ""]
    values = {name: found(module, name) for name in names}
    own = [n for n, v in values.items() if not inspect.ismodule(v) and home[id(v)] == module]
    elsewhere = [name for name in names if name not in own]
    if elsewhere:
        lines += [".. list-table::", "   :widths: 30 70", ""]
        lines += [line for name in elsewhere for line in mentioned(module, name, home)] + [""]
    lines += [line for name in own for line in described(module, name)]
    return "\n".join(lines)


def index(text: str) -> str:
    """The page that leads to all others, package by package."""
    about = {module: what for module, what, _ in SECTION.findall(text)}
    # A package where it is first met, and with it all that is in it.
    packages = list(dict.fromkeys(_package(module) for module in about))
    ordered = sorted(about, key=lambda module: packages.index(_package(module)))
    lines = ["Reference", "=========", "", PREFACE, "", ".. list-table::", "   :widths: 40 60", ""]
    lines += [f"   * - :doc:`{module}`\n     - {about[module]}" for module in ordered]
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {module}" for module in ordered), ""]
    return "\n".join(lines)


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def write(app: Any) -> None:
    """Write all pages, before Sphinx looks for them."""
    source = Path(app.srcdir)
    text = (source / "imports.md").read_text()
    names = listed(text)
    home = homes(names)
    pages = {f"{module}.rst": page(module, names[module], home) for module in names}
    pages["index.rst"] = index(text)
    folder = source / "reference"
    folder.mkdir(exist_ok=True)
    pages["list.txt"] = listing()
    for old in folder.glob("*"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        # Left alone where nothing changes, so that only what does is built anew.
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
