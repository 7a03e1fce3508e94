"""Transformer encoder: attention among the parts of a state, in whatever order they were placed."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax import masking, registry
from gfnjax.arguments import whole
from gfnjax.envs.base import SparselyObserved, State
from gfnjax.errors import ArgumentError
from gfnjax.policies.attention import attend
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.types import Array, PolicyOutput

Cache = tuple[Array, Array]


class Block(nn.Module):
    """x <- x + attention(norm(x)), x <- x + mlp(norm(x)): a pre-norm transformer layer."""

    width: int
    num_heads: int

    def setup(self) -> None:
        dtypes = {"dtype": jnp.result_type(float), "param_dtype": jnp.result_type(float)}
        self.norm_attention = nn.LayerNorm(**dtypes)
        self.norm_mlp = nn.LayerNorm(**dtypes)
        self.projections = nn.Dense(3 * self.width, **dtypes)
        self.attended = nn.Dense(self.width, **dtypes)
        self.hidden = nn.Dense(4 * self.width, **dtypes)
        self.output = nn.Dense(self.width, **dtypes)

    def __call__(self, x: Array, mask: Array) -> Array:
        """All positions `[T, width]` at once; `mask` `[T, T]`: row t may look where it is True."""
        query, key, value = self._project(x)
        return self._finish(x, attend(query, key, value, mask, self.num_heads))

    def extend(self, x: Array, cache: Cache, t: Array) -> tuple[Array, Cache]:
        """Position t alone `[width]`; keys and values `[T, width]` of the earlier ones cached."""
        query, key, value = self._project(x)
        query = query * (self.width // self.num_heads) ** -0.5
        write = jax.lax.dynamic_update_index_in_dim
        cache = write(cache[0], key, t, 0), write(cache[1], value, t, 0)
        query, keys, values = map(self._heads, (query, *cache))
        # A product and a sum: for one query this is faster on CPU than a batched matrix product.
        logits = (query[None] * keys).sum(axis=-1)
        seen = jnp.arange(len(keys), dtype=jnp.int32) <= t
        weights = jax.nn.softmax(jnp.where(seen[:, None], logits, masking.FILL), axis=0)
        return self._finish(x, (weights[..., None] * values).sum(axis=0).reshape(-1)), cache

    def _project(self, x: Array) -> tuple[Array, Array, Array]:
        query, key, value = jnp.split(self.projections(self.norm_attention(x)), 3, axis=-1)
        return query, key, value

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.num_heads, -1)

    def _finish(self, x: Array, attended: Array) -> Array:
        x = x + self.attended(attended)
        return x + self.output(nn.gelu(self.hidden(self.norm_mlp(x))))


class Heads(nn.Module):
    """Normalise, then forward logits, backward logits and log flow from `[..., width]`."""

    num_actions: int
    num_backward_actions: int

    @nn.compact
    def __call__(self, x: Array) -> PolicyOutput:
        dtypes = {"dtype": jnp.result_type(float), "param_dtype": jnp.result_type(float)}
        sizes = self.num_actions, self.num_backward_actions
        heads = nn.Dense(sum(sizes) + 1, **dtypes)(nn.LayerNorm(**dtypes)(x))
        forward, backward, flow = jnp.split(heads, (sizes[0], sum(sizes)), axis=-1)
        return PolicyOutput(forward, backward, flow[..., 0])


class Encoder(nn.Module):
    """A transformer on tokens `[k]`, each with an embedding of its own; their mean is read out."""

    num_tokens: int
    num_actions: int
    num_backward_actions: int
    width: int
    num_heads: int
    num_layers: int

    @nn.compact
    def __call__(self, tokens: Array) -> PolicyOutput:
        dtype = jnp.result_type(float)
        x = nn.Embed(self.num_tokens, self.width, dtype=dtype, param_dtype=dtype)(tokens)
        everything = jnp.ones((tokens.size, tokens.size), bool)
        for _ in range(self.num_layers):
            x = Block(self.width, self.num_heads)(x, everything)
        return Heads(self.num_actions, self.num_backward_actions)(x.mean(axis=0))


def _active_features(env: SparselyObserved, state: State) -> Array:
    return env.active_features(state)


def transformer_policy(
    env: SparselyObserved, width: int = 64, num_heads: int = 8, num_layers: int = 3
) -> Policy:
    """A transformer encoder over the active features of a state: letters in their positions.

    The embedding of a feature stands for letter and position together, so no order of placement
    is assumed.

    Args:
        env: a `SparselyObserved` environment, such as a sequence.
        width: of the embeddings, a multiple of `num_heads`.
        num_heads: of the attention.
        num_layers: at least 1.

    Raises:
        TypeError: if `env` is not `SparselyObserved`.
        ValueError: if a size is out of range.
    """
    if not isinstance(env, SparselyObserved):
        got = type(env).__name__
        problem = f"needs a SparselyObserved environment, got {got}"
        raise ArgumentError("env", problem, subject="transformer_policy")
    check_sizes(width, num_heads, num_layers)
    sizes = env.num_features, env.num_actions, env.num_backward_actions
    made_for = sizes_of(env, "num_actions", "num_backward_actions", "num_features")
    return from_flax(Encoder(*sizes, width, num_heads, num_layers), _active_features, made_for)


def check_sizes(width: int, num_heads: int, num_layers: int) -> None:
    """Raise a `ValueError` naming the size of a transformer that is impossible."""
    if num_heads < 1 or num_layers < 1:
        raise ArgumentError(
            "num_heads" if num_heads < 1 else "num_layers",
            f"must be at least 1, got {num_heads} and {num_layers}",
            subject="{num_heads} and {num_layers}",
        )
    if width < 1 or width % num_heads:
        raise ArgumentError(
            "width", f"must be a positive multiple of num_heads = {num_heads}, got {width}"
        )


@dataclass(frozen=True)
class AttentionSizes:
    """Sizes that all networks with attention have."""

    width: int = 64
    """of the embeddings"""
    num_heads: int = 8
    """of the attention"""
    num_layers: int = 3
    """of attention"""

    def __post_init__(self) -> None:
        for name in ("width", "num_heads", "num_layers"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))


@registry.network("transformer")
@dataclass(frozen=True)
class TransformerConfig(AttentionSizes):
    """attention among the parts of a sequence, in any order"""

    def make(self, env: SparselyObserved) -> Policy:
        return transformer_policy(env, self.width, self.num_heads, self.num_layers)
