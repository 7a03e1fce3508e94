"""Bit strings rewarded for being near one of many hidden modes.

Bits `[n]` are 0/1 integers; words `[n / word_size]` int32 hold `word_size` bits each, the first
bit the most significant. Modes and test sets are made on the host, by NumPy.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.envs.drawing import Panel
from gfnjax.errors import ArgumentError
from gfnjax.types import Array

PATTERNS = ("00000000", "11111111", "11110000", "00001111", "00111100")


@struct.dataclass
class HammingReward:
    """log R(x) = -beta min_m Hamming(x, m) / n (Malkin et al., 2201.13259).

    Attributes:
        modes: `[M, L]` int32 words.
        beta: the reward's exponent, R = exp(-distance / n)^beta.
        num_bits: n.
    """

    modes: Array
    beta: float = 3.0
    num_bits: int = struct.field(pytree_node=False, default=120)

    def __call__(self, words: Array) -> Array:
        """log R of `words` `[L]`; finite, if meaningless, where some are -1."""
        distance = self.distances(words).min().astype(jnp.result_type(float))
        return -self.beta * distance / self.num_bits

    def distances(self, words: Array) -> Array:
        """`[M]` int32 Hamming distances from `words` `[L]` to the modes, in bits.

        Raises:
            ValueError: if `words` is not as long as the modes.
        """
        if words.shape != self.modes.shape[1:]:
            raise ArgumentError(
                "words", f"must be of shape {self.modes.shape[1:]}, got {words.shape}"
            )
        return jnp.bitwise_count(words[None] ^ self.modes).sum(axis=1, dtype=jnp.int32)

    def modes_found(self, words: Array, radius: int) -> Array:
        """`[M]` True for modes within `radius` bits of any of `words` `[B, L]`."""
        return (jax.vmap(self.distances)(words) <= radius).any(axis=0)

    def modes_near(self, words: Array) -> Array:
        """`[M]` True for modes within `radius`, a quarter of the bits, of `words` `[L]`."""
        return self.distances(words) <= self.radius

    @property
    def radius(self) -> int:
        """Largest distance at which a mode counts as found: a quarter of the bits."""
        return self.num_bits // 4

    def measure(self, words: Array) -> dict[str, Array]:
        """Modes found by `words` `[B, L]`, and their mean distance to the nearest mode in bits."""
        distance = jax.vmap(self.distances)(words).min(axis=1)
        return {
            "modes_found": self.modes_found(words, self.radius).sum(dtype=jnp.int32),
            "mode_distance": distance.astype(jnp.result_type(float)).mean(),
        }

    def render(self, words: Array, weights: np.ndarray) -> tuple[Panel, ...]:
        """How far from the nearest mode, and which mode is the nearest."""
        distances = np.asarray(_all_distances(self, jnp.asarray(words)))
        nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
        shown = np.bincount(distance, weights, minlength=self.num_bits // 2 + 1)
        modes = np.bincount(nearest, weights, minlength=len(self.modes))
        return (
            Panel(shown, "bits from the nearest mode"),
            Panel(modes, "nearest mode", quantity="probability of the mode"),
        )


@jax.jit
def _all_distances(reward: HammingReward, words: Array) -> Array:
    return jax.lax.map(reward.distances, words, batch_size=4096)


def hamming_reward(modes: np.ndarray, word_size: int = 8, beta: float = 3.0) -> HammingReward:
    """`HammingReward` for `modes` `[M, n]` of bits, on words of `word_size` bits.

    Raises:
        ValueError: if `modes` is no such array or `word_size` does not divide n.
    """
    modes = np.asarray(modes)
    if modes.ndim != 2 or modes.size == 0:
        raise ArgumentError("modes", f"must be [M, n] bits, got shape {modes.shape}")
    return HammingReward(jnp.asarray(to_words(modes, word_size)), beta, modes.shape[1])


def make_modes(num_bits: int = 120, num_modes: int = 60, seed: int = 0) -> np.ndarray:
    """`[num_modes, num_bits]` distinct modes, random 8-bit `PATTERNS` end to end, cut to length.

    Raises:
        ValueError: if a size is not positive, or there are not that many different modes.
    """
    if num_bits < 1 or num_modes < 1:
        raise ArgumentError(
            "num_bits" if num_bits < 1 else "num_modes",
            f"must be at least 1, got {num_bits} and {num_modes}",
            subject="{num_bits} and {num_modes}",
        )
    whole, rest = divmod(num_bits, 8)
    possible = len(PATTERNS) ** whole * len({pattern[:rest] for pattern in PATTERNS})
    if num_modes > possible:
        raise ArgumentError(
            "num_modes", f"must be at most {possible} for {num_bits} bits, got {num_modes}"
        )
    rng = np.random.default_rng(seed)
    # A dict keeps the order of the draws, so that more modes of one seed extend fewer.
    modes: dict[str, None] = {}
    while len(modes) < num_modes:
        picks = rng.choice(PATTERNS, whole + 1)
        modes["".join(picks)[:num_bits]] = None
    return np.array([list(map(int, mode)) for mode in modes], np.int32)


def make_test_set(modes: np.ndarray, seed: int = 0) -> np.ndarray:
    """`[M * n, n]` bits: for each mode and each i in {0..n-1}, the mode with i random bits flipped.

    Args:
        modes: `[M, n]` bits.
        seed: of the NumPy generator.
    """
    num_modes, num_bits = modes.shape
    rng = np.random.default_rng(seed)
    flips = np.arange(num_bits)[:, None] > np.arange(num_bits)[None]
    flips = rng.permuted(np.tile(flips, (num_modes, 1)), axis=1)
    return np.repeat(modes, num_bits, axis=0) ^ flips


def to_words(bits: np.ndarray, word_size: int) -> np.ndarray:
    """Bits `[..., n]` as words `[..., n / word_size]` int32.

    Raises:
        ValueError: if `bits` holds anything but 0 and 1, or `word_size` does not fit.
    """
    bits = np.asarray(bits)
    if not 1 <= word_size <= 30 or bits.shape[-1] % word_size:
        raise ArgumentError(
            "word_size",
            f"must be in 1..30 and divide the number of bits {bits.shape[-1]}, got {word_size}",
        )
    if not np.isin(bits, (0, 1)).all():
        raise ArgumentError("bits", "must be 0 or 1")
    places = 1 << np.arange(word_size)[::-1]
    return (bits.reshape(*bits.shape[:-1], -1, word_size) * places).sum(axis=-1).astype(np.int32)


def to_bits(words: np.ndarray, word_size: int) -> np.ndarray:
    """The inverse of `to_words`: words `[..., L]` as bits `[..., L * word_size]` int32."""
    words = np.asarray(words)
    bits = words[..., None] >> np.arange(word_size)[::-1] & 1
    return bits.reshape(*words.shape[:-1], -1).astype(np.int32)
