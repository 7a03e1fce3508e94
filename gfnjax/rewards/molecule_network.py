"""The network of the sEH proxy: message passing between atoms, then attention over them."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking
from gfnjax.chemistry.atoms import NUM_BONDS, AtomGraph, atom_features
from gfnjax.rewards.packed_graphs import each_packed
from gfnjax.types import Array

WIDTH = 64
NUM_ROUNDS = 12
NUM_READS = 3
SLOPE = 0.01

# Reduced precision, the default of some accelerators, would move log R by the exponent's multiple.
matmul = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


class Linear(NamedTuple):
    """x -> x W + b: `weight` `[in, out]`, `bias` `[out]`."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return matmul(x, self.weight) + self.bias[None]


class MoleculeNetwork(NamedTuple):
    """A graph of atoms -> one number.

        h = leaky(embed(x));   12 times:  m = leaky(mean_j h_j W(bond) + h root + b),  h = GRU(m, h)
        3 times:  q = LSTM([q, r]),  r = sum_i softmax_i(h_i . q) h_i;   value = readout([q, r])

    Attributes:
        embed: 71 -> 64.
        outgoing: 64 -> 4 * 64 + 64 + 3 * 64, what is computed of each atom's h: the message over
            each type of bond, h root + b, and the hidden part of the GRU's gates.
        gates: 64 -> 3 * 64, the input part of the GRU's gates (reset, update, new).
        read: 2 * 64 -> 4 * 64, gates of the LSTM (input, forget, cell, output) from [q, r].
        read_hidden: 64 -> 4 * 64, the same from its hidden state, which is q.
        readout: 128 -> 1.
    """

    embed: Linear
    outgoing: Linear
    gates: Linear
    read: Linear
    read_hidden: Linear
    readout: Linear

    def __call__(self, graph: AtomGraph) -> Array:
        """`[]` of the graph of one molecule; no atoms read as zeros."""
        h = each_packed(node_states, self, graph)
        live = graph.live
        zeros = jnp.zeros((1, WIDTH), h.dtype)
        q, r, cell = zeros, zeros, zeros
        for _ in range(NUM_READS):
            gates = self.read(jnp.concatenate([q, r], axis=1)) + self.read_hidden(q)
            take, forget, new, output = jnp.split(gates, 4, axis=1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(take) * jnp.tanh(new)
            q = jax.nn.sigmoid(output) * jnp.tanh(cell)
            logits = (h * q).sum(axis=1)
            weights = jax.nn.softmax(jnp.where(live, logits, masking.FILL)) * live.astype(h.dtype)
            r = (weights[:, None] * h).sum(axis=0, keepdims=True)
        return self.readout(jnp.concatenate([q, r], axis=1))[0, 0]


def node_states(network: MoleculeNetwork, graph: AtomGraph) -> Array:
    """`[N, 64]` h after the last round; arbitrary where there is no atom."""
    num_atoms = graph.numbers.size
    there = graph.neighbours >= 0
    # Which of all messages: rows are atoms, types of bond within.
    index = jnp.where(there, graph.neighbours * NUM_BONDS + graph.bonds, 0)
    # The mean over no neighbours is 0.
    degree = jnp.maximum(there.sum(axis=1, keepdims=True, dtype=jnp.int32), 1)

    def one(_: Array, h: Array) -> Array:
        outgoing = network.outgoing(h)
        messages, own, hidden = jnp.split(
            outgoing, [NUM_BONDS * WIDTH, (NUM_BONDS + 1) * WIDTH], axis=1
        )
        messages = messages.reshape(num_atoms * NUM_BONDS, WIDTH)
        # One neighbour after the other: on CPUs a third faster than all at once.
        for d in range(index.shape[1]):
            own = own + messages[index[:, d]] * weights[:, d, None]
        gates = network.gates(_leaky(own))
        return _gated(gates, hidden, h)

    h = _leaky(network.embed(atom_features(graph)))
    weights = there.astype(h.dtype) / degree.astype(h.dtype)
    return lax.fori_loop(0, NUM_ROUNDS, one, h)


def _gated(gates: Array, hidden: Array, h: Array) -> Array:
    """The next state of a GRU from both parts of its gates."""
    reset, update, new = jnp.split(gates, 3, axis=1)
    hidden_reset, hidden_update, hidden_new = jnp.split(hidden, 3, axis=1)
    update = jax.nn.sigmoid(update + hidden_update)
    new = jnp.tanh(new + jax.nn.sigmoid(reset + hidden_reset) * hidden_new)
    return (1 - update) * new + update * h


def _leaky(x: Array) -> Array:
    return jnp.where(x > 0, x, SLOPE * x)
