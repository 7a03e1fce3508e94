"""The blocks of code of the documentation, run as a reader would run them."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from gfnjax.cli import main
from gfnjax.cli.parser import parse

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Flags that make a run short; what a page says stands before them and is overruled.
FEW = "--steps 4 --chunk-size 2 --evaluation-samples 20"
SHORT = {
    "train": f"{FEW} --batch-size 4",
    "sweep": FEW,
    "search": f"{FEW} --trials 2 --population 2",
}


@contextmanager
def as_users_do() -> Iterator[None]:
    """Without the suite's strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Language and text of the blocks in these languages, in order."""
    return [found for found in BLOCK.findall(page.read_text()) if found[0] in languages]


def commands(text: str) -> list[list[str]]:
    """The commands of a shell's lines, without comments; continued lines are one."""
    lines = text.replace("\\\n", " ").replace(" && ", "\n").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def shortened(words: list[str]) -> list[str]:
    """The arguments of a command of gfnjax, for a few steps."""
    if "resume" in words and "--steps" in words:
        return [*words[: words.index("--steps")], "--steps", "6"]
    return [*words, *next((SHORT[word].split() for word in words if word in SHORT), [])]


def carry_out(words: list[str], trained: set[str]) -> None:
    """Run a command of gfnjax; of an environment that has been `trained` it must be understood.

    What continues a run, and lists or draws, is always run. The compiler of TPUs may be missing.
    """
    kind, name = words[:1], "".join(words[1:2])
    if "--compile-for" in words:
        assert parse(words[: words.index("--compile-for")])[0] is not None
    elif kind == ["sample"] or (kind == ["train"] and name in trained):
        assert parse(words)[0] is not None
    else:
        assert main(shortened(words)) == 0, words
    trained |= {name} if kind == ["train"] else set()


def run(page: Path) -> dict[str, Any]:
    """Run Python as it stands and `gfnjax` for a few steps, here; what Python has then, by name.

    A block that begins with the name of a file is one, and goes there.
    """
    names: dict[str, Any] = {"__name__": page.stem}
    trained: set[str] = set()
    for language, text in blocks(page, "python", "bash"):
        if file := re.match(r"# (\S+/\w+\.py)\n", text):
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(text)
        elif language == "python":
            exec(compile(text, page.name, "exec"), names)
        else:
            for words in commands(text):
                if words[0] == "gfnjax":
                    carry_out(words[1:], trained)
    return names
