"""The sEH proxy against stored scores, and against a NumPy version on graphs of RDKit."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_molecules import random_molecule

from gfnjax.chemistry import atom_tables, building
from gfnjax.chemistry.states import empty_molecule
from gfnjax.chemistry.vocabulary import published_vocabulary, vocabulary
from gfnjax.data import published
from gfnjax.envs import molecules
from gfnjax.rewards import packed_graphs, seh

needs_data = pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ
    or not all(map(published.available, (seh.WEIGHTS, "seh/golden_scores.npz"))),
    reason="set GFNJAX_DATA to a directory that holds the files of seh/",
)
SHAPES = {
    "lin0.weight": (64, 71),
    "lin0.bias": (64,),
    "conv.root": (64, 64),
    "conv.bias": (64,),
    "conv.edge_mlp.0.weight": (128, 4),
    "conv.edge_mlp.0.bias": (128,),
    "conv.edge_mlp.2.weight": (4096, 128),
    "conv.edge_mlp.2.bias": (4096,),
    "gru.weight_ih": (192, 64),
    "gru.weight_hh": (192, 64),
    "gru.bias_ih": (192,),
    "gru.bias_hh": (192,),
    "set2set.lstm.weight_ih": (256, 128),
    "set2set.lstm.weight_hh": (256, 64),
    "set2set.lstm.bias_ih": (256,),
    "set2set.lstm.bias_hh": (256,),
    "lin3.weight": (1, 128),
    "lin3.bias": (1,),
}


def random_weights(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) / shape[-1] ** 0.5 for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def words():
    """Carbon, water, ammonia twice, acetylene, pyrrole, formamide."""
    pytest.importorskip("rdkit")
    smiles = ["C", "O", "N", "C#C", "c1cc[nH]c1", "NC=O"]
    return vocabulary(smiles, [(0,), (0, 0), (0, 0, 0), (0, 1), (3, 0), (1, 0)])


def stack(states):
    return jax.tree.map(lambda *x: jnp.stack(x), *states)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def rdkit_features(molecule, marked):
    x = np.zeros((molecule.GetNumAtoms(), 71))
    for i, atom in enumerate(molecule.GetAtoms()):
        x[i, "HCNOF".find(atom.GetSymbol()) if atom.GetSymbol() in "HCNOF" else 5] = 1
        x[i, 9] = atom.GetIsAromatic()
        x[i, 10 + ("SP", "SP2", "SP3").index(str(atom.GetHybridization()))] = 1
        x[i, 13] = atom.GetTotalNumHs(includeNeighbors=True)
        x[i, 13 + atom.GetAtomicNum()] = 1
        x[i, 70] = i in marked
    return x


def marked_atoms(state, words, molecule_size):
    """Atoms of unused positions, by hand."""
    blocks = [int(entry) for entry in state.blocks if entry >= 0]
    used = {(int(p), int(q)) for p, q in zip(state.parent, state.position, strict=True) if p >= 0}
    found, first = set(), 0
    for slot, entry in enumerate(blocks):
        for position, atom in enumerate(words.attachments[entry]):
            if (slot, position) not in used and (slot == 0 or position > 0):
                found.add(first + atom)
        first += len(words.permutations[words.kinds[entry]][0])
    assert first == molecule_size
    return found or {0}


def numpy_proxy(weights, state, words, root):
    """In loops over atoms, as the specification has it; float64."""
    w = {name: np.asarray(array, np.float64) for name, array in weights.items()}
    molecule = building.to_rdkit(state, words)
    num_atoms = molecule.GetNumAtoms()
    x = rdkit_features(molecule, marked_atoms(state, words, num_atoms))
    h = leaky(x @ w["lin0.weight"].T + w["lin0.bias"])
    edge = leaky(np.eye(4) @ w["conv.edge_mlp.0.weight"].T + w["conv.edge_mlp.0.bias"])
    edge = (edge @ w["conv.edge_mlp.2.weight"].T + w["conv.edge_mlp.2.bias"]).reshape(4, 64, 64)
    root = w["conv.root"].T if root == "transposed" else w["conv.root"]
    for _ in range(12):
        message = h @ root + w["conv.bias"]
        for i, atom in enumerate(molecule.GetAtoms()):
            incoming = [
                h[bond.GetOtherAtomIdx(i)] @ edge[atom_tables.BONDS.index(str(bond.GetBondType()))]
                for bond in atom.GetBonds()
            ]
            message[i] += np.mean(incoming, axis=0) if incoming else 0
        gates = leaky(message) @ w["gru.weight_ih"].T + w["gru.bias_ih"]
        hidden = h @ w["gru.weight_hh"].T + w["gru.bias_hh"]
        reset, update = (sigmoid(gates[:, i : i + 64] + hidden[:, i : i + 64]) for i in (0, 64))
        new = np.tanh(gates[:, 128:] + reset * hidden[:, 128:])
        h = (1 - update) * new + update * h
    q, r, cell = np.zeros(64), np.zeros(64), np.zeros(64)
    for _ in range(3):
        gates = w["set2set.lstm.weight_ih"] @ np.append(q, r) + w["set2set.lstm.bias_ih"]
        gates += w["set2set.lstm.weight_hh"] @ q + w["set2set.lstm.bias_hh"]
        take, forget, new, output = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(take) * np.tanh(new)
        q = sigmoid(output) * np.tanh(cell)
        attention = np.exp(h @ q - (h @ q).max())
        r = attention / attention.sum() @ h
    return (w["lin3.weight"] @ np.append(q, r) + w["lin3.bias"])[0]


@pytest.fixture(scope="module")
def golden():
    """Stored molecules and scores."""
    golden, words = published.load("seh/golden_scores.npz"), published_vocabulary()
    pairs = zip(golden["blocks"], golden["bonds"], strict=True)
    return stack([building.from_blocks(words, *pair) for pair in pairs]), golden["score"]


@pytest.mark.long
@needs_data
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-4), (True, 1e-9)])
def test_stored_scores(golden, x64, tolerance):
    states, scores = golden
    with jax.enable_x64(x64):
        proxy = seh.seh_proxy()
        values = jax.jit(jax.vmap(proxy))(states)
        assert values.dtype == (jnp.float64 if x64 else jnp.float32)
        np.testing.assert_allclose(np.maximum(values, 0.1), scores, rtol=0, atol=tolerance)
        if not x64:
            reward = jax.jit(jax.vmap(seh.SEHReward(proxy, exponent=3.0)))(states)
            np.testing.assert_allclose(reward, 3 * np.log(scores / 8), atol=1e-2)


@needs_data
def test_the_layer_that_the_weights_were_trained_in_scores_otherwise(golden):
    states, scores = jax.tree.map(lambda x: x[:16], golden)
    values = jax.jit(jax.vmap(seh.seh_proxy(root="trained")))(states)
    assert np.median(np.abs(values - scores)) > 0.1


@needs_data
@pytest.mark.parametrize("root", ["transposed", "trained"])
def test_random_molecules_of_the_published_fragments(root):
    pytest.importorskip("rdkit")
    words, rng = published_vocabulary(), np.random.default_rng(1)
    states = [random_molecule(words, rng) for _ in range(30)]
    weights = published.load(seh.WEIGHTS)
    expected = [numpy_proxy(weights, state, words, root) for state in states]
    found = jax.jit(jax.vmap(seh.seh_proxy(words, root)))(stack(states))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("root", ["transposed", "trained"])
def test_other_weights_and_fragments(words, root):
    rng, weights = np.random.default_rng(0), random_weights()
    states = [random_molecule(words, rng, most=4) for _ in range(40)]
    expected = [numpy_proxy(weights, state, words, root) for state in states]
    proxy = seh.from_weights(weights, words, root)
    found = jax.jit(jax.vmap(proxy))(stack(states))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.long
def test_one_atom_has_no_neighbours_and_no_atom_is_finite(words):
    weights = random_weights()
    proxy = seh.from_weights(weights, words)
    for entry in range(3):
        state = building.from_blocks(words, [entry], [], max_blocks=3)
        expected = numpy_proxy(weights, state, words, "transposed")
        np.testing.assert_allclose(proxy(state), expected, atol=1e-4)
    empty = empty_molecule(3)
    assert np.isfinite(proxy(empty))
    batch = stack([state, empty, state, empty, *[empty] * 60])
    values = jax.vmap(proxy)(batch)
    np.testing.assert_allclose(values[:4:2], expected, atol=1e-4)
    np.testing.assert_allclose(values[1::2], proxy(empty), atol=1e-5)


@pytest.mark.long
def test_batches_of_all_kinds_score_alike(words):
    rng = np.random.default_rng(2)
    states = stack([random_molecule(words, rng, most=4) for _ in range(24)])
    proxy = seh.from_weights(random_weights(), words)
    expected = jax.lax.map(proxy, states)
    nested = jax.tree.map(lambda x: x.reshape(2, 3, 4, *x.shape[1:]), states)
    deep = jax.jit(jax.vmap(jax.vmap(jax.vmap(proxy))))(nested)
    np.testing.assert_allclose(deep.reshape(-1), expected, atol=1e-5)
    np.testing.assert_allclose(jax.lax.map(proxy, states, batch_size=6), expected, atol=1e-5)
    moved = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states)
    np.testing.assert_allclose(jax.vmap(proxy, in_axes=-1)(moved), expected, atol=1e-5)

    def with_network(network):
        return jax.vmap(proxy.replace(network=network))(states)

    networks = [proxy.network, seh.from_weights(random_weights(1), words).network]
    found = jax.vmap(with_network)(stack(networks))
    for network, values in zip(networks, found, strict=True):
        np.testing.assert_allclose(values, with_network(network), atol=1e-5)


@pytest.mark.long
def test_chunks_of_any_size_score_alike(words, monkeypatch):
    rng = np.random.default_rng(3)
    states = stack([random_molecule(words, rng, most=4) for _ in range(9)])
    proxy = seh.from_weights(random_weights(), words)
    num_atoms = 4 * 5
    found = []
    for size in (num_atoms, num_atoms + 3, 2 * num_atoms, 9 * num_atoms):
        monkeypatch.setattr(packed_graphs, "_chunk_size", lambda *_, size=size: size)
        found.append(np.asarray(jax.vmap(proxy)(states)))
    for values in found:
        np.testing.assert_allclose(values, found[0], atol=1e-5)


@pytest.mark.long
def test_all_states_of_a_molecule_score_alike_if_asked_to():
    pytest.importorskip("rdkit")
    words = vocabulary(["CO", "CO", "C=O"], [(0, 1), (1, 0, 0, 0), (0,)])
    one, other = (
        building.from_blocks(words, [entry, 2], [[0, 1, 0, 0]], max_blocks=2) for entry in (0, 1)
    )
    assert building.to_smiles(one, words) == building.to_smiles(other, words)
    weights = random_weights()
    proxy = seh.from_weights(weights, words)
    assert abs(proxy(one) - proxy(other)) > 1e-3  # the carbon has stems left in one of them
    alike = seh.from_weights(weights, words, canonical=True)
    np.testing.assert_allclose(alike(one), alike(other), rtol=1e-6)
    values = [float(proxy(state)) for state in (one, other)]
    assert np.isclose(values, float(alike(one)), atol=1e-5).any()


@pytest.mark.long
def test_the_derivative_is_zero(words):
    states = stack([building.from_blocks(words, [entry], []) for entry in range(6)])
    proxy = seh.from_weights(random_weights(), words)

    def loss(network, scale):
        reward = seh.SEHReward(proxy.replace(network=network), exponent=scale)
        return jax.vmap(reward)(states).sum()

    by_network, by_scale = jax.grad(loss, (0, 1))(proxy.network, 2.0)
    assert all(not x.any() for x in jax.tree.leaves(by_network))
    np.testing.assert_allclose(by_scale, loss(proxy.network, 1.0), rtol=1e-5)


@pytest.mark.slow
def test_log_reward_is_a_power_of_the_value_above_a_floor(words):
    weights = random_weights()
    state = building.from_blocks(words, [3, 4], [[0, 1, 1, 3]])
    for bias, value in ((5.0, None), (-100.0, 0.5)):
        weights["lin3.bias"] = np.array([bias])
        proxy = seh.from_weights(weights, words)
        reward = seh.SEHReward(proxy, exponent=4.0, scale=2.0, floor=0.5)
        expected = 4 * np.log((value or float(proxy(state))) / 2)
        np.testing.assert_allclose(reward(state), expected, rtol=1e-5)


def test_weights_of_another_network_are_refused(words):
    weights = random_weights()
    with pytest.raises(ValueError, match="root must be 'transposed' or 'trained', got 'plain'"):
        seh.from_weights(weights, words, "plain")
    for name, shape in SHAPES.items():
        pattern = name.replace(".", r"\.")
        less = {other: array for other, array in weights.items() if other != name}
        with pytest.raises(ValueError, match=f"weights must hold {pattern} of .* got nothing"):
            seh.from_weights(less, words)
        other = weights | {name: np.zeros((*shape, 1))}
        with pytest.raises(ValueError, match=f"{pattern} of shape .*, got shape"):
            seh.from_weights(other, words)


@pytest.mark.slow
def test_states_of_a_molecule_with_several_rewards_are_refused(words):
    proxy = seh.from_weights(random_weights(), words)
    with pytest.raises(ValueError, match=r"reward differs .* use seh_proxy\(..., canonical=True\)"):
        molecules(seh.SEHReward(proxy), words, max_blocks=3)
    assert molecules(seh.SEHReward(proxy), words, max_blocks=3, symmetry="none").max_blocks == 3
    canonical = seh.SEHReward(proxy.replace(canonical=True))
    assert molecules(canonical, words, max_blocks=3).symmetry == "reward"
