"""Language models that read from the left: what all architectures share.

Pre-trained arrays are in the variable collection "base", in whatever precision they were loaded;
what is added to them to be trained is in "params". The hidden state, norms and logits are float32
for bfloat16 arrays, and of the arrays' own type otherwise.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax import masking
from gfnjax.language.architectures import Config, Shape
from gfnjax.tuning import tuning
from gfnjax.types import Array, PyTree

Cache = tuple[Array, Array]  # keys and values of one layer, [slots, K, D] each


@dataclass(frozen=True)
class LowRank:
    """x W + (alpha / rank) (x A) B on chosen projections: LoRA (Hu et al., 2106.09685).

    A is drawn from N(0, 1 / inputs), B starts at zero, so that at first nothing is added.

    Attributes:
        rank: r, columns of A and rows of B; 0 for nothing at all.
        alpha: how much is added, relative to the rank.
        targets: the projections that it is added to, of the architecture's `projections`.
    """

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = ()

    def at(self, name: str) -> int:
        """The rank on one projection."""
        return self.rank if name in self.targets else 0

    def init(self, key: Array, config: Config, dtype: Any) -> PyTree:
        """The first A and B `{layer: {projection: {"a": ..., "b": ...}}}` for all layers."""
        names = [name for name in config.projections if self.at(name)]
        layers = {}
        for i in range(config.num_layers):
            keys = jax.random.split(jax.random.fold_in(key, i), max(len(names), 1))
            layers[f"layer_{i}"] = {
                name: self._pair(own, config.projection(name), dtype)
                for name, own in zip(names, keys, strict=False)
            }
        return layers

    def _pair(self, key: Array, shape: Shape, dtype: Any) -> dict[str, Array]:
        inputs, outputs = shape
        a = jax.random.normal(key, (inputs, self.rank), dtype) * inputs**-0.5
        return {"a": a, "b": jnp.zeros((self.rank, outputs), dtype)}


NOTHING = LowRank()  # is added


class Memory(NamedTuple):
    """What a model keeps of the tokens it has read.

    Attributes:
        layers: of each layer, keys and values `[slots, K, D]`.
        length: `[]` int32, how many slots from the left are in use.
    """

    layers: tuple[Cache, ...]
    length: Array


def base(module: nn.Module, name: str, shape: Shape, collection: str = "base") -> Array:
    """An array that a module is given: a pre-trained one, or with "params" one to be trained."""

    def missing() -> Any:
        raise ValueError(f"{module.name or module} is not given {name} of shape {shape}")

    return module.variable(collection, name, missing).value


def float_of(array: Array) -> Any:
    """What is computed in where weights are like `array`: half precision is for products alone."""
    return array.dtype if array.dtype.itemsize >= 4 else jnp.dtype(jnp.float32)


def product(x: Array, kernel: Array) -> Array:
    """x W in the precision of W, then back in that of x."""
    return (x.astype(kernel.dtype) @ kernel).astype(x.dtype)


class Projection(nn.Module):
    """x W + b + (alpha / r) (x A) B."""

    shape: Shape
    bias: bool = False
    rank: int = 0
    alpha: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = base(self, "kernel", self.shape)
        y = product(x, kernel)
        if self.bias:
            y = y + base(self, "bias", self.shape[1:]).astype(x.dtype)[None]
        if self.rank:
            a = base(self, "a", (self.shape[0], self.rank), "params")
            b = base(self, "b", (self.rank, self.shape[1]), "params")
            inner = product(x, a.astype(kernel.dtype)) * (self.alpha / self.rank)
            y = y + product(inner, b.astype(kernel.dtype))
        return y


class Table(nn.Module):
    """One row for each token, or position."""

    shape: Shape

    def setup(self) -> None:
        self.rows = base(self, "table", self.shape)

    def __call__(self, ids: Array) -> Array:
        return self.rows[ids].astype(float_of(self.rows))


def attend(
    query: Array, key: Array, value: Array, cache: Cache, at: Array | int, mask: Array
) -> tuple[Array, Cache]:
    """New tokens look at those in a cache and at each other, as a mask says.

    Args:
        query: `[n, H, D]`.
        key: `[n, K, D]`; H / K heads of queries share a head of keys.
        value: `[n, K, D]`.
        cache: `[slots, K, D]` each.
        at: the slot that the first of the new tokens gets.
        mask: `[n, slots]`, True where a new token looks.

    Returns:
        `[n, H D]`, and the cache with the new tokens.
    """
    dtype, full = cache[0].dtype, query.dtype
    keys, values = (
        jax.lax.dynamic_update_slice_in_dim(old, new.astype(dtype), at, axis=0)
        for old, new in zip(cache, (key, value), strict=True)
    )
    num_new, num_heads, head_size = query.shape
    query = (query * head_size**-0.5).astype(dtype).reshape(num_new, keys.shape[1], -1, head_size)
    # As fast on CPU as `jax.nn.dot_product_attention`, which is no more exact than float32.
    scores = jnp.einsum("nkgd,skd->kngs", query, keys, preferred_element_type=full)
    weights = jax.nn.softmax(jnp.where(mask[None, :, None], scores, masking.FILL)).astype(dtype)
    attended = jnp.einsum("kngs,skd->nkgd", weights, values, preferred_element_type=full)
    return attended.reshape(num_new, num_heads * head_size), (keys, values)


# Compiled as a function of its own, so that all layers are traced once.
@partial(jax.jit, static_argnums=(0, 1))
def _run(layer: Any, recompute: bool, variables: PyTree, *given: Any) -> tuple[Array, Cache]:
    run = jax.checkpoint(layer.apply) if recompute else layer.apply
    return run(variables, *given)


class Decoder(nn.Module):
    """Tokens to hidden states: an embedding, layers, and a norm.

    Attributes:
        config: sizes.
        layer: the class of a layer: `layer(config, low_rank)(x [n, W], cache, at, mask, positions)
            -> (x, cache)`.
        norm: the class of a norm, `norm(config)(x)`.
        low_rank: what is added to be trained.
    """

    config: Config
    layer: type[nn.Module]
    norm: type[nn.Module]
    low_rank: LowRank = NOTHING

    def setup(self) -> None:
        config = self.config
        self.embedding = Table((config.vocabulary, config.width))
        if config.learned_positions:
            self.positions = Table((config.context, config.width))
        self.final: Any = self.norm(config, name="norm")
        if not config.tied:
            self.head = Table((config.vocabulary, config.width))

    def __call__(
        self, tokens: Array, first: Array, layers: tuple[Cache, ...], at: Array | int, mask: Array
    ) -> tuple[Array, tuple[Cache, ...]]:
        """Hidden states `[n, W]` after each of `tokens` `[n]`, at positions from `first` `[]` on.

        As in `attend`, with a cache for each layer.
        """
        positions = first + jnp.arange(tokens.size, dtype=jnp.int32)
        x = self.embedding(tokens)
        if self.config.learned_positions:
            x = x + self.positions(positions)
        caches = []
        layer: Any = self.layer(self.config, self.low_rank, parent=None)
        recompute = tuning().recompute
        for i, cache in enumerate(layers):
            own = {name: held.get(f"layer_{i}", {}) for name, held in self.variables.items()}
            x, cache = _run(layer, recompute, own, x, cache, at, mask, positions)
            caches.append(cache)
        return self.final(x), tuple(caches)

    def read(self, tokens: Array, length: Array) -> Memory:
        """Keys and values of tokens 0 to length - 1 of `[S]`; what those after them have is unused.

        Memory has S slots.
        """
        start, zero = Memory((), jnp.asarray(length)), jnp.zeros((), jnp.int32)
        if tokens.size == 0:
            return start._replace(layers=self._empty(0))
        mask = _seen(zero, 0, tokens.size, tokens.size, 0)
        return start._replace(layers=self(tokens, zero, self._empty(tokens.size), 0, mask)[1])

    def unroll(self, memory: Memory, tokens: Array) -> Array:
        """Hidden states `[n, W]`: token i of `[n]` sees the memory and tokens 0 to i."""
        started = self.start(memory, tokens.size)
        slots = _slots(memory)
        mask = _seen(memory.length, slots, tokens.size, slots + tokens.size, slots)
        return self(tokens, memory.length, started.layers, slots, mask)[0]

    def start(self, memory: Memory, room: int) -> Memory:
        """The memory with `room` slots more, for `extend`."""
        pad = ((0, room), (0, 0), (0, 0))
        return memory._replace(
            layers=tuple((jnp.pad(k, pad), jnp.pad(v, pad)) for k, v in memory.layers)
        )

    def extend(self, memory: Memory, room: int, token: Array, t: Array) -> tuple[Memory, Array]:
        """Token number `t` of at most `room`: the memory with it, and the hidden state `[W]`."""
        slots = _slots(memory)
        own = slots - room
        mask = _seen(memory.length, own, 1, slots, own + t)
        given = token[None], memory.length + t, memory.layers, own + t, mask
        hidden, layers = self(*given)
        return memory._replace(layers=layers), hidden[0]

    def rows(self) -> Array:
        """`[V, W]`, what a hidden state is multiplied by for the logit of each token."""
        return self.embedding.rows if self.config.tied else self.head.rows

    def _empty(self, slots: int) -> tuple[Cache, ...]:
        config = self.config
        shape = slots, config.num_key_value_heads, config.head_size
        empty = jnp.zeros(shape, self.embedding.rows.dtype)
        return ((empty, empty),) * config.num_layers


def logits(hidden: Array, rows: Array) -> Array:
    """`[..., k]` of hidden states `[..., W]` and the rows `[k, W]` of some tokens."""
    contract = (((hidden.ndim - 1,), (1,)), ((), ()))
    return jax.lax.dot_general(
        hidden.astype(rows.dtype), rows, contract, preferred_element_type=hidden.dtype
    )


def _slots(memory: Memory) -> int:
    return memory.layers[0][0].shape[0]


def _seen(length: Array, own: int, num_tokens: int, slots: int, at: Array | int) -> Array:
    """`[n, slots]`: the new tokens, in slots `at`, at + 1, ..., see the first `length` slots
    and those from `own` to their own."""
    slot = jnp.arange(slots, dtype=jnp.int32)[None]
    last = at + jnp.arange(num_tokens, dtype=jnp.int32)[:, None]
    return (slot < length) & (slot < own) | (slot >= own) & (slot <= last)
