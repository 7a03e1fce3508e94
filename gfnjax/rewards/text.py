"""Rewards of texts: what a text is given as, and rewards that no language model is needed for.

A prefix of a text is worth what stopping after it would give. A reward tells that for all prefixes
of a text at once, `path`: a language model does so in one pass.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import is_known, is_traced
from gfnjax.errors import ArgumentError, require
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree
from gfnjax.rewards.tokens import Prompts, TextTokenizer, encoded, prompt_table, spelled
from gfnjax.types import Array

# log R of what is not valid (Hu et al., 2310.04363): finite, far below anything that is.
FLOOR = -99.0


class Texts(NamedTuple):
    """A batch of texts and all that is known of them.

    Attributes:
        ids: `[B, n]` int32 token ids, 0 past the end.
        length: `[B]` int32, tokens of each.
        stop: `[]` int32, the id of the stop token.
        allowed: `[A + 1]` int32, the ids that may be written, the stop last.
        prompt: `[B]` int32, the number of the prompt each was written after.
        prompts: all of them.
    """

    ids: Array
    length: Array
    stop: Array
    allowed: Array
    prompt: Array
    prompts: Prompts


@runtime_checkable
class TextReward(Protocol):
    """A callable pytree that values a text and all its prefixes."""

    def path(self, texts: Texts) -> Array:
        """`[B, n + 1]` log R in nats of stopping after 0..n tokens; anything beyond the length."""
        ...


@runtime_checkable
class WholeReward(TextReward, Protocol):
    """A `TextReward` that values whole texts for less than all their prefixes."""

    def whole(self, texts: Texts) -> Array:
        """`[B]` log R in nats of stopping where the texts end."""
        ...


class Written(Protocol):
    """What a reward may ask of the environment that it is for; a `gfnjax.envs.text.Text` has it.

    Attributes:
        prompts: all of them.
        token_ids: `[A + 1]` int32, the ids that may be written, the stop last.
        max_length: tokens at most, without the stop.
        tokenizer: None for none.
    """

    @property
    def prompts(self) -> Prompts: ...
    @property
    def token_ids(self) -> Array: ...
    @property
    def max_length(self) -> int: ...
    @property
    def tokenizer(self) -> TextTokenizer | None: ...


@runtime_checkable
class Fitted(TextReward, Protocol):
    """A `TextReward` that does not go with every environment."""

    def check_fit(self, env: Written) -> None:
        """Raise an `ArgumentError` unless it goes with `env`."""
        ...


def whole(reward: TextReward, texts: Texts) -> Array:
    """`[B]` log R in nats of stopping where the texts end."""
    if isinstance(reward, WholeReward):
        return reward.whole(texts)
    return jnp.take_along_axis(reward.path(texts), texts.length[:, None], axis=1)[:, 0]


@pytree
class Prefixwise(Comparable):
    """A plain function of one text, evaluated on every prefix.

    Args:
        function: `(ids [n] int32, -1 past the end; prompt [] int32) -> log R`, a callable pytree
            or a plain function.
    """

    function: Callable[[Array, Array], Array]

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", as_node(self.function))

    def __call__(self, ids: Array, prompt: Array) -> Array:
        return jnp.asarray(self.function(ids, prompt)).astype(jnp.result_type(float))

    def path(self, texts: Texts) -> Array:
        sizes = jnp.arange(texts.ids.shape[1] + 1, dtype=jnp.int32)

        def prefixes(ids: Array, length: Array, prompt: Array) -> Array:
            cut = jax.vmap(lambda size: _cut(ids, jnp.minimum(size, length)))(sizes)
            return jax.vmap(self, (0, None))(cut, prompt)

        return jax.vmap(prefixes)(texts.ids, texts.length, texts.prompt)

    def whole(self, texts: Texts) -> Array:
        return jax.vmap(self)(jax.vmap(_cut)(texts.ids, texts.length), texts.prompt)


def _cut(ids: Array, length: Array) -> Array:
    """The first `length` of `ids` `[n]`, -1 behind them."""
    return jnp.where(jnp.arange(ids.size, dtype=jnp.int32) < length, ids, -1)


def text_reward(reward: Any) -> TextReward:
    """A reward with a `path`: itself, or a plain function made `Prefixwise`.

    Raises:
        ArgumentError: for what is neither.
    """
    if isinstance(reward, TextReward):
        return reward
    if not callable(reward):
        problem = f"must be a function of (ids, prompt) or have a path, got {reward!r}"
        raise ArgumentError("reward", problem)
    return Prefixwise(reward)


@pytree
class Constrained(Comparable):
    """log R(z) = log R_base(z) + max(log c(z), floor).

    What is not valid, log c = -inf, keeps log R_base + `floor`, below the same text if it were.

    Args:
        base: a `TextReward`, or a plain function of `(ids, prompt)`.
        log_c: the constraint, in either form; nats.
        floor: smallest log c that counts.
    """

    base: Any
    log_c: Any
    floor: float = FLOOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", text_reward(self.base))
        object.__setattr__(self, "log_c", text_reward(self.log_c))

    def check_fit(self, env: Written) -> None:
        for reward in (self.base, self.log_c):
            if isinstance(reward, Fitted):
                reward.check_fit(env)

    def path(self, texts: Texts) -> Array:
        return self.base.path(texts) + jnp.maximum(self.log_c.path(texts), self.floor)

    def whole(self, texts: Texts) -> Array:
        return whole(self.base, texts) + jnp.maximum(whole(self.log_c, texts), self.floor)


@pytree
class UniformOver(Comparable):
    """log R = 0 of the texts in a set, `log_floor` of all others; build one with `uniform_over`.

    Attributes:
        members: the set.
        log_floor: nats.
    """

    members: Prompts
    log_floor: float = FLOOR

    def check_fit(self, env: Written) -> None:
        """Members must be of allowed tokens, whatever their length; the first other is named."""
        if is_traced((self.members, env.token_ids)):
            return
        allowed, tokenizer = np.asarray(env.token_ids)[:-1], env.tokenizer
        for row, size in zip(*map(np.asarray, self.members), strict=True):
            wrong = row[:size][~np.isin(row[:size], allowed)].tolist()
            if wrong:
                ids: Any = row[:size].tolist()
                text, token = ids, wrong[0]
                if tokenizer is not None:
                    text, token = repr(tokenizer.decode(ids)), repr(tokenizer.piece(token))
                problem = f"must be uniform over texts of allowed tokens, but {text} has {token}"
                remedy = "leave it out, or have uniform_over spell it with pieces"
                raise ArgumentError("reward", problem, remedy)

    def path(self, texts: Texts) -> Array:
        tokens, length = self.members
        most = min(tokens.shape[1], texts.ids.shape[1])
        sizes = jnp.arange(texts.ids.shape[1] + 1, dtype=jnp.int32)

        def prefixes(ids: Array) -> Array:
            agree = tokens[:, :most] == ids[None, :most]
            # [N, most + 1]: member and text agree on so many tokens from the start.
            so_far = jnp.pad(jnp.cumprod(agree.astype(jnp.int32), 1), ((0, 0), (1, 0)))
            so_far = so_far.at[:, 0].set(1) > 0
            reached = jnp.take_along_axis(so_far, jnp.minimum(length, most)[:, None], 1)
            found = (length[:, None] == sizes[None]) & reached
            return jnp.where(found.any(axis=0), 0.0, jnp.asarray(self.log_floor))

        return jax.vmap(prefixes)(texts.ids).astype(jnp.result_type(float))


def uniform_over(
    texts: Iterable[str | Sequence[int]],
    tokenizer: TextTokenizer | None = None,
    log_floor: float = FLOOR,
    *,
    pieces: Iterable[str] | None = None,
) -> UniformOver:
    """`UniformOver` of strings, or of lists of ids: some thousands, each is compared with each.

    Args:
        texts: the set, without the stop token.
        tokenizer: what encodes strings.
        log_floor: log R of all other texts, below 0.
        pieces: strings of one token each that strings are spelled with, such as "0123456789" where
            a tokenizer has tokens of several digits that may not be written; without, strings are
            encoded as usual.

    Raises:
        ArgumentError: for an empty set or text, strings without a tokenizer or that cannot be
            spelled, a piece of several tokens, or a floor >= 0.
    """
    given = list(texts)
    if tokenizer is not None and pieces is not None:
        given = spelled(tokenizer, given, pieces, "texts")
    if is_known(log_floor):
        require(log_floor < 0, "log_floor", "must be negative", log_floor)
    if tokenizer is not None:
        return UniformOver(encoded(tokenizer, given, "texts"), log_floor)
    ids = [text for text in given if not isinstance(text, str)]
    if len(ids) < len(given):
        raise ArgumentError("texts", "are strings", "give a tokenizer, or lists of token ids")
    return UniformOver(prompt_table(ids, "texts"), log_floor)
