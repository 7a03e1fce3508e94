"""A calculator that writes the result of a sum into a text: a tool as forced tokens."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree
from gfnjax.rewards.tokens import TextTokenizer
from gfnjax.types import Array

LARGEST = 999_999  # operands beyond it are not read

# Where a reader of tokens stands: in nothing it knows; where a sum may begin; after a sign, in the
# first number, after the operator, in the second number, after "=".
LOST, FRESH, SIGN, FIRST, OPERATOR, SECOND, DONE = range(7)
DIGIT, PLUS, MINUS, EQUALS, SPACE, OTHER = range(6)
# Where each kind of token leads from each of them; a space changes nothing.
LEADS = np.array(
    [
        [LOST, LOST, LOST, FRESH, LOST, FRESH],
        [FIRST, LOST, SIGN, FRESH, FRESH, FRESH],
        [FIRST, LOST, LOST, FRESH, SIGN, FRESH],
        [FIRST, OPERATOR, OPERATOR, FRESH, FIRST, FRESH],
        [SECOND, LOST, LOST, FRESH, OPERATOR, FRESH],
        [SECOND, LOST, LOST, DONE, SECOND, FRESH],
        [FIRST, LOST, SIGN, FRESH, FRESH, FRESH],
    ],
    np.int32,
)


class Reader(NamedTuple):
    """What is known after some tokens, `[]` int32 each.

    Attributes:
        place: one of the seven above.
        sign: of the first number, 1 or -1.
        first: the first number, without its sign.
        operator: 1 or -1.
        second: the second number.
        result: of the last sum that "=" ended.
        since: tokens after that "="; -1 before there is one.
    """

    place: Array
    sign: Array
    first: Array
    operator: Array
    second: Array
    result: Array
    since: Array


@pytree
class Calculator(Comparable):
    """Which token must come next: after "a+b=" or "a-b=" the result, one digit after the other.

    a may have a sign; what comes before it must be the start, "=", or neither digit nor operator,
    so "1+2+3=" is no sum of two. Spaces do not count, and a token of several characters belongs to
    no sum. A negative result starts with the minus token. Build one with `calculator`.

    Attributes:
        kinds: `[A + 1]` int32, the kind of the token of each action.
        values: `[A + 1]` int32, of digits.
        digits: `[10]` int32, the actions that write them.
        minus: `[]` int32, the action that writes a sign.
    """

    kinds: Array
    values: Array
    digits: Array
    minus: Array

    def __call__(self, tokens: Array, prompt: Array) -> Array:
        """`[]` int32 the action that must follow `tokens` `[n]`, -1 past the end; -1 for any."""
        zero = jnp.zeros((), jnp.int32)
        start = Reader(zero + FRESH, zero + 1, zero, zero + 1, zero, zero, zero - 1)

        def read(reader: Reader, token: Array) -> tuple[Reader, None]:
            following = self._read(reader, jnp.maximum(token, 0))
            kept = jax.tree.map(lambda x, y: jnp.where(token < 0, x, y), reader, following)
            return kept, None

        reader, _ = jax.lax.scan(read, start, tokens)
        return self._reply(reader.result, reader.since)

    def _read(self, reader: Reader, token: Array) -> Reader:
        place, sign, first, operator, second, result, since = reader
        kind, value = self.kinds[token], self.values[token]
        following = jnp.asarray(LEADS)[place, kind]
        to_first = (following == FIRST) & (kind == DIGIT)
        to_second = (following == SECOND) & (kind == DIGIT)
        first = jnp.where(to_first, jnp.where(place == FIRST, 10 * first, 0) + value, first)
        second = jnp.where(to_second, jnp.where(place == SECOND, 10 * second, 0) + value, second)
        too_large = (to_first & (first > LARGEST)) | (to_second & (second > LARGEST))
        begins = to_first & (place != FIRST)
        sign = jnp.where(begins, jnp.where(place == SIGN, -1, 1), sign)
        acts = (following == OPERATOR) & (kind != SPACE)
        operator = jnp.where(acts, jnp.where(kind == PLUS, 1, -1), operator)
        done = following == DONE
        return Reader(
            jnp.where(too_large, LOST, following),
            sign,
            first,
            operator,
            second,
            jnp.where(done, sign * first + operator * second, result),
            jnp.where(done, 0, jnp.where(since < 0, since, since + 1)),
        )

    def _reply(self, result: Array, since: Array) -> Array:
        """The action that writes character number `since` of a result; -1 if there is none."""
        powers = jnp.asarray(10 ** np.arange(8), jnp.int32)
        size = jnp.abs(result)
        count = jnp.maximum((size >= powers).sum(dtype=jnp.int32), 1)
        negative = (result < 0).astype(jnp.int32)
        place = count - 1 - (since - negative)
        digit = size // powers[jnp.clip(place, 0, powers.size - 1)] % 10
        action = jnp.where(since < negative, self.minus, self.digits[digit])
        return jnp.where((since >= 0) & (place >= 0), action, -1)


def calculator(tokenizer: TextTokenizer, token_ids: Any) -> Calculator:
    """A `Calculator` for the `token_ids` of a `Text`; its `forced`.

        options = {"stop": ".", "allowed": "0123456789+-=", "max_length": 9}
        free = text(tokenizer, prompts, reward, **options)
        forced = calculator(tokenizer, free.token_ids)
        env = text(tokenizer, prompts, reward, forced=forced, **options)

    Raises:
        ArgumentError: unless each digit and the minus are allowed as tokens of their own.
    """
    strings = [tokenizer.decode([int(token)]) for token in np.asarray(token_ids)[:-1]]
    stripped = [string.strip() for string in strings]
    named = {"+": PLUS, "-": MINUS, "=": EQUALS, "": SPACE}
    digit = [len(s) == 1 and s in "0123456789" for s in stripped]
    kinds = [DIGIT if d else named.get(s, OTHER) for d, s in zip(digit, stripped, strict=True)]
    values = [int(s) if d else 0 for d, s in zip(digit, stripped, strict=True)]
    missing = [character for character in "0123456789-" if character not in strings]
    if missing:
        raise ArgumentError(
            "allowed",
            f"must hold each digit and '-' as a token of its own, {missing[0]!r} is missing",
            subject="what a calculator writes with",
        )
    written = [strings.index(character) for character in "0123456789-"]
    as_array = [jnp.asarray(x, jnp.int32) for x in ([*kinds, OTHER], [*values, 0], written)]
    return Calculator(as_array[0], as_array[1], as_array[2][:10], as_array[2][10])
