"""Networks for gfnx in Equinox, of the same form and size as gfnjax's in the same task."""

from typing import Any, NamedTuple

import equinox as eqx
import gfnx
import jax
import jax.numpy as jnp

from benchmarks.settings import Attention, Trees


class Outputs(NamedTuple):
    """Logits and a flow, with a batch axis or two in front."""

    forward_logits: jax.Array
    backward_logits: jax.Array
    log_flow: jax.Array


class MLP(eqx.Module):
    """All three outputs from one trunk, as in gfnjax."""

    layers: eqx.nn.MLP
    sizes: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        num_inputs: int,
        sizes: tuple[int, int],
        hidden_sizes: tuple[int, ...],
        key: jax.Array,
    ) -> None:
        self.sizes = sizes
        given = num_inputs, sum(sizes) + 1, hidden_sizes[0], len(hidden_sizes), jax.nn.relu
        self.layers = eqx.nn.MLP(*given, key=key)

    def __call__(self, x: jax.Array) -> Outputs:
        y = self.layers(x)
        forward, backward, flow = jnp.split(y, (self.sizes[0], sum(self.sizes)))
        return Outputs(forward, backward, flow[0])


def encoder(num_tokens: int, length: int, pad: int, sizes: Attention, key: jax.Array) -> Any:
    """gfnx's own transformer. Its table of positions is trained, as in its baselines."""
    return gfnx.networks.Encoder(
        vocab_size=num_tokens,
        max_length=length,
        embedding_size=sizes.width,
        hidden_size=sizes.width,
        intermediate_size=sizes.feed_forward,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        dropout_rate=0.0,
        pad_id=pad,
        key=key,
    )


def encode(network: Any, tokens: jax.Array) -> jax.Array:
    return network(tokens, jnp.arange(len(tokens)))["layers_out"][-1]


class Words(eqx.Module):
    """A head that all positions share."""

    encoder: Any
    head: eqx.nn.Linear

    def __init__(
        self, num_tokens: int, num_words: int, length: int, sizes: Attention, key: jax.Array
    ) -> None:
        first, second = jax.random.split(key)
        self.encoder = encoder(num_tokens, length + 1, -1, sizes, first)
        self.head = eqx.nn.Linear(sizes.width, num_words, key=second)

    def __call__(self, tokens: jax.Array) -> Outputs:
        logits = jax.vmap(self.head)(encode(self.encoder, tokens)[1:]).reshape(-1)
        return Outputs(logits, jnp.zeros(len(tokens) - 1), jnp.zeros(()))


class Letters(eqx.Module):
    """The mean over positions, then one head."""

    encoder: Any
    head: eqx.nn.Linear

    def __init__(
        self,
        num_tokens: int,
        num_actions: int,
        length: int,
        pad: int,
        sizes: Attention,
        key: jax.Array,
    ) -> None:
        first, second = jax.random.split(key)
        self.encoder = encoder(num_tokens, length, pad, sizes, first)
        self.head = eqx.nn.Linear(sizes.width, num_actions, key=second)

    def __call__(self, tokens: jax.Array) -> Outputs:
        logits = self.head(encode(self.encoder, tokens).mean(axis=0))
        return Outputs(logits, jnp.zeros(1), jnp.zeros(()))


class Graph(eqx.Module):
    """The arithmetic of gfnjax's graph network: messages along edges, heads for pairs of nodes."""

    names: jax.Array
    linear: dict[str, eqx.nn.Linear]
    norm: eqx.nn.LayerNorm

    def __init__(self, num_nodes: int, width: int, key: jax.Array) -> None:
        name_key, *keys = jax.random.split(key, 11)
        inputs = {"update": 3 * width, "edge": 1}
        outputs = {"edge_heads": 2, "heads": 3}
        names = "sender receiver update source target overall edge edge_heads summary heads"
        self.names = jax.random.normal(name_key, (num_nodes, width))
        self.linear = {
            name: eqx.nn.Linear(inputs.get(name, width), outputs.get(name, width), key=k)
            for name, k in zip(names.split(), keys, strict=True)
        }
        self.norm = eqx.nn.LayerNorm(width)

    def __call__(self, adjacency: jax.Array) -> Outputs:
        adjacency = adjacency.astype(jnp.float32)
        nodes = self._nodes(adjacency)
        overall = nodes.mean(axis=0)
        pairs = self._each("source", nodes)[:, None] + self._each("target", nodes)[None]
        pairs = pairs + self.linear["overall"](overall)
        pairs = pairs + adjacency[..., None] * self.linear["edge"].weight[:, 0]
        pairs = jax.nn.relu(pairs + self.linear["edge"].bias).reshape(-1, nodes.shape[1])
        edges = self._each("edge_heads", pairs)
        hidden = jax.nn.relu(self.linear["summary"](overall))
        stop, _, flow = self.linear["heads"](hidden)
        return Outputs(jnp.append(edges[:, 0], stop), jnp.zeros(len(edges) + 1), flow)

    def _nodes(self, adjacency: jax.Array) -> jax.Array:
        sender, receiver = self._each("sender", self.names), self._each("receiver", self.names)
        messages = jax.nn.relu(sender[:, None] + receiver[None]) * adjacency[..., None]
        heard = [self.names, messages.sum(axis=0), messages.sum(axis=1)]
        hidden = jax.nn.relu(self._each("update", jnp.concatenate(heard, axis=-1)))
        return jax.vmap(self.norm)(self.names + hidden)

    def _each(self, name: str, rows: jax.Array) -> jax.Array:
        return jax.vmap(self.linear[name])(rows)


class Perceptron(eqx.Module):
    """Dense layers of any widths with leaky ReLU in between."""

    layers: list[eqx.nn.Linear]

    def __init__(self, num_inputs: int, sizes: tuple[int, ...], key: jax.Array) -> None:
        keys = jax.random.split(key, len(sizes))
        inputs = num_inputs, *sizes[:-1]
        self.layers = [
            eqx.nn.Linear(a, b, key=k) for a, b, k in zip(inputs, sizes, keys, strict=True)
        ]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers[:-1]:
            x = jax.nn.leaky_relu(layer(x))
        return self.layers[-1](x)


class Forest(eqx.Module):
    """Sequences, embedded, attend to each other; a perceptron of each pair's sum."""

    embedder: Perceptron
    narrow: eqx.nn.Linear
    layers: list[Any]
    merges: Perceptron
    flow: Perceptron
    num_nodes: int = eqx.field(static=True)

    def __init__(self, num_nodes: int, num_inputs: int, sizes: Trees, key: jax.Array) -> None:
        keys = jax.random.split(key, 4 + sizes.attention.num_layers)
        width = sizes.attention.width
        self.num_nodes = num_nodes
        self.embedder = Perceptron(num_inputs, sizes.embedder, keys[0])
        self.narrow = eqx.nn.Linear(sizes.embedder[-1], width, key=keys[1])
        self.merges = Perceptron(width, (*sizes.heads, 1), keys[2])
        self.flow = Perceptron(num_nodes * width, (*sizes.heads, 1), keys[3])
        self.layers = [
            gfnx.networks.TransformerLayer(
                width, sizes.attention.feed_forward, sizes.attention.num_heads, 0.0, 0.0, key=k
            )
            for k in keys[4:]
        ]

    def __call__(self, sequences: jax.Array) -> Outputs:
        rows = sequences.reshape(self.num_nodes, -1).astype(jnp.float32)
        x = jax.vmap(self.embedder)(rows)
        places = jax.random.normal(jax.random.key(0), x.shape, x.dtype)
        x = jax.vmap(self.narrow)(x + 0.02 * places)
        mask = rows.any(axis=-1)
        for layer in self.layers:
            x = layer(x, mask)
        first, second = jnp.triu_indices(self.num_nodes, 1)
        merges = jax.vmap(self.merges)(x[first] + x[second])[:, 0]
        return Outputs(merges, jnp.zeros(self.num_nodes - 1), self.flow(x.reshape(-1))[0])
