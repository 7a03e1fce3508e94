"""Llama: RMS norms, rotary positions, grouped heads, gated hidden layers (2302.13971)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax.language.architectures import LlamaConfig
from gfnjax.policies.decoder import NOTHING, Cache, Decoder, LowRank, Projection, attend, base
from gfnjax.types import Array


class RMSNorm(nn.Module):
    """x / sqrt(mean x^2 + epsilon), scaled."""

    config: LlamaConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = base(self, "scale", x.shape[-1:]).astype(x.dtype)
        square = jnp.square(x).mean(axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(square + self.config.epsilon) * scale[None]


class LlamaLayer(nn.Module):
    """x <- x + attention(norm(x)), x <- x + down(silu(gate(norm(x))) up(norm(x)))."""

    config: LlamaConfig
    low_rank: LowRank

    @nn.compact
    def __call__(
        self, x: Array, cache: Cache, at: Array | int, mask: Array, positions: Array
    ) -> tuple[Array, Cache]:
        """`[n, W]` at positions `[n]`; the rest as in `decoder.attend`."""
        config = self.config
        normed = RMSNorm(config, name="attention_norm")(x)
        query, key, value = (
            self._project(name, normed).reshape(len(x), -1, config.head_size) for name in "qkv"
        )
        query, key = (turn(heads, positions, config.rotary_base) for heads in (query, key))
        attended, cache = attend(query, key, value, cache, at, mask)
        x = x + self._project("o", attended)
        normed = RMSNorm(config, name="hidden_norm")(x)
        units = jax.nn.silu(self._project("gate", normed)) * self._project("up", normed)
        return x + self._project("down", units), cache

    def _project(self, name: str, x: Array) -> Array:
        shape, rank = self.config.projection(name), self.low_rank.at(name)
        return Projection(shape, False, rank, self.low_rank.alpha, name=name)(x)


def turn(heads: Array, positions: Array, rotary_base: float) -> Array:
    """Numbers j and j + D / 2 of each head, as a point, turned by position base^(-2 j / D).

    Args:
        heads: `[n, heads, D]`.
        positions: `[n]` int32.
        rotary_base: as in `LlamaConfig`.

    Returns:
        `[n, heads, D]`. See Su et al. (2104.09864).
    """
    half = heads.shape[-1] // 2
    dtype = heads.dtype
    speed = rotary_base ** (-jnp.arange(half, dtype=dtype) / half)
    angle = positions.astype(dtype)[:, None] * speed[None]
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def llama(config: LlamaConfig, low_rank: LowRank = NOTHING) -> Decoder:
    """The network of these sizes."""
    return Decoder(config, LlamaLayer, RMSNorm, low_rank)
