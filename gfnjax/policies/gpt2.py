"""GPT-2: layer norms, learned positions, biases everywhere, GELU (Radford et al., 2019)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax.language.architectures import GPT2Config
from gfnjax.policies.decoder import NOTHING, Cache, Decoder, LowRank, Projection, attend, base
from gfnjax.types import Array


class LayerNorm(nn.Module):
    """(x - mean x) / sqrt(var x + epsilon), scaled and shifted."""

    config: GPT2Config

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale, bias = (base(self, name, x.shape[-1:]).astype(x.dtype) for name in ("scale", "bias"))
        x = x - x.mean(axis=-1, keepdims=True)
        square = jnp.square(x).mean(axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(square + self.config.epsilon) * scale[None] + bias[None]


class GPT2Layer(nn.Module):
    """x <- x + attention(norm(x)), x <- x + down(gelu(up(norm(x))))."""

    config: GPT2Config
    low_rank: LowRank

    @nn.compact
    def __call__(
        self, x: Array, cache: Cache, at: Array | int, mask: Array, positions: Array
    ) -> tuple[Array, Cache]:
        """`[n, W]`; positions have been added to it. The rest as in `decoder.attend`."""
        config = self.config
        normed = LayerNorm(config, name="attention_norm")(x)
        query, key, value = (
            self._project(name, normed).reshape(len(x), -1, config.head_size) for name in "qkv"
        )
        attended, cache = attend(query, key, value, cache, at, mask)
        x = x + self._project("o", attended)
        units = self._project("up", LayerNorm(config, name="hidden_norm")(x))
        return x + self._project("down", nn.gelu(units, approximate=True)), cache

    def _project(self, name: str, x: Array) -> Array:
        shape, rank = self.config.projection(name), self.low_rank.at(name)
        return Projection(shape, True, rank, self.low_rank.alpha, name=name)(x)


def gpt2(config: GPT2Config, low_rank: LowRank = NOTHING) -> Decoder:
    """The network of these sizes."""
    return Decoder(config, GPT2Layer, LayerNorm, low_rank)
