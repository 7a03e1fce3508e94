"""The sEH proxy: a graph network that predicts how strongly a molecule binds to a protein."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.chemistry import symmetry
from gfnjax.chemistry.atom_tables import AtomTables, atom_tables
from gfnjax.chemistry.atoms import NUM_BONDS, NUM_FEATURES, atom_graph
from gfnjax.chemistry.fragments import Fragments, fragments
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary, published_vocabulary
from gfnjax.data import published
from gfnjax.errors import ArgumentError, require
from gfnjax.rewards.molecule_network import SLOPE, WIDTH, Linear, MoleculeNetwork
from gfnjax.types import Array

WEIGHTS = "seh/proxy_weights.npz"
NUM_EDGE_UNITS = 128
Root = Literal["transposed", "trained"]


@struct.dataclass
class SEHProxy:
    """The predicted affinity of one molecule of fragments; the higher the better, 8 is excellent.

    The network of Bengio et al. (2106.04399), see `MoleculeNetwork`, on the graph of atoms.

    Attributes:
        fragments: the vocabulary, as arrays.
        tables: its atoms.
        network: the weights.
        canonical: whether to score the canonical state of the molecule instead of the one given.
    """

    fragments: Fragments
    tables: AtomTables
    network: MoleculeNetwork
    canonical: bool = struct.field(pytree_node=False, default=False)

    def __call__(self, state: MoleculeState) -> Array:
        """`[]` of one molecule, finite of the empty one too; not a logarithm."""
        if self.canonical:
            state = symmetry.canonical(state, self.fragments)
        return self.network(atom_graph(state, self.fragments, self.tables))


@struct.dataclass
class SEHReward:
    """log R = exponent log(max(floor, proxy) / scale).

    Attributes:
        proxy: the value of a state, `[]`.
        exponent: inverse temperature.
        scale: a very good value.
        floor: smallest value.
    """

    proxy: SEHProxy
    exponent: float | Array = 1.0
    scale: float | Array = 8.0
    floor: float | Array = 0.1

    def __call__(self, state: MoleculeState) -> Array:
        return self.exponent * jnp.log(jnp.maximum(self.proxy(state), self.floor) / self.scale)

    def measure(self, states: MoleculeState) -> dict[str, Array]:
        """The mean value of the proxy, of all, of the ten best and of the best."""
        values = jax.vmap(self.proxy)(states)
        best = jax.lax.top_k(values, min(10, len(values)))[0]
        return {"proxy": values.mean(), "top_10_proxy": best.mean(), "best_proxy": best[0]}


def seh_proxy(
    vocabulary: Vocabulary | None = None, root: Root = "transposed", canonical: bool = False
) -> SEHProxy:
    """The proxy with its published weights, the data file `seh/proxy_weights.npz`.

    The network sees which atoms are stems, and they depend on the state: of the stored molecules,
    three in four have another value as another state (by .08 in the mean, .8 at most).

    Args:
        vocabulary: what molecules are made of; the published one if there is none.
        root: how an atom's own state enters its message. "transposed" is h root^T, by which most
            later results were scored, and the stored scores of `seh/golden_scores.npz`;
            "trained" is h root, of the layer that the weights were trained in.
        canonical: whether all states of a molecule have one value, that of the canonical state,
            as `Molecules` with symmetry "reward" needs it; others had this off.

    Raises:
        ValueError, FileNotFoundError: if a file is missing, damaged or of another network.
        ModuleNotFoundError: without RDKit, for another vocabulary.
    """
    if vocabulary is None:
        vocabulary = published_vocabulary()
    return from_weights(published.load(WEIGHTS), vocabulary, root, canonical)


def from_weights(
    weights: Mapping[str, np.ndarray],
    vocabulary: Vocabulary,
    root: Root = "transposed",
    canonical: bool = False,
) -> SEHProxy:
    """The proxy from its weights by name, `[out, in]` as PyTorch has them; see `seh_proxy`.

    Raises:
        ValueError: naming the array that is missing or of the wrong shape.
        ModuleNotFoundError: without RDKit, if the vocabulary needs it.
    """
    names = " or ".join(repr(name) for name in get_args(Root))
    require(root in get_args(Root), "root", f"must be {names}", repr(root))

    def get(name: str, *shape: int) -> Any:
        array = weights.get(name)
        if array is None or array.shape != shape:
            found = "nothing" if array is None else f"shape {array.shape}"
            raise ArgumentError("weights", f"must hold {name} of shape {shape}, got {found}")
        return np.asarray(array, np.float64)

    def linear(name: str, num_outputs: int, num_inputs: int, part: str = "") -> Linear:
        weight = get(f"{name}.weight{part}", num_outputs, num_inputs)
        return Linear(weight.T, get(f"{name}.bias{part}", num_outputs))

    own = get("conv.root", WIDTH, WIDTH)
    hidden = linear("gru", 3 * WIDTH, WIDTH, "_hh")
    bonds = _bond_matrices(
        linear("conv.edge_mlp.0", NUM_EDGE_UNITS, NUM_BONDS),
        linear("conv.edge_mlp.2", WIDTH * WIDTH, NUM_EDGE_UNITS),
    )
    outgoing: Any = (
        np.concatenate([*bonds, own.T if root == "transposed" else own, hidden.weight], axis=1),
        np.concatenate([np.zeros(NUM_BONDS * WIDTH), get("conv.bias", WIDTH), hidden.bias]),
    )
    network = MoleculeNetwork(
        embed=linear("lin0", WIDTH, NUM_FEATURES),
        outgoing=Linear(*outgoing),
        gates=linear("gru", 3 * WIDTH, WIDTH, "_ih"),
        read=linear("set2set.lstm", 4 * WIDTH, 2 * WIDTH, "_ih"),
        read_hidden=linear("set2set.lstm", 4 * WIDTH, WIDTH, "_hh"),
        readout=linear("lin3", 1, 2 * WIDTH),
    )
    network = jax.tree.map(lambda x: x.astype(jnp.result_type(float)), network)
    proxy = SEHProxy(fragments(vocabulary), atom_tables(vocabulary), network, canonical)
    return jax.tree.map(jnp.asarray, proxy)


def _bond_matrices(first: Linear, second: Linear) -> np.ndarray:
    """`[4, 64, 64]`, how a message is made over a bond of each type: `[in, out]`."""
    units = first.weight + first.bias[None]  # of one-hot types
    units = np.where(units > 0, units, SLOPE * units)
    return (units @ second.weight + second.bias[None]).reshape(-1, WIDTH, WIDTH)
