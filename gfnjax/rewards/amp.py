"""The antimicrobial-peptide proxy: a small transformer that tells how active a peptide is."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax import masking
from gfnjax.data import published
from gfnjax.errors import ArgumentError
from gfnjax.shapes import check_shape
from gfnjax.types import Array

RESIDUES = "ARNDCEQGHILKMFPSTWYV"
NUM_RESIDUES = len(RESIDUES)
MAX_LENGTH = 60
PADDING = 22
NUM_HEADS = 8
NUM_LAYERS = 4
WIDTH = 64


class Linear(NamedTuple):
    """x -> W x + b: `weight` `[out, in]`, `bias` `[out]`."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return x @ self.weight.T + self.bias[None]


class LayerNorm(NamedTuple):
    """x -> scale (x - mean) / std + bias over the last axis; `[width]` each."""

    scale: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * self.scale[None] + self.bias[None]


class Layer(NamedTuple):
    """x <- x + attention(x); h <- norm1(x); x <- norm2(h + output(relu(hidden(h))))."""

    query: Linear
    key: Linear
    value: Linear
    attended: Linear
    hidden: Linear
    output: Linear
    norm1: LayerNorm
    norm2: LayerNorm

    def __call__(self, x: Array, valid: Array) -> Array:
        x = x + self.attended(self._attend(x, valid))
        h = self.norm1(x)
        return self.norm2(h + self.output(jax.nn.relu(self.hidden(h))))

    def _attend(self, x: Array, valid: Array) -> Array:
        query, key, value = (
            project(x).reshape(len(x), NUM_HEADS, -1)
            for project in (self.query, self.key, self.value)
        )
        logits = jnp.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
        # A row of padding has nothing to attend to: its weights come out uniform, as in training.
        mask = valid[:, None] & valid[None]
        weights = jax.nn.softmax(jnp.where(mask[None], logits, masking.FILL))
        return jnp.einsum("hqk,khd->qhd", weights, value).reshape(x.shape)


@struct.dataclass
class AMPReward:
    """log R = max(log sigmoid(logit), log floor), with the logit of a transformer encoder.

    A proxy for the peptides of Jain et al. (2203.04115): token embedding plus a table of
    positions, post-norm layers that ignore padding, the mean over all positions (padding
    included), one linear output.

    Attributes:
        tokens: `[29, width]` embedding of the residues 0..19 and of the padding, 22.
        positions: `[60, width]`.
        layers: the encoder.
        readout: `[1, width]`.
        floor: smallest reward.
    """

    tokens: Array
    positions: Array
    layers: tuple[Layer, ...]
    readout: Linear
    floor: float = 1e-6

    def logit(self, tokens: Array) -> Array:
        """`[]` of `tokens` `[60]` int32, residues first and then -1."""
        check_shape("tokens", tokens, self.positions.shape[:1], "[60]")
        valid = tokens >= 0
        x = self.tokens[jnp.where(valid, tokens, PADDING)] + self.positions
        for layer in self.layers:
            x = layer(x, valid)
        return self.readout(x.mean(axis=0, keepdims=True))[0, 0]

    def __call__(self, tokens: Array) -> Array:
        return jnp.maximum(jax.nn.log_sigmoid(self.logit(tokens)), jnp.log(self.floor))


def amp_reward() -> AMPReward:
    """The proxy with its published weights, the data file `amp/proxy_weights.npz`.

    Raises:
        ValueError, FileNotFoundError: if the file is missing, damaged or of another network.
    """
    return from_weights(published.load("amp/proxy_weights.npz"))


def from_weights(weights: Mapping[str, np.ndarray]) -> AMPReward:
    """The proxy from its weights by name.

    Raises:
        ValueError: naming the array that is missing or of the wrong shape.
    """

    def get(name: str, *shape: int) -> Array:
        array = weights.get(name)
        if array is None or array.shape != shape:
            found = "nothing" if array is None else f"shape {array.shape}"
            raise ArgumentError("weights", f"must hold {name} of shape {shape}, got {found}")
        return jnp.asarray(array, jnp.result_type(float))

    def linear(name: str, size: int = WIDTH) -> Linear:
        return Linear(get(f"{name}.weight", size, WIDTH), get(f"{name}.bias", size))

    def norm(name: str) -> LayerNorm:
        return LayerNorm(get(f"{name}.weight", WIDTH), get(f"{name}.bias", WIDTH))

    def layer(name: str) -> Layer:
        attention, feed = f"{name}.attention_block.attention", f"{name}.ff_block"
        return Layer(
            query=linear(f"{attention}.query_proj"),
            key=linear(f"{attention}.key_proj"),
            value=linear(f"{attention}.value_proj"),
            attended=linear(f"{attention}.output_proj"),
            hidden=linear(f"{feed}.linear"),
            output=linear(f"{feed}.output"),
            norm1=norm(f"{feed}.layernorm1"),
            norm2=norm(f"{feed}.layernorm2"),
        )

    embedder = ".encoder.embedder_block"
    return AMPReward(
        get(f"{embedder}.token_embedder.weight", 29, WIDTH),
        get(f"{embedder}.position_embedder.pe", MAX_LENGTH, WIDTH),
        tuple(layer(f".encoder.layers[{i}]") for i in range(NUM_LAYERS)),
        linear(".pooler", 1),
    )
