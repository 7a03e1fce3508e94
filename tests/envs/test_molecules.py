"""Molecules of fragments: rules, symmetry, enumeration."""

import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_fragments import few_fragments

from gfnjax import Model, UniformBackward, tabular_policy
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import published_vocabulary, vocabulary
from gfnjax.data import published
from gfnjax.envs import Enumerable, molecules, temperature_conditional, tempered
from gfnjax.envs.base import log_reward_of
from gfnjax.envs.molecule_tasks import MoleculesConfig
from gfnjax.metrics.modes import first_occurrences
from gfnjax.rollout import terminal_states
from gfnjax.testing import check_environment, exact_optimum

needs_vocabulary = pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ or not published.available("seh/blocks_pdb_105.json"),
    reason="set GFNJAX_DATA to a directory that holds seh/blocks_pdb_105.json",
)


def nothing(state):
    return jnp.zeros((), jnp.result_type(float))


def size(state):
    blocks = (state.blocks >= 0).sum(dtype=jnp.int32).astype(jnp.result_type(float))
    return blocks / 2 - jnp.where((state.blocks == 3).any(), 0.3, 0.0)


def state_of(*rows, max_blocks=4, stopped=False):
    """Of (entry, parent, position) a block."""
    empty = [(-1, -1, -1)] * (max_blocks - len(rows))
    columns = np.array([*rows, *empty], np.int32).T
    return MoleculeState(*map(jnp.asarray, columns), jnp.asarray(stopped))


def all_states(env):
    return jax.jit(jax.vmap(env.state_at))(jnp.arange(env.num_states, dtype=jnp.int32))


def is_finished(env):
    return np.asarray(jax.jit(jax.vmap(env.is_terminal))(all_states(env)))


@pytest.mark.long
def test_conformance(key):
    there = "GFNJAX_DATA" in os.environ and published.available("seh/blocks_pdb_105.json")
    check_environment(molecules(size) if there else few(), key, 4)


def few():
    return molecules(size, few_fragments(), max_blocks=4)


@pytest.mark.slow
def test_few_are_listed():
    env = few()
    assert isinstance(env, Enumerable)
    index = jnp.arange(env.num_states, dtype=jnp.int32)
    np.testing.assert_array_equal(jax.vmap(env.state_index)(all_states(env)), index)


@needs_vocabulary
def test_sizes_of_the_published_one():
    env = molecules(size)
    assert (env.num_stems, env.num_actions, env.max_steps) == (30, 3_151, 8)
    assert not isinstance(env, Enumerable)


@pytest.mark.slow
def test_by_hand():
    env = molecules(nothing, few_fragments(), max_blocks=4)
    step, V = env.step, env.num_entries
    ring = step(env.initial_state(), jnp.int32(0))
    # Stems of the root in order of positions 1, 2, 3, 0; it may not stop yet.
    mask = np.asarray(env.forward_mask(ring))
    assert mask[: 4 * V].all()
    assert not mask[4 * V :].any()
    late = step(ring, jnp.int32(1 * V + 1))  # CO at position 2
    early = step(late, jnp.int32(0 * V + 3))  # F at position 1 goes before it
    expected = state_of((0, -1, -1), (3, 0, 1), (1, 0, 2))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), early, expected))
    assert np.asarray(env.backward_mask(early)).tolist() == [False, True, True, False, False]
    assert int(env.backward_action(late, jnp.int32(3))) == 1
    assert int(env.forward_action(early, jnp.int32(1))) == 3
    # Stems left: positions 3 and 0 of the ring, position 1 of CO; and it may stop.
    mask = np.asarray(env.forward_mask(early))
    assert mask[: 3 * V].all()
    assert mask[3 * V :].nonzero()[0].tolist() == [mask.size - 1 - 3 * V]
    stopped = step(early, jnp.int32(env.stop))
    assert bool(env.is_terminal(stopped))
    assert not np.asarray(env.forward_mask(stopped)).any()
    assert np.asarray(env.backward_mask(stopped)).tolist() == [False] * 4 + [True]


def test_a_molecule_without_stems_is_finished():
    env = molecules(nothing, few_fragments(), max_blocks=4)
    ended = env.step(env.step(env.initial_state(), jnp.int32(3)), jnp.int32(3))
    assert bool(env.is_terminal(ended))
    assert np.asarray(env.backward_mask(ended)).tolist() == [False, True, False, False, False]


@pytest.mark.slow
def test_multiplicities_are_counts():
    env = molecules(nothing, few_fragments(), max_blocks=4)
    states = all_states(env)
    one = jax.jit(jax.vmap(env.canonical))(states)
    index = np.asarray(jax.jit(jax.vmap(env.state_index))(one))
    terminal = is_finished(env)
    found = np.exp(np.asarray(jax.jit(jax.vmap(env.log_multiplicity))(states)))
    _, where, count = np.unique(index[terminal], return_inverse=True, return_counts=True)
    np.testing.assert_allclose(found[terminal], count[where], rtol=1e-6)


def test_canonical_states_are_molecules():
    """The same classes as those of graphs of atoms, each named after its fragment's kind."""
    chem = pytest.importorskip("rdkit.Chem")
    from gfnjax.chemistry.building import to_rdkit

    words = few_fragments()
    env = molecules(nothing, words, max_blocks=4)
    states = all_states(env)
    rows = np.random.default_rng(0).choice(np.flatnonzero(is_finished(env)), 400, replace=False)
    states = jax.tree.map(lambda x: np.asarray(x)[rows], states)
    one = jax.jit(jax.vmap(env.canonical))(states)
    index = np.asarray(jax.vmap(env.state_index)(one))
    names = []
    for row in range(len(rows)):
        state = jax.tree.map(lambda x, row=row: x[row], states)
        molecule, first = chem.RWMol(to_rdkit(state, words)), 0
        for entry in state.blocks[state.blocks >= 0]:
            atoms = chem.MolFromSmiles(words.smiles[entry]).GetNumAtoms()
            for atom in range(first, first + atoms):
                molecule.GetAtomWithIdx(atom).SetIsotope(words.kinds[entry] + 1)
            first += atoms
        names.append(chem.MolToSmiles(molecule))
    assert len(set(names)) == len(set(index.tolist())) == len(set(zip(names, index, strict=True)))
    assert len(set(names)) > 100


@pytest.mark.long
@needs_vocabulary
def test_two_blocks_of_the_published_vocabulary(x64):
    """23,310 sequences, 5,565 molecules: corrected uniform, uncorrected .1939 away."""
    env = molecules(nothing, max_blocks=2)
    assert env.num_states == 1 + 105 + 23_310
    states = jax.tree.map(lambda x: x[np.asarray(is_finished(env))], all_states(env))

    @jax.jit
    def look(states):
        one = jax.vmap(env.canonical)(states)
        return jax.vmap(env.state_index)(one), jax.vmap(partial(log_reward_of, env))(states)

    index, log_reward = look(states)
    _, where, count = np.unique(index, return_inverse=True, return_counts=True)
    assert len(count) == 5_565
    assert (count.min(), count.max()) == (1, 12)
    assert np.bincount(count).argmax() == 3
    weights = np.exp(np.asarray(log_reward))
    mass = np.bincount(where, weights) / weights.sum()
    np.testing.assert_allclose(mass, 1 / 5_565, rtol=1e-6)
    # Without the correction states are alike.
    assert np.abs(count / count.sum() - 1 / 5_565).sum() / 2 == pytest.approx(0.1939, abs=5e-5)
    assert float(np.log(count).std()) == pytest.approx(0.477, abs=5e-4)


@pytest.mark.long
@needs_vocabulary
def test_three_blocks_by_sampling(key):
    """A chi-square test of molecules that the exact optimum samples, of 7 published entries."""
    all_words, kept = published_vocabulary(), [0, 1, 2, 6, 8, 12, 17]
    groups = dict(zip(all_words.fragments, all_words.permutations, strict=True))
    words = vocabulary(
        [all_words.smiles[i] for i in kept], [all_words.attachments[i] for i in kept], groups
    )
    env = molecules(nothing, words, max_blocks=3, min_blocks=3)
    model = Model(env, tabular_policy(env), UniformBackward())
    sampled = terminal_states(model.sample(exact_optimum(env, jax.random.key(1)), key, 12_000))

    @jax.jit
    def molecule_of(states):
        return jax.vmap(lambda state: env.state_index(env.canonical(state)))(states)

    kept, count = np.unique(
        np.asarray(molecule_of(all_states(env)))[is_finished(env)], return_counts=True
    )
    seen = np.bincount(np.searchsorted(kept, molecule_of(sampled)), minlength=len(kept))
    assert len(kept) > 300

    def excess(share):
        """Of chi-square over its mean, in standard deviations."""
        expected = 12_000 * share
        square = ((seen - expected) ** 2 / expected).sum()
        return (square - len(kept) + 1) / np.sqrt(2 * len(kept) - 2)

    assert abs(excess(np.full(len(kept), 1 / len(kept)))) < 4
    assert excess(count / count.sum()) > 25


@pytest.mark.long
def test_every_state_of_a_molecule_is_the_same_object():
    env = molecules(nothing, few_fragments(), max_blocks=2)
    ends = (
        state_of((0, -1, -1), (3, 0, 1), max_blocks=2),
        state_of((3, -1, -1), (0, 0, 0), max_blocks=2),
    )
    states = jax.tree.map(lambda *x: jnp.stack(x), *ends)
    assert first_occurrences(states, env).tolist() == [True, False]
    assert np.asarray(jax.vmap(env.log_multiplicity)(states)) == pytest.approx(np.log(5))


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda env: tempered(env, 3.0), lambda env: env])
def test_the_multiplicity_is_not_tempered(make):
    env = make(molecules(size, few_fragments(), max_blocks=3))
    state = state_of((0, -1, -1), (3, 0, 1), stopped=True, max_blocks=3)
    beta = float(env.log_reward(state)) / float(size(state))
    assert beta == pytest.approx(1.0 if not hasattr(env, "reward_exponent") else 3.0)
    expected = beta * float(size(state)) - float(env.log_multiplicity(state))
    assert float(log_reward_of(env, state)) == pytest.approx(expected)


@pytest.mark.slow
def test_conditional_molecules():
    env = temperature_conditional(molecules(size, few_fragments(), max_blocks=3), 1.0, 4.0)
    fixed = env.at(2.0)
    state = fixed.initial_state()._replace(
        inner=state_of((0, -1, -1), (3, 0, 1), stopped=True, max_blocks=3)
    )
    expected = 2 * float(size(state.inner)) - float(env.rules.log_multiplicity(state.inner))
    assert float(log_reward_of(fixed, state)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_blocks": 0}, "max_blocks must be at least 1, got 0"),
        ({"min_blocks": 9}, "min_blocks must be in 1..max_blocks = 8, got 9"),
        ({"symmetry": "yes"}, 'symmetry must be "reward" or "none"'),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        molecules(nothing, few_fragments(), **options)


@pytest.mark.parametrize(
    ("smiles", "attachments", "message"),
    [
        ([], [], "smiles must hold at least one fragment"),
        (["F", "F"], [[0]], "attachments must have one for each of 2 SMILES, got 1"),
        (["F"], [[1]], r"attachments\[0\] must name atoms in 0..0 of F"),
        (["F"], [[]], r"attachments\[0\] must name atoms in 0..0 of F, at least one"),
        (["F"], [[0.5]], "attachments must be a whole number, got 0.5"),
    ],
)
def test_wrong_vocabularies(smiles, attachments, message):
    with pytest.raises(ValueError, match=message):
        vocabulary(smiles, attachments, {"F": [[0]]})


def test_wrong_settings():
    with pytest.raises(ValueError, match="condition must be preferences with 2 of reward"):
        MoleculesConfig(reward=("seh", "qed"))
    with pytest.raises(ValueError, match="reward must name rewards, each once"):
        MoleculesConfig(reward=("qed", "qed"))
