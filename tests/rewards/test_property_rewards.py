"""Rewards by properties: the numbers of RDKit, one call a batch, compiled once."""

import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("rdkit")

import gfnjax
from gfnjax.chemistry import properties
from gfnjax.chemistry.building import from_blocks, to_smiles
from gfnjax.chemistry.states import empty_molecule
from gfnjax.chemistry.vocabulary import vocabulary
from gfnjax.envs import molecules
from gfnjax.envs.conditional import preference_conditional
from gfnjax.rewards import properties as rewards
from gfnjax.rewards.properties import property_reward

# Benzene by any atom, ethanol by its carbon, and a carbon that may be given too many bonds.
FRAGMENTS = (["c1ccccc1", "CCO", "CC"], [[0, 2, 4], [0, 1], [0, 0, 0, 0, 0, 1]])


@pytest.fixture
def blocks():
    return vocabulary(*FRAGMENTS)


def batch(*states):
    return jax.tree.map(lambda *x: jnp.stack(x), *states)


@pytest.mark.parametrize("name", ["qed", "sa", "mw", "logp"])
def test_values_are_those_of_rdkit(name, blocks):
    states = batch(
        from_blocks(blocks, [0, 1], [[0, 1, 2, 0]], 3),
        from_blocks(blocks, [0, 0, 2], [[0, 1, 4, 0], [1, 2, 4, 0]], 3),
        from_blocks(blocks, [1], [], 3),
        empty_molecule(3),
    )
    smiles = ["c1ccccc1C(C)O", "c1ccc(-c2cccc(CC)c2)cc1", "CCO"]
    smiles[0] = "OCCc1ccccc1"  # by the atom at position 0, that of the methyl group
    values = [max(1e-4, properties.scaled_property(name, each)) for each in smiles]
    reward = property_reward(blocks, name, exponent=3.0)
    got = jax.jit(lambda reward, states: jax.vmap(reward)(states))(reward, states)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, 3 * np.log([*values, 1e-4]), rtol=1e-5, atol=1e-6)
    alone = reward(jax.tree.map(lambda x: x[1], states))
    np.testing.assert_allclose(alone, got[1], rtol=1e-6)


def test_stopped_or_not(blocks):
    state = from_blocks(blocks, [0], [], 3)
    reward = property_reward(blocks, "qed")
    assert reward(state) == reward(state._replace(stopped=jnp.ones((), bool)))


def test_too_many_bonds_get_the_floor(blocks):
    bonds = [[0, i, 0, 0] for i in range(1, 5)]
    state = from_blocks(blocks, [2, 2, 2, 2, 2], bonds, 5)
    np.testing.assert_allclose(property_reward(blocks, "mw", 2.0, 0.01)(state), 2 * np.log(0.01))


def test_equal_rewards_share_a_program_and_what_is_remembered(blocks, monkeypatch):
    counts = {"programs": 0, "values": 0}

    def counted(name, smiles):
        counts["values"] += 1
        return properties.scaled_property(name, smiles)

    @jax.jit
    def log_r(reward, states):
        counts["programs"] += 1
        return jax.vmap(jax.vmap(reward))(states)

    monkeypatch.setattr(rewards, "scaled_property", counted)
    rewards._scaled.cache_clear()
    one = from_blocks(blocks, [0, 1], [[0, 1, 2, 0]], 3)
    mirrored = from_blocks(blocks, [0, 1], [[0, 1, 4, 0]], 3)  # the same molecule
    states = batch(batch(one, one), batch(mirrored, one))
    reward, again = (property_reward(vocabulary(*FRAGMENTS), "qed", 2) for _ in range(2))
    assert reward == again
    assert hash(reward) == hash(again)
    assert reward == pickle.loads(pickle.dumps(reward))
    first = log_r(reward, states)
    assert (first == first[0, 0]).all()
    assert (log_r(again, states) == first).all()
    assert counts == {"programs": 1, "values": 1}
    assert reward != property_reward(blocks, "qed", 3)
    assert reward != property_reward(blocks, "sa", 2)


def test_wrong_arguments(blocks):
    with pytest.raises(ValueError, match=r"^name must be one of qed, sa, mw, logp, got 'docking'$"):
        property_reward(blocks, "docking")
    with pytest.raises(ValueError, match=r"^floor must be positive, got 0.0$"):
        property_reward(blocks, "qed", floor=0.0)
    with pytest.raises(ValueError, match=r"^exponent must be finite, got nan$"):
        property_reward(blocks, "qed", exponent=float("nan"))


def test_without_rdkit(blocks, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ModuleNotFoundError, match=r"^the reward qed needs RDKit: install it"):
        property_reward(blocks, "qed")


@pytest.mark.long
def test_preferences_between_properties(blocks, key):
    """log R_w = log sum_i w_i r_i of sampled molecules, in one compiled program."""
    first, second = property_reward(blocks, "qed"), property_reward(blocks, "mw")
    env = preference_conditional(molecules(first, blocks, max_blocks=2), first, second)
    policy = gfnjax.mlp_policy(env, hidden_sizes=(8,))
    objective = gfnjax.TrajectoryBalance(log_z="flow")
    gfn = gfnjax.GFlowNet(env, policy, objective, batch_size=4)
    state, info = jax.jit(gfn.step)(gfn.init(key))
    assert jnp.isfinite(info.loss)
    sampled = gfnjax.terminal_states(gfn.model.sample(state.params, jax.random.key(1), 8))
    got = jax.jit(jax.vmap(env.log_reward))(sampled)
    for i in range(8):
        one, weights = jax.tree.map(lambda x, i=i: np.asarray(x)[i], sampled)
        smiles = to_smiles(one, blocks)
        values = [properties.scaled_property(name, smiles) for name in ("qed", "mw")]
        np.testing.assert_allclose(got[i], np.log(weights @ np.array(values)), rtol=1e-4, atol=1e-5)
