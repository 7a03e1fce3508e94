"""Table rewards: look-up order, the package's own table, and a data file of the wrong shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.sequences import FixedSequence, SequenceState
from gfnjax.rewards.tables import TableReward, qm9_small_reward, tfbind8_reward


def test_axes_are_positions():
    table = np.arange(8.0).reshape(2, 2, 2)
    reward = TableReward(jnp.asarray(table))
    tokens = jnp.array([[0, 0, 1], [1, 0, 0], [1, 1, 0]], jnp.int32)
    assert jax.vmap(reward)(tokens).tolist() == [1.0, 4.0, 6.0]


def test_a_sequence_of_the_wrong_length_is_refused():
    reward = TableReward(jnp.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"tokens must be of shape \(3,\), got \(2,\)"):
        reward(jnp.zeros(2, jnp.int32))
    with pytest.raises(ValueError, match=r"tokens must be of shape \(3,\), got \(4,\)"):
        jax.jit(FixedSequence(4, 2, reward).log_reward)(SequenceState(jnp.zeros(4, jnp.int32)))


def test_tfbind8_is_symmetric_under_reverse_complement():
    log_rewards = np.asarray(tfbind8_reward().log_rewards)
    complement = log_rewards[(slice(None, None, -1),) * 8]
    assert (complement.transpose(range(7, -1, -1)) == log_rewards).all()
    assert log_rewards.max() == pytest.approx(np.log(10.0))
    assert log_rewards.min() == pytest.approx(np.log(1e-3))


def test_qm9_refuses_a_table_of_another_shape(tmp_path, monkeypatch):
    monkeypatch.setenv("GFNJAX_DATA", str(tmp_path))
    np.savez(tmp_path / "qm9_small.npz", score=np.ones((11, 11)))
    with pytest.raises(ValueError, match=r"score must be of shape .*, got \(11, 11\)"):
        qm9_small_reward()


def test_qm9_formula(tmp_path, monkeypatch):
    monkeypatch.setenv("GFNJAX_DATA", str(tmp_path))
    score = np.full((11,) * 5, -1.0, np.float32)
    score[0, 1, 2, 3, 4], score[5, 0, 0, 0, 0] = 4.0, 2.0
    np.savez(tmp_path / "qm9_small.npz", score=score)
    reward = qm9_small_reward()
    expected = {(0, 1, 2, 3, 4): 100.0, (5, 0, 0, 0, 0): 100 / 32, (1,) * 5: 100 * 2.5e-4**5}
    for tokens, value in expected.items():
        found = reward(jnp.array(tokens, jnp.int32))
        assert float(found) == pytest.approx(np.log(value), rel=1e-5)
