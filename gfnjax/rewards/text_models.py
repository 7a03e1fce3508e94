"""What a language model is to a reward, and how it is asked about all prefixes of some texts.

The model reads each distinct prompt of a batch once; of a vocabulary it is asked about a few tokens
at a time. Nothing here has a gradient.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from gfnjax import groups, packing
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


@runtime_checkable
class CuttableModel(TextModel, Protocol):
    """A `TextModel` that can forget the last of what it has read, as a key/value cache can.

    Texts that go on after each of their prefixes are then read once, not once for each.
    """

    def cut(self, memory: PyTree, length: Array) -> PyTree:
        """What `read` would give of the first `length` `[]` tokens, of a memory of more."""
        ...


class Start(NamedTuple):
    """Where texts begin.

    Attributes:
        memory: `[B, ...]` what is remembered of all of a prompt but its last token.
        last: `[B]` int32, that token.
    """

    memory: PyTree
    last: Array


def read_prompts(model: TextModel, texts: Texts, prompts: Prompts | None) -> Start:
    """Each distinct prompt is read once."""
    seen = texts.prompts if prompts is None else prompts

    def read(prompt: Array) -> PyTree:
        return model.read(seen.tokens[prompt], seen.length[prompt] - 1)

    memory = groups.once(read, texts.prompt, groups.leaders(texts.prompt))
    return Start(memory, last_tokens(seen, texts.prompt))


def predictions(
    model: TextModel, texts: Texts, start: Start, restricted: bool = False
) -> tuple[Array, Array]:
    """`[B, n + 1]` each: log p of the first 0..n tokens, and of the stop after them."""
    tokens = jnp.concatenate([start.last[:, None], texts.ids], axis=1)
    hidden = jax.vmap(model.unroll)(start.memory, tokens)
    following = jnp.pad(texts.ids, ((0, 0), (0, 1)))

    def judge(row: tuple[Array, Array]) -> Array:
        hidden, token = row
        wanted = jnp.stack([token, texts.stop])
        if restricted:
            wanted = jnp.concatenate([wanted, texts.allowed])
        said = model.log_probs(hidden, wanted).astype(jnp.result_type(float))
        return said[:2] - jax.nn.logsumexp(said[2:]) if restricted else said

    live = prefix_sizes(texts) <= texts.length[:, None]
    rows = hidden.reshape(-1, hidden.shape[-1]), following.reshape(-1)
    least, most = PREDICTIONS_AT_ONCE
    at_once = min(live.size, max(least, min(live.size // 8, most)))
    said = packing.evaluate_live(judge, rows, live.reshape(-1), at_once)
    token, stop = jnp.moveaxis(said.reshape(*live.shape, 2), 2, 0)
    return jnp.pad(jnp.cumsum(token[:, :-1], axis=1), ((0, 0), (1, 0))), stop


def log_joint(
    model: TextModel, texts: Texts, prompts: Prompts | None, ends: Prompts, sizes: Array
) -> Array:
    """`[B, k]` log p of so many tokens of each text, `sizes` `[B, k]`, and then of its end.

    Ends are `[B, K]`, `[B]`.
    """
    model = jax.lax.stop_gradient(model)
    start = read_prompts(model, texts, prompts)
    written, _ = predictions(model, texts, start)
    if isinstance(model, CuttableModel):
        predict = _after_cut(model, texts, texts.prompts if prompts is None else prompts, ends)
    else:
        predict = _after_all(model, texts, start, ends)

    def judge(row: tuple[Array, Array]) -> Array:
        number, size = row
        end = ends.tokens[number]
        said = model.log_probs(predict(number, size), end[:, None])[:, 0]
        counts = jnp.arange(end.size, dtype=jnp.int32) < ends.length[number]
        return jnp.where(counts, said.astype(jnp.result_type(float)), 0.0).sum()

    live = sizes <= texts.length[:, None]
    numbers = jnp.arange(texts.length.size, dtype=jnp.int32)
    rows = jnp.repeat(numbers, sizes.shape[1]), sizes.reshape(-1)
    at_once = min(live.size, ENDS_AT_ONCE)
    said = packing.evaluate_live(judge, rows, live.reshape(-1), at_once).reshape(live.shape)
    return jnp.take_along_axis(written, sizes, axis=1) + said


# What predicts the K tokens of the end of text `number` after its first `size` tokens, [K, W].
_Predict = Callable[[Array, Array], Array]


def _after_all(model: TextModel, texts: Texts, start: Start, ends: Prompts) -> _Predict:
    """Each prefix is read again, from its prompt on."""

    def predict(number: Array, size: Array) -> Array:
        text = jnp.concatenate([start.last[number][None], texts.ids[number]])
        tokens = _joined(text, size + 1, ends.tokens[number])[:-1]
        hidden = model.unroll(jax.tree.map(lambda x: x[number], start.memory), tokens)
        return hidden[size + jnp.arange(ends.tokens.shape[1], dtype=jnp.int32)]

    return predict


def _after_cut(model: CuttableModel, texts: Texts, prompts: Prompts, ends: Prompts) -> _Predict:
    """Prompt and text are read once, and cut before the last token of each prefix."""

    def read(ids: Array, length: Array, prompt: Array) -> PyTree:
        before = prompts.length[prompt]
        tokens = _joined(prompts.tokens[prompt], before, ids)
        return tokens, model.read(tokens, before + length)

    tokens, memory = jax.vmap(read)(texts.ids, texts.length, texts.prompt)

    def predict(number: Array, size: Array) -> Array:
        last = prompts.length[texts.prompt[number]] + size - 1
        kept = model.cut(jax.tree.map(lambda x: x[number], memory), last)
        following = jnp.concatenate([tokens[number, last][None], ends.tokens[number, :-1]])
        return model.unroll(kept, following)

    return predict


def _joined(first: Array, length: Array, second: Array) -> Array:
    """`[n + k]` the first `length` of `first` `[n]`, then `second` `[k]`, then anything."""
    at = jnp.arange(first.size + second.size, dtype=jnp.int32)
    behind = second[jnp.clip(at - length, 0, second.size - 1)]
    return jnp.where(at < length, first[jnp.minimum(at, first.size - 1)], behind)


def prefix_sizes(texts: Texts) -> Array:
    """`[B, n + 1]` 0..n, the sizes of all prefixes."""
    sizes = jnp.arange(texts.ids.shape[1] + 1, dtype=jnp.int32)
    return jnp.broadcast_to(sizes[None], (texts.length.size, sizes.size))
