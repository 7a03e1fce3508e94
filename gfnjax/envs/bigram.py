"""A language model of pairs of letters, small enough for everything about it to be known.

The model writes letters 0..V-1 or stops, V: with row a the letter before, row V the start,

    logit(a -> b) = 1.5 sin(3a + 5b + ab),    logit(a -> stop) = -1 + cos(2a),

and log-softmax makes rows of log-probabilities of them. Texts have 1 to L letters. Sampling letters
at a temperature is not sampling texts at that temperature: what `tempered_model` writes is further
from p(z)^{1/T} than what the model itself does, which is why one trains a sampler (Hu et al.,
2310.04363).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import whole
from gfnjax.envs.text import ListedText
from gfnjax.errors import require
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree
from gfnjax.rewards.text import Texts
from gfnjax.rewards.tokens import last_tokens, prompt_table
from gfnjax.types import Array

# The letters before and after a text that is filled in.
PREFIX, SUFFIX = 0, 3


@pytree
class BigramReward(Comparable):
    """log R(z_1..z_n) = sum_i log p(z_i | z_{i-1}) + log p(end | z_n), in one pass.

    z_0 is the last token of the prompt.

    Attributes:
        log_probs: `[V + 1, V + 1]` nats; row V is the start, column V the stop.
        end: `[]` int32, what comes after the text: V, the stop, or a letter.
    """

    log_probs: Array
    end: Array

    def path(self, texts: Texts) -> Array:
        start = last_tokens(texts.prompts, texts.prompt)
        before = jnp.concatenate([start[:, None], texts.ids], axis=1)
        steps = self.log_probs[before[:, :-1], texts.ids]
        written = jnp.pad(jnp.cumsum(steps, axis=1), ((0, 0), (1, 0)))
        return written + self.log_probs[before, self.end]


def bigram(num_letters: int = 5, max_length: int = 6, *, infill: bool = False) -> ListedText:
    """Texts of 1 to `max_length` of V letters, R the probability that the model writes them.

    R(z) = p(z stop), or p(z 3 given 0) with `infill`: what fits between letters 0 and 3. For
    R^{1/T} use `tempered(bigram(), 1 / T)`; `solve` knows log Z and the best policy.

    Raises:
        ArgumentError: for a size below 1, or fewer than 4 letters with `infill`.
    """
    log_probs = bigram_model(num_letters)
    _check_letters(num_letters, infill)
    end = jnp.asarray(SUFFIX if infill else num_letters, jnp.int32)
    reward = BigramReward(jnp.asarray(log_probs, jnp.result_type(float)), end)
    token_ids = jnp.arange(num_letters + 1, dtype=jnp.int32)
    prompt = [num_letters, PREFIX] if infill else [num_letters]
    return ListedText(max_length, token_ids, reward, prompt_table([prompt]))


def bigram_model(num_letters: int) -> np.ndarray:
    """`[V + 1, V + 1]` float64 log p(b | a) in nats; row V is the start, column V the stop.

    Raises:
        ArgumentError: for a size below 1.
    """
    size = whole("num_letters", num_letters, 1)
    a, b = np.ogrid[: size + 1, :size]
    letters = 1.5 * np.sin(3 * a + 5 * b + a * b)
    logits = np.concatenate([letters, -1 + np.cos(2 * a)], axis=1)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


class Solution(NamedTuple):
    """What is known of the texts of 1 to L letters with R(z) = p(z end)^{1/T}.

    Attributes:
        log_z: nats.
        log_policy: `[L + 1, V + 1, V + 1]` float64 nats: after so many letters, of which the last
            is a (V: there is none), the log-probability of letter b or of the stop, V. The
            best policy: it writes R / Z.
    """

    log_z: float
    log_policy: np.ndarray


def solve(
    num_letters: int = 5, max_length: int = 6, temperature: float = 1.0, *, infill: bool = False
) -> Solution:
    """The model, twisted: V_i(a) = log sum of R over all ways to go on after i letters, less p(z).

    V_i(a) = log [p(end | a)^{1/T} + sum_b p(b | a)^{1/T} exp V_{i+1}(b)], the first term from one
    letter on, the second up to L - 1, and each is the policy's share. log Z = V_0(start).

    Raises:
        ArgumentError: for a size below 1 or a temperature that is not positive.
    """
    _check_temperature(temperature)
    size, longest = whole("num_letters", num_letters, 1), whole("max_length", max_length, 1)
    log_probs = bigram_model(size) / temperature
    _check_letters(size, infill)
    if infill:
        log_probs[size] = log_probs[PREFIX]
    end = log_probs[:, SUFFIX if infill else size]
    log_policy = np.empty((longest + 1, size + 1, size + 1))
    value = np.full(size + 1, -np.inf)
    for length in range(longest, -1, -1):
        stop = end if length else np.full(size + 1, -np.inf)
        shares = np.concatenate([log_probs[:, :size] + value[:size], stop[:, None]], axis=1)
        value = np.logaddexp.reduce(shares, axis=1)
        log_policy[length] = shares - value[:, None]
    return Solution(float(value[size]), log_policy)


def tempered_model(
    num_letters: int = 5, max_length: int = 6, temperature: float = 1.0
) -> np.ndarray:
    """`log_policy` as in `Solution` of the model that writes each token at a temperature.

    It does not stop before the first letter and stops after letter L.

    Raises:
        ArgumentError: for a size below 1 or a temperature that is not positive.
    """
    _check_temperature(temperature)
    longest = whole("max_length", max_length, 1)
    logits = np.repeat(bigram_model(num_letters)[None] / temperature, longest + 1, axis=0)
    logits[0, :, -1] = -np.inf
    logits[-1, :, :-1] = -np.inf
    return logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)


def text_log_probs(log_policy: np.ndarray) -> list[np.ndarray]:
    """For n = 1..L, `[V^n]` the log-probabilities of all texts of n letters, in base V.

    Args:
        log_policy: as in `Solution`.
    """
    size = log_policy.shape[1] - 1
    growing, last, found = np.zeros(1), np.array([size]), []
    for length in range(1, len(log_policy)):
        growing = (growing[:, None] + log_policy[length - 1][last, :size]).reshape(-1)
        last = np.arange(growing.size) % size
        found.append(growing + log_policy[length][last, size])
    return found


def total_variation(log_policy: np.ndarray, other: np.ndarray) -> float:
    """Half the sum over all texts of |p - q|, of two tables as in `Solution`."""
    pairs = zip(text_log_probs(log_policy), text_log_probs(other), strict=True)
    return float(sum(np.abs(np.exp(p) - np.exp(q)).sum() for p, q in pairs) / 2)


def _check_letters(size: int, infill: bool) -> None:
    enough = not infill or size > SUFFIX
    require(enough, "num_letters", f"must be at least {SUFFIX + 1} to infill", size)


def _check_temperature(temperature: float) -> None:
    require(temperature > 0, "temperature", "must be positive", temperature)
