"""`gfnjax sample`: texts of a run, one a line."""

from collections.abc import Iterator

from gfnjax.arguments import whole
from gfnjax.cli.parser import Sample
from gfnjax.errors import ArgumentError, Words
from gfnjax.run.config import UsageError
from gfnjax.run.trained import load

# What Python calls otherwise.
FLAGS = {"num_texts": "--num", "key": "--seed", "run": "run", "env": "run"}


def lines(command: Sample) -> Iterator[str]:
    """Each text, after its log-probability if asked for and its prompt where there are several.

    Columns have a tab in between; tabs and line breaks in texts are written as in Python.

    Raises:
        UsageError: for a run of anything else, or a prompt that cannot be used.
        CheckpointError: as `load`.
    """
    run = load(command.run, member=command.member)
    try:
        seed = whole("seed", command.seed, least=0)
        temperature = None if command.temperature == 1 else command.temperature
        found = run.write(command.num, command.prompt, seed, temperature)
    except ArgumentError as error:
        raise UsageError(error.said(_in_flags)) from error
    several = len({each.prompt for each in found}) > 1
    for each in found:
        columns = [f"{each.log_q:.4f}"] if command.log_probs else []
        columns += [_on_one_line(each.prompt)] if several else []
        yield "\t".join([*columns, _on_one_line(each.text)])


def _in_flags(words: Words) -> str:
    return words.said(lambda name: FLAGS.get(name, f"--{name.replace('_', '-')}"))


def _on_one_line(text: str) -> str:
    for character, written in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, written)
    return text
