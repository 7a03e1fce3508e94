"""What is wrong with an argument, in words that a command line can say of its flags."""

import re
from collections.abc import Callable
from typing import Any, Self

ARGUMENT = re.compile(r"\{([A-Za-z_][\w.]*)(?:\|([^{}]*))?\}")
OWNER = re.compile(r"^[A-Z]\w*\.")
# Whether a value of an argument would do; the value that would; None for any other one.
Suits = Callable[[Any], bool] | str | None


class Words(str):
    """A text that names arguments, in braces where it is written: `Words("set {target_rate}")`.

    In Python it is the text without braces, "set target_rate"; `said` puts in other names. The
    class that has an argument may come first, `{EnergyGFlowNet.learning_rate}`, and is not shown;
    other words for Python may come last, `{Windows.length|fresh=Windows(...)}`.
    """

    template: str
    joint: str = ""

    def __new__(cls, template: str) -> Self:
        """A text; words stay what they are."""
        template = getattr(template, "template", template)
        words = super().__new__(cls, ARGUMENT.sub(lambda m: m[2] or OWNER.sub("", m[1]), template))
        words.template = template
        return words

    def said(self, name: Callable[[str], str]) -> str:
        """With the name that `name` gives each argument."""
        return ARGUMENT.sub(lambda m: name(m[1]), self.template)


class Use(Words):
    """A remedy: other values of some arguments, or to leave some out.

        Use("use sampler=OnPolicy()", without=("sampler",))
        Use("use EntropyPPO", objective=lambda o: "previous" in o.needs)

    Attributes:
        joint: what a sentence puts in front of it; a colon, if nothing else.
        without: arguments that may be left out.
        suits: for each argument, which values do, or the one that does where there is an option of
            that name; None for all others than it has.
    """

    without: tuple[str, ...]
    suits: dict[str, Suits]

    def __new__(
        cls, template: str, *, joint: str = "", without: tuple[str, ...] = (), **suits: Suits
    ) -> Self:
        """`template` is how Python says it."""
        words = super().__new__(cls, template)
        words.joint, words.without, words.suits = joint, without, suits
        return words

    def __reduce__(self) -> tuple[Any, ...]:  # functions may have no name to be pickled by
        return Words, (self.template,), {"joint": self.joint}


class ArgumentError(ValueError, TypeError):
    """An argument that cannot be used: `batch_size must be at least 1, got 0`.

    It is a `ValueError` and a `TypeError` in one.

    Attributes:
        argument: its name, as the caller has written it.
        problem: what is wrong, without its subject.
        remedy: what would help; empty where the problem says so.
        subject: what has the problem; the argument, if nothing else.
        owner: the part of a run that has the argument, where it is known.
    """

    def __init__(self, argument: str, problem: str, remedy: str = "", subject: str = ""):
        super().__init__(argument, problem, remedy, subject)
        self.argument = argument
        self.problem = Words(problem)
        self.remedy = remedy if isinstance(remedy, Words) else Words(remedy)
        self.subject = Words(subject or f"{{{argument}}}")
        self.owner: str | None = None

    def __str__(self) -> str:
        return self.said(str)

    def said(self, say: Callable[[Words], str]) -> str:
        """One sentence, of parts that `say` puts into words."""
        sentence = f"{say(self.subject)} {say(self.problem)}"
        if not self.remedy:
            return sentence
        joint = self.remedy.joint or ("; " if ": " in sentence else ": ")
        return f"{sentence}{joint}{say(self.remedy)}"

    def inside(self, place: str) -> "ArgumentError":
        """The same, with what was being made in front."""
        subject = f"{place}: {self.subject.template}"
        error = ArgumentError(self.argument, self.problem, self.remedy, subject)
        error.owner = self.owner
        return error


class MissingExtraError(ModuleNotFoundError):
    """A library that only some things need is not installed; the message says how to get it."""


def require(condition: Any, argument: str, problem: str, got: Any) -> None:
    """Raise an `ArgumentError` unless `condition`: `require(n > 0, "n", "must be positive", n)`."""
    if not condition:
        raise ArgumentError(argument, f"{problem}, got {got}")
