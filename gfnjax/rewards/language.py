"""Rewards that a language model gives: how likely it finds a text, and what follows it.

The model reads each distinct prompt of a batch once; of a vocabulary it is asked about a few tokens
at a time. Temperature is not in here: `tempered(env, 1 / T)` divides log R by T.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from gfnjax import groups, packing
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree, static
from gfnjax.rewards.text import Texts
from gfnjax.rewards.tokens import Prompts, last_tokens
from gfnjax.types import Array, PyTree

# Of predictions over the vocabulary, and of texts that are each read to an end of their own.
PREDICTIONS_AT_ONCE = 16, 512
ENDS_AT_ONCE = 16


@runtime_checkable
class TextModel(Protocol):
    """A language model as a pytree, of one sequence.

    A prompt x_1..x_m is used like this: `read` gets x_1..x_{m-1}, and what is unrolled from there
    are x_m, z_1, .., z_n; output t predicts what comes after z_t.
    """

    def read(self, tokens: Array, length: Array) -> PyTree:
        """What is remembered of the first `length` `[]` of `tokens` `[S]`; it may be 0."""
        ...

    def unroll(self, memory: PyTree, tokens: Array) -> Array:
        """`[n, W]` features after each of `tokens` `[n]`, which come after what is remembered."""
        ...

    def log_probs(self, hidden: Array, targets: Array) -> Array:
        """`[..., k]` nats: log p of the tokens `[..., k]` to come next, features `[..., W]`."""
        ...


class _Start(NamedTuple):
    """Where texts begin.

    Attributes:
        memory: `[B, ...]` what is remembered of all of a prompt but its last token.
        last: `[B]` int32, that token.
    """

    memory: PyTree
    last: Array


@pytree
class Continuation(Comparable):
    """log R(z) = log p(z stop | x), x the prompt.

    Args:
        model: a `TextModel`.
        restricted: whether p is that of the allowed tokens and the stop, as if there were no
            others: log p(token) - log sum over them of p.
        prompts: what the model sees in place of the prompts of the environment, as many.

    Raises:
        ArgumentError: for what is no model.
    """

    model: TextModel
    restricted: bool = static(default=False)
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        _check_model(self.model)

    def check_prompts(self, num_prompts: int) -> None:
        _check_tables(num_prompts, prompts=self.prompts)

    def path(self, texts: Texts) -> Array:
        model = jax.lax.stop_gradient(self.model)
        start = _start(model, texts, self.prompts)
        written, stop = _predictions(model, texts, start, self.restricted)
        return written + stop


@pytree
class Infilling(Comparable):
    """log R(z) = log p(z stop y | x), y a text that must follow: z fills the gap between x and y.

    The prompt of the environment, which a policy sees, may hold x and y; `prompts` are then the x.
    Each prefix of z is read together with y: O(n) passes for a text of n tokens.

    Args:
        model: a `TextModel`.
        suffixes: y, one for each prompt or one for all.
        prompts: x, as many as the environment has; its own without.

    Raises:
        ArgumentError: for what is no model.
    """

    model: TextModel
    suffixes: Prompts
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        _check_model(self.model)

    def check_prompts(self, num_prompts: int) -> None:
        _check_tables(num_prompts, prompts=self.prompts, suffixes=self.suffixes)

    def path(self, texts: Texts) -> Array:
        ends = _after_stop(texts, self.suffixes)
        return _log_joint(self.model, texts, self.prompts, ends, _sizes(texts))

    def whole(self, texts: Texts) -> Array:
        ends, length = _after_stop(texts, self.suffixes), texts.length[:, None]
        return _log_joint(self.model, texts, self.prompts, ends, length)[:, 0]


@pytree
class Rationale(Comparable):
    """log R(z) = log p(z y | x), z a line of thought that leads from x to the answer y.

    As `Infilling`, but no stop token comes between z and y. Which answer is right is known in
    training; a policy sees x alone.

    Args:
        model: a `TextModel`.
        answers: y, one for each prompt or one for all.
        prompts: x as the model sees it, say after examples; the environment's own without.

    Raises:
        ArgumentError: for what is no model.
    """

    model: TextModel
    answers: Prompts
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        _check_model(self.model)

    def check_prompts(self, num_prompts: int) -> None:
        _check_tables(num_prompts, prompts=self.prompts, answers=self.answers)

    def path(self, texts: Texts) -> Array:
        ends = _of_each(texts, self.answers)
        return _log_joint(self.model, texts, self.prompts, ends, _sizes(texts))

    def whole(self, texts: Texts) -> Array:
        ends, length = _of_each(texts, self.answers), texts.length[:, None]
        return _log_joint(self.model, texts, self.prompts, ends, length)[:, 0]


def _start(model: TextModel, texts: Texts, prompts: Prompts | None) -> _Start:
    """Each distinct prompt is read once."""
    seen = texts.prompts if prompts is None else prompts

    def read(prompt: Array) -> PyTree:
        return model.read(seen.tokens[prompt], seen.length[prompt] - 1)

    memory = groups.once(read, texts.prompt, groups.leaders(texts.prompt))
    return _Start(memory, last_tokens(seen, texts.prompt))


def _predictions(
    model: TextModel, texts: Texts, start: _Start, restricted: bool = False
) -> tuple[Array, Array]:
    """`[B, n + 1]` each: log p of the first 0..n tokens, and of the stop after them."""
    tokens = jnp.concatenate([start.last[:, None], texts.ids], axis=1)
    hidden = jax.vmap(model.unroll)(start.memory, tokens)
    following = jnp.pad(texts.ids, ((0, 0), (0, 1)))

    def judge(row: tuple[Array, Array]) -> Array:
        hidden, token = row
        said = model.log_probs(hidden, jnp.stack([token, texts.stop]))
        if restricted:
            said = said - jax.nn.logsumexp(model.log_probs(hidden, texts.allowed))
        return said.astype(jnp.result_type(float))

    live = _sizes(texts) <= texts.length[:, None]
    rows = hidden.reshape(-1, hidden.shape[-1]), following.reshape(-1)
    least, most = PREDICTIONS_AT_ONCE
    at_once = min(live.size, max(least, min(live.size // 8, most)))
    said = packing.evaluate_live(judge, rows, live.reshape(-1), at_once)
    token, stop = jnp.moveaxis(said.reshape(*live.shape, 2), 2, 0)
    return jnp.pad(jnp.cumsum(token[:, :-1], axis=1), ((0, 0), (1, 0))), stop


def _log_joint(
    model: TextModel, texts: Texts, prompts: Prompts | None, ends: Prompts, sizes: Array
) -> Array:
    """`[B, k]` log p of so many tokens of each text, `sizes` `[B, k]`, and then of its end.

    Ends are `[B, K]`, `[B]`.
    """
    model = jax.lax.stop_gradient(model)
    start = _start(model, texts, prompts)
    written, _ = _predictions(model, texts, start)

    def judge(row: tuple[Array, Array]) -> Array:
        return _log_end(model, texts, start, ends, *row)

    live = sizes <= texts.length[:, None]
    numbers = jnp.arange(texts.length.size, dtype=jnp.int32)
    rows = jnp.repeat(numbers, sizes.shape[1]), sizes.reshape(-1)
    at_once = min(live.size, ENDS_AT_ONCE)
    said = packing.evaluate_live(judge, rows, live.reshape(-1), at_once).reshape(live.shape)
    return jnp.take_along_axis(written, sizes, axis=1) + said


def _log_end(
    model: TextModel, texts: Texts, start: _Start, ends: Prompts, number: Array, size: Array
) -> Array:
    """`[]` log p of the end of text `number` after its first `size` tokens."""
    memory = jax.tree.map(lambda x: x[number], start.memory)
    end, places = ends.tokens[number], jnp.arange(ends.tokens.shape[1], dtype=jnp.int32)
    text = jnp.concatenate([start.last[number][None], texts.ids[number]])
    at = jnp.arange(text.size + end.size - 1, dtype=jnp.int32)
    behind = end[jnp.clip(at - size - 1, 0, end.size - 1)]
    tokens = jnp.where(at <= size, text[jnp.minimum(at, text.size - 1)], behind)
    hidden = model.unroll(memory, tokens)[size + places]
    said = model.log_probs(hidden, end[:, None])[:, 0].astype(jnp.result_type(float))
    return jnp.where(places < ends.length[number], said, 0.0).sum()


def _of_each(texts: Texts, table: Prompts) -> Prompts:
    """The rows `[B, K]`, `[B]` of a table for all prompts, or of one row for all."""
    row = jnp.minimum(texts.prompt, table.length.shape[0] - 1)
    return Prompts(table.tokens[row], table.length[row])


def _after_stop(texts: Texts, table: Prompts) -> Prompts:
    """`_of_each` with the stop token in front."""
    tokens, length = _of_each(texts, table)
    stop = jnp.broadcast_to(texts.stop, (len(tokens), 1))
    return Prompts(jnp.concatenate([stop, tokens], axis=1), length + 1)


def _sizes(texts: Texts) -> Array:
    """`[B, n + 1]` 0..n, the sizes of all prefixes."""
    sizes = jnp.arange(texts.ids.shape[1] + 1, dtype=jnp.int32)
    return jnp.broadcast_to(sizes[None], (texts.length.size, sizes.size))


def _check_model(model: Any) -> None:
    if not isinstance(model, TextModel):
        raise ArgumentError("model", f"must have read, unroll and log_probs, got {model!r}")


def _check_tables(num_prompts: int, **tables: Prompts | None) -> None:
    """Prompts must be as many as those of the environment, what follows them too, or one."""
    for name, table in tables.items():
        rows = num_prompts if table is None else table.length.shape[0]
        if rows != num_prompts and (name == "prompts" or rows != 1):
            raise ArgumentError(name, f"must be one for each of {num_prompts} prompts, got {rows}")
