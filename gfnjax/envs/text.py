"""Texts, written token by token after a prompt until they are stopped."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import settle, whole
from gfnjax.envs.base import Measurable
from gfnjax.envs.drawing import Panel, histogram, reward_histogram
from gfnjax.envs.strings import Listed, Writing
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards import text as rewards
from gfnjax.rewards.tokens import Prompts, TextTokenizer, encoded, one_token
from gfnjax.types import Array, Trajectory

MOST_SHOWN = 12
LONGEST_SHOWN = 24
# A language model remembers the prompt for each.
JUDGED_AT_ONCE = 32


class TextState(NamedTuple):
    """A text under way.

    Attributes:
        tokens: `[max_length]` int32 actions, which number the allowed tokens; -1 past the last.
        stopped: `[]` bool.
        prompt: `[]` int32, the number of the prompt.
    """

    tokens: Array
    stopped: Array
    prompt: Array


@pytree
class Text(Writing, Comparable):
    """All texts of `min_length` to `max_length` out of A allowed tokens; build one with `text`.

    Action a < A appends allowed token number a, action A stops; a full text may only stop. States
    form a tree, P_B = 1. Stopping in a state is worth log R of the text as it is, so every state
    has a partial reward, and those of a whole trajectory come from one pass, `log_path_rewards`.
    The observation is one one-hot vector per position over "empty" and the tokens, concatenated;
    where there are several prompts, so is that of the prompt.

    Args:
        max_length: tokens at most, at least 1; the stop is none of them.
        token_ids: `[A + 1]` int32, the id of the token of each action; the last is the stop's.
        reward: a `gfnjax.rewards.text.TextReward`, or a plain function `(ids [max_length] int32,
            -1 past the end; prompt [] int32) -> log R`.
        prompts: `tokens` `[P, S]` int32 ids, 0 past the end, and `length` `[P]`.
        prompt: `[]` int32, the number of the prompt that all texts follow.
        min_length: tokens needed before stopping.
        forced: callable pytree `(tokens [max_length], prompt []) -> action that must come next`,
            or -1 where any may, such as a calculator; None for none.
        tokenizer: makes strings of texts.
        model: the language model that texts belong to, such as a
            `gfnjax.policies.language.LanguageModel`; None for none. Nothing here asks it: it is for
            policies and evaluations to find.
        alphabet_size: A; not to be given.
        num_prompts: P; not to be given.

    Raises:
        ArgumentError: if a size or shape is out of range.
    """

    max_length: int = static()
    token_ids: Array
    reward: Any
    prompts: Prompts
    prompt: Any = 0
    min_length: int = static(default=1)
    forced: Callable[[Array, Array], Array] | None = None
    tokenizer: TextTokenizer | None = static(default=None)
    model: Any = None
    alphabet_size: int = static(default=0)
    num_prompts: int = static(default=0)

    def __post_init__(self) -> None:
        settle(self, max_length=1, min_length=0)
        if self.min_length > self.max_length:
            raise ArgumentError(
                "min_length", f"must be in 0..max_length = {self.max_length}, got {self.min_length}"
            )
        token_ids = jnp.asarray(self.token_ids, jnp.int32)
        if token_ids.ndim != 1 or token_ids.size < 2:
            problem = f"must be [A + 1] ids, the stop's last, got shape {token_ids.shape}"
            raise ArgumentError("token_ids", problem)
        found = {
            "token_ids": token_ids,
            "reward": rewards.text_reward(self.reward),
            "prompt": jnp.asarray(self.prompt, jnp.int32),
            "forced": as_node(self.forced),
            "alphabet_size": token_ids.size - 1,
            "num_prompts": self.prompts.length.shape[0],
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)
        if isinstance(self.reward, rewards.Fitted):
            self.reward.check_fit(self)

    @property
    def stop_action(self) -> int:
        return self.alphabet_size

    def at(self, prompt: int) -> "Text":
        """The environment of texts after prompt number `prompt` only.

        Same states, actions and observations, so that a policy for all prompts fits. Its states
        can be listed, unless tokens are forced.

        Raises:
            ArgumentError: if there is no such prompt.
        """
        number = whole("prompt", prompt, 0)
        if number >= self.num_prompts:
            raise ArgumentError("prompt", f"must be in 0..{self.num_prompts - 1}, got {prompt}")
        kind = ListedText if self.forced is None else Text
        return _as(kind, self).replace(prompt=number)

    def initial_state(self) -> TextState:
        tokens = jnp.full(self.max_length, -1, jnp.int32)
        return TextState(tokens, jnp.zeros((), bool), jnp.asarray(self.prompt, jnp.int32))

    def forward_mask(self, state: TextState) -> Array:
        mask = super().forward_mask(state)
        if self.forced is None:
            return mask
        action = self.forced(state.tokens, state.prompt)
        only = jnp.arange(self.num_actions, dtype=jnp.int32) == action
        bound = (action >= 0) & (self._size(state) < self.max_length) & ~state.stopped
        return jnp.where(bound, only, mask)

    def observe(self, state: TextState) -> Array:
        seen = super().observe(state)
        if self.num_prompts == 1:
            return seen
        return jnp.append(seen, jax.nn.one_hot(state.prompt, self.num_prompts))

    @property
    def num_features(self) -> int:
        return super().num_features + (self.num_prompts if self.num_prompts > 1 else 0)

    def active_features(self, state: TextState) -> Array:
        active = super().active_features(state)
        if self.num_prompts == 1:
            return active
        return jnp.append(active, super().num_features + state.prompt)

    def log_reward(self, state: TextState) -> Array:
        return self.log_partial_reward(state)

    def log_partial_reward(self, state: TextState) -> Array:
        """`[]` log R of stopping here."""
        return self.log_rewards(jax.tree.map(lambda x: x[None], state))[0]

    def log_rewards(self, states: TextState) -> Array:
        """`[n]` log R of states `[n, ...]`, all in one pass."""
        return rewards.whole(self.reward, self._texts(states))

    def log_path_rewards(self, trajectories: Trajectory) -> Array:
        """`[B, T + 1]` log R of stopping in each state of the trajectories."""
        last = jax.tree.map(lambda x: x[:, -1], trajectories.states)
        sizes = (trajectories.states.tokens >= 0).sum(axis=-1, dtype=jnp.int32)
        return jnp.take_along_axis(self.reward.path(self._texts(last)), sizes, axis=1)

    def ids(self, tokens: Array, fill: int = -1) -> Array:
        """`[...]` int32 token ids of actions, `fill` where there is none."""
        return jnp.where(tokens < 0, fill, self.token_ids[jnp.maximum(tokens, 0)])

    def texts(self, states: TextState) -> list[str]:
        """The strings of states `[n, ...]`; ids, one after the other, without a tokenizer."""
        rows = [row[row >= 0].tolist() for row in np.asarray(self.ids(jnp.asarray(states.tokens)))]
        if self.tokenizer is None:
            return [" ".join(map(str, row)) for row in rows]
        return [self.tokenizer.decode(row) for row in rows]

    def states(
        self, strings: Iterable[str], prompts: int | Iterable[int] | None = None
    ) -> TextState:
        """The terminal states `[n, ...]` of texts, say of demonstrations, after prompts by number.

        Args:
            strings: the texts.
            prompts: the number of the prompt of each, or one for all; None for that of the
                environment.

        Raises:
            ArgumentError: without a tokenizer, for a text that is too long, too short or holds a
                token that is not allowed, or for prompts that there are not, or not as many.
        """
        if self.tokenizer is None:
            raise ArgumentError("strings", "cannot be read without a tokenizer", "give one to Text")
        numbers = {int(token): a for a, token in enumerate(np.asarray(self.token_ids)[:-1])}
        given = list(strings)
        tokens = np.full((len(given), self.max_length), -1, np.int32)
        for row, string in zip(tokens, given, strict=True):
            ids = self.tokenizer.encode(string)
            if not self.min_length <= len(ids) <= self.max_length:
                problem = f"must have {self.min_length} to {self.max_length} tokens, got {len(ids)}"
                raise ArgumentError("strings", f"{problem} in {string!r}")
            wrong = [token for token in ids if token not in numbers]
            if wrong:
                piece = self.tokenizer.piece(wrong[0])
                raise ArgumentError("strings", f"must be of allowed tokens, got {piece!r}")
            row[: len(ids)] = [numbers[token] for token in ids]
        prompt = self._numbers(self.prompt if prompts is None else prompts, len(given))
        return TextState(jnp.asarray(tokens), jnp.ones(len(given), bool), jnp.asarray(prompt))

    def measure(self, states: TextState) -> dict[str, Array]:
        """The mean length, and whatever the reward measures of the ids `[n, max_length]`."""
        length = (states.tokens >= 0).sum(axis=1, dtype=jnp.int32)
        found = {"text_length": length.astype(jnp.result_type(float)).mean()}
        if isinstance(self.reward, Measurable):
            found |= self.reward.measure(self.ids(states.tokens))
        return found

    def render(self, states: TextState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The most likely texts, the distribution of rewards and that of lengths."""
        mass: dict[str, float] = {}
        for string, weight in zip(self.texts(states), weights, strict=True):
            mass[string] = mass.get(string, 0.0) + float(weight)
        most = sorted(mass.items(), key=lambda item: -item[1])[:MOST_SHOWN]
        shown = np.array([weight for _, weight in most])
        names = tuple(_short(string) for string, _ in most)
        lengths = (np.asarray(states.tokens) >= 0).sum(axis=1)
        return (
            Panel(shown, "most likely texts", quantity="probability of the text", x_ticks=names),
            reward_histogram(self, states, weights, JUDGED_AT_ONCE),
            histogram(lengths, weights, "length"),
        )

    def _numbers(self, prompts: Any, count: int) -> np.ndarray:
        """`[count]` int32 numbers of prompts."""
        numbers = np.asarray(prompts if np.ndim(prompts) else [prompts])
        if len(numbers) not in (1, count):
            problem = f"must be one for each of {count} texts, got {len(numbers)}"
            raise ArgumentError("prompts", problem)
        for number in numbers:
            if not 0 <= whole("prompts", number) < self.num_prompts:
                problem = f"must be in 0..{self.num_prompts - 1}, got {number}"
                raise ArgumentError("prompts", problem)
        return np.broadcast_to(numbers.astype(np.int32), count)

    def _texts(self, states: TextState) -> rewards.Texts:
        """States `[B, ...]` as rewards take them."""
        length = (states.tokens >= 0).sum(axis=1, dtype=jnp.int32)
        ids, allowed = self.ids(states.tokens, 0), self.token_ids
        return rewards.Texts(ids, length, allowed[-1], allowed, states.prompt, self.prompts)


@pytree
class ListedText(Listed, Text):
    """A `Text` after one prompt in which nothing is forced: its states can be listed.

    Raises:
        ArgumentError: if something is forced.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forced is not None:
            problem = "leaves states of a ListedText out, which lists all"
            raise ArgumentError("forced", problem, "give forced to text()")


@pytree
class PromptedText(Text):
    """A `Text` that draws one of its prompts for each trajectory, all of them alike."""

    def draw_initial_state(self, key: Array) -> TextState:
        prompt = jax.random.randint(key, (), 0, self.num_prompts, jnp.int32)
        return self.initial_state()._replace(prompt=prompt)


def text(
    tokenizer: TextTokenizer,
    prompts: str | Sequence[str | Sequence[int]],
    reward: Any,
    *,
    stop: str | int,
    allowed: Iterable[str | int] | None = None,
    min_length: int = 1,
    max_length: int,
    forced: Callable[[Array, Array], Array] | None = None,
    model: Any = None,
) -> Any:
    """A `ListedText` after one prompt, or a `PromptedText` after several.

        text(tokenizer, "A number:", uniform_over(numbers, tokenizer), stop=".", max_length=3,
             allowed="0123456789")

    Args:
        tokenizer: encodes strings, decodes ids, and has a `size`; hashable.
        prompts: one string; or several strings or lists of ids, of which each trajectory draws one.
        reward: as in `Text`.
        stop: the token that stops, a string or its id.
        allowed: the tokens that may be written, strings or ids; without, all but the stop and what
            is no text to the tokenizer: its `special` tokens, such as <|im_end|>.
        min_length: tokens needed before stopping.
        max_length: tokens at most.
        forced: as in `Text`; the states of such a text are not listed.
        model: as in `Text`.

    Raises:
        ArgumentError: for an allowed set that is empty or holds the stop, a string that is not
            exactly one token, an id out of the vocabulary, a prompt without tokens, or a length
            out of range.
    """
    stop_id = one_token(tokenizer, stop, "stop")
    token_ids = np.array([*_allowed_ids(tokenizer, allowed, stop_id), stop_id], np.int32)
    single = isinstance(prompts, str)
    table = encoded(tokenizer, [prompts] if single else prompts)
    kind = PromptedText if not single else ListedText if forced is None else Text
    return kind(
        max_length,
        jnp.asarray(token_ids),
        reward,
        table,
        min_length=min_length,
        forced=forced,
        tokenizer=tokenizer,
        model=model,
    )


def _allowed_ids(
    tokenizer: TextTokenizer, allowed: Iterable[str | int] | None, stop: int
) -> list[int]:
    """The ids of allowed tokens in the order in which they are given, each once."""
    if allowed is None:
        marks = {stop, *getattr(tokenizer, "special", ())}
        ids = [token for token in range(tokenizer.size) if token not in marks]
        return _some(ids)
    ids = list(dict.fromkeys(one_token(tokenizer, token, "allowed") for token in allowed))
    if stop in ids:
        shown = repr(tokenizer.piece(stop))
        raise ArgumentError("allowed", f"must not hold the stop token {shown}", "leave it out")
    return _some(ids)


def _some(ids: list[int]) -> list[int]:
    if not ids:
        raise ArgumentError("allowed", "must hold at least one token, got none")
    return ids


def _as(kind: type, env: Text) -> Any:
    return kind(**{name: getattr(env, name) for name in env.__dataclass_fields__})


def _short(string: str) -> str:
    shown = repr(string)[1:-1]
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[: LONGEST_SHOWN - 3]}..."
