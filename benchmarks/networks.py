"""Networks of gfnx's sizes and form for gfnjax, where the library's own ones differ from them.

Post-norm transformer layers with a feed-forward width of their own, positions as sinusoids: what
gfnx's baselines are published with, so that both libraries compute the same network.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.settings import Attention, Trees
from gfnjax.envs.bits import BitSequence, BitState
from gfnjax.envs.phylogeny import ForestView, Phylogeny
from gfnjax.policies.attention import attend
from gfnjax.policies.base import Policy, from_flax
from gfnjax.policies.causal import CausalPolicy, CausalTransformer
from gfnjax.policies.transformer import Block, Heads
from gfnjax.types import Array, PolicyOutput


class PostNormLayer(nn.Module):
    """x <- x + attention(x); x <- norm(x); x <- norm(x + mlp(x))."""

    sizes: Attention

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """`[T, width]`; row t looks where `mask` `[T]` is True."""
        width, num_heads = x.shape[-1], self.sizes.num_heads
        attended = attend(*jnp.split(nn.Dense(3 * width)(x), 3, axis=-1), mask[None], num_heads)
        x = nn.LayerNorm()(x + nn.Dense(width)(attended))
        hidden = nn.relu(nn.Dense(self.sizes.feed_forward)(x))
        return nn.LayerNorm()(x + nn.Dense(width)(hidden))


def sinusoids(length: int, width: int) -> np.ndarray:
    """`[length, width]` encodings of positions."""
    rates = 10_000.0 ** (-np.arange(0, width, 2) / width)
    angles = np.arange(length)[:, None] * rates
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)


class WordsNetwork(nn.Module):
    """Bits in any order: a start token, then words; one head that all positions share."""

    num_tokens: int
    num_words: int
    sizes: Attention

    @nn.compact
    def __call__(self, tokens: Array) -> PolicyOutput:
        x = nn.Embed(self.num_tokens, self.sizes.width)(tokens)
        x = x + jnp.asarray(sinusoids(tokens.size, self.sizes.width), x.dtype)
        for _ in range(self.sizes.num_layers):
            x = PostNormLayer(self.sizes)(x, jnp.ones(tokens.size, bool))
        logits = nn.Dense(self.num_words)(x[1:]).reshape(-1)
        return PolicyOutput(logits, jnp.zeros(tokens.size - 1, x.dtype), jnp.zeros((), x.dtype))


def _words(env: BitSequence, state: BitState) -> Array:
    """Words, `num_words` for none; before them the start, which is one more."""
    tokens = jnp.where(state.tokens < 0, env.num_words, state.tokens)
    return jnp.concatenate([jnp.full(1, env.num_words + 1, tokens.dtype), tokens])


def words_policy(env: BitSequence, sizes: Attention) -> Policy:
    # gfnx has one token more, which marks an end and never comes up here.
    return from_flax(WordsNetwork(env.num_words + 3, env.num_words, sizes), _words)


class NarrowBlock(Block):
    """`Block` with a feed-forward width of its own."""

    feed_forward: int = 64

    def setup(self) -> None:
        self.norm_attention = nn.LayerNorm()
        self.norm_mlp = nn.LayerNorm()
        self.projections = nn.Dense(3 * self.width)
        self.attended = nn.Dense(self.width)
        self.hidden = nn.Dense(self.feed_forward)
        self.output = nn.Dense(self.width)


class NarrowCausal(CausalTransformer):
    """`CausalTransformer` of such blocks, without a prompt."""

    feed_forward: int = 64

    def setup(self) -> None:
        shape = self.max_steps + 1, self.width
        self.embed = nn.Embed(self.num_actions + 1, self.width)
        self.positions = self.param("positions", nn.initializers.normal(0.1), shape)
        sizes = self.width, self.num_heads, self.feed_forward
        self.blocks = [NarrowBlock(*sizes) for _ in range(self.num_layers)]
        self.heads = Heads(self.num_actions, 1)


def causal_policy(env: Any, sizes: Attention) -> CausalPolicy:
    """The library's causal transformer of the same sizes, for letters that are appended."""
    given = env.num_actions, env.max_steps, sizes.width, sizes.num_heads, sizes.num_layers
    module = NarrowCausal(*given, feed_forward=sizes.feed_forward)

    def start(params: Any, prompt: Array) -> Any:
        return module.apply(params, prompt, method="start")

    def step(params: Any, memory: Any, token: Array, t: Array) -> Any:
        return module.apply(params, memory, token, t, method="extend")

    def init(key: Array, seen: tuple[Array, Array]) -> Any:
        return module.init(key, *seen)

    return CausalPolicy(init, start, step, module.apply, _nothing)


def _nothing(env: Any, source: Any) -> Array:
    return jnp.zeros(0)


class Perceptron(nn.Module):
    """Dense layers with leaky ReLU in between."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for size in self.sizes[:-1]:
            x = nn.leaky_relu(nn.Dense(size)(x))
        return nn.Dense(self.sizes[-1])(x)


class TreesNetwork(nn.Module):
    """Sets at the roots, embedded, attend to each other; a perceptron of each pair's sum."""

    sizes: Trees

    @nn.compact
    def __call__(self, forest: ForestView) -> PolicyOutput:
        sizes, num_slots = self.sizes, forest.size.size
        x = Perceptron(sizes.embedder)(forest.sets)
        # Random and never trained, as published.
        places = jax.random.normal(jax.random.key(0), x.shape, x.dtype)
        x = nn.Dense(sizes.attention.width)(x + 0.02 * places)
        for _ in range(sizes.attention.num_layers):
            x = PostNormLayer(sizes.attention)(x, forest.size > 0)
        first, second = np.triu_indices(num_slots, 1)
        merges = Perceptron((*sizes.heads, 1))(x[first] + x[second])[:, 0]
        flow = Perceptron((*sizes.heads, 1))(x.reshape(-1))[0]
        return PolicyOutput(merges, jnp.zeros(num_slots - 1, x.dtype), flow)


def trees_policy(env: Phylogeny, sizes: Trees) -> Policy:
    return from_flax(TreesNetwork(sizes))
