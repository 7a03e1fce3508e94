"""Sums of one-digit numbers, thought through step by step: prompts, lines of thought, answers.

A problem "3+4-9" is solved from the left, "3+4=7,7-9=-2", and answered with -2. A language model
says how likely a line of thought is, `Rationale`; a calculator may write the results in it.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import whole
from gfnjax.envs.calculator import calculator
from gfnjax.envs.text import PromptedText, TextState, text
from gfnjax.errors import ArgumentError
from gfnjax.rewards.tokens import Prompts, TextTokenizer, encoded, one_token

QUESTION = "Question: {}=?\nAnswer:"
ANSWER = ". The answer is {}."
CHARACTERS = "0123456789+-=,"


class Problem(NamedTuple):
    """A sum and its solution.

    Attributes:
        expression: such as "3+4-9".
        rationale: z, the steps from the left, such as "3+4=7,7-9=-2".
        answer: the exact result.
    """

    expression: str
    rationale: str
    answer: int

    @property
    def question(self) -> str:
        """The prompt x."""
        return QUESTION.format(self.expression)

    @property
    def reply(self) -> str:
        """What must follow the line of thought, y."""
        return ANSWER.format(self.answer)


def evaluate_expression(expression: str) -> int:
    """The exact result of whole numbers joined by + and -, the first of which may have a sign.

    Raises:
        ArgumentError: for anything else.
    """
    return _terms(expression)[-1][1]


def solved(expression: str) -> Problem:
    """The problem with its solution, step by step from the left. Raises `evaluate_expression`'s."""
    terms = _terms(expression)
    steps = [f"{before}{term}={total}" for (_, before), (term, total) in itertools.pairwise(terms)]
    return Problem(expression, ",".join(steps), terms[-1][1])


def _terms(expression: str) -> list[tuple[str, int]]:
    """Each term with its sign, and the sum of all up to it."""
    if not re.fullmatch(r"-?\d+([+-]\d+)*", expression, re.ASCII):
        problem = f"must be numbers joined by + and -, got {expression!r}"
        raise ArgumentError("expression", problem)
    terms = re.findall(r"[+-]?\d+", expression)
    totals = np.cumsum([int(term) for term in terms]).tolist()
    return list(zip(terms, totals, strict=True))


def arithmetic_problems(
    num_problems: int, num_operands: int | Sequence[int] = (3, 4), seed: int = 0
) -> list[Problem]:
    """Different problems of so many one-digit numbers, with their solutions.

    Args:
        num_problems: how many.
        num_operands: of each; of several each is as likely. Hu et al. train on 3 and 4, and test
            on 5 as well.
        seed: of the NumPy generator.

    Raises:
        ArgumentError: for a number out of range, or more problems than there are.
    """
    counts = np.atleast_1d(np.asarray(num_operands))
    for count in counts:
        whole("num_operands", count, 2)
    possible = sum(10 * 20 ** (int(count) - 1) for count in set(counts.tolist()))
    if whole("num_problems", num_problems, 1) > possible // 2:
        raise ArgumentError(
            "num_problems", f"must be at most {possible // 2} for {counts.tolist()} operands"
        )
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < num_problems:
        size = rng.choice(counts)
        digits, signs = rng.integers(10, size=size), rng.choice(["+", "-"], size=size - 1)
        following = "".join(f"{s}{d}" for s, d in zip(signs, digits[1:], strict=True))
        found[f"{digits[0]}{following}"] = None
    return [solved(expression) for expression in found]


def answers(tokenizer: TextTokenizer, problems: Sequence[Problem]) -> Prompts:
    """The answer to each problem, for `Rationale`."""
    return encoded(tokenizer, [problem.reply for problem in problems], "answers")


def questions(
    tokenizer: TextTokenizer, problems: Sequence[Problem], examples: Sequence[Problem] = ()
) -> Prompts:
    """The question of each problem after solved `examples`, for the model of a `Rationale`."""
    solutions = [f"{e.question}{e.rationale}{e.reply}\n\n" for e in examples]
    before = "".join(solutions)
    return encoded(tokenizer, [before + problem.question for problem in problems], "questions")


def arithmetic(
    tokenizer: TextTokenizer,
    problems: Sequence[Problem],
    reward: Any,
    *,
    stop: str | int = ".",
    min_length: int = 5,
    max_length: int = 26,
    tool: bool = True,
) -> PromptedText:
    """Lines of thought on `problems`, of digits, "+", "-", "=" and ",".

        problems = arithmetic_problems(50)
        reward = Rationale(model, answers(tokenizer, problems))
        env = arithmetic(tokenizer, problems, reward)

    Args:
        tokenizer: one whose digits are tokens of their own.
        problems: each trajectory draws one.
        reward: as in `Text`.
        stop: the token that stops.
        min_length: tokens needed before stopping.
        max_length: tokens at most; 26 hold the solution of any 4 operands, 35 that of 5.
        tool: whether a calculator writes the results.

    Raises:
        ArgumentError: as `text` and `calculator`.
    """
    prompts = [problem.question for problem in problems]
    lengths = {"min_length": min_length, "max_length": max_length}
    env = text(tokenizer, prompts, reward, stop=stop, allowed=CHARACTERS, **lengths)
    return env.replace(forced=calculator(tokenizer, env.token_ids)) if tool else env


def demonstrations(env: Any, problems: Sequence[Problem]) -> TextState:
    """The terminal states `[n, ...]` of the solutions of problems number 0 to n - 1 of `env`.

    Character by character, as they are written: a tokenizer may have a token for "=-".

    Raises:
        ArgumentError: for a solution that is too long, naming it.
    """
    actions = {int(token): a for a, token in enumerate(np.asarray(env.token_ids)[:-1])}
    known = {c: actions[one_token(env.tokenizer, c, "characters")] for c in CHARACTERS}
    tokens = np.full((len(problems), env.max_length), -1, np.int32)
    for row, problem in zip(tokens, problems, strict=True):
        size = len(problem.rationale)
        if size > env.max_length:
            needed = f"must be at least {size} for the solution {problem.rationale!r}"
            raise ArgumentError("max_length", f"{needed}, got {env.max_length}")
        row[:size] = [known[character] for character in problem.rationale]
    numbers = np.arange(len(problems), dtype=np.int32)
    return TextState(jnp.asarray(tokens), jnp.ones(len(problems), bool), jnp.asarray(numbers))


def is_solved(expression: str, rationale: str) -> bool:
    """Whether a line of thought ends in the right result: what follows its last "="."""
    result = rationale.rpartition("=")[2].strip()
    return re.fullmatch(r"-?\d+", result) is not None and int(result) == evaluate_expression(
        expression
    )
