import jax.numpy as jnp
import numpy as np

from gfnjax.envs.amp import VariableSequence, VariableSequenceState
from gfnjax.envs.drawing import histogram, letter_frequencies
from gfnjax.envs.sequences import FixedSequence, SequenceState


def test_histograms_of_whole_numbers_and_of_others():
    panel = histogram(np.array([3, 5, 3]), np.array([0.1, 0.6, 0.3]), "size")
    np.testing.assert_allclose(panel.values, [0.4, 0, 0.6])
    assert (panel.bounds, panel.x_label) == ((2.5, 5.5), "size")
    wide = histogram(np.array([0, 100]), np.array([0.5, 0.5]), "size")
    # Bins three wide: 0 to 2, ..., 99 to 101.
    assert (wide.values.size, wide.bounds) == (34, (-0.5, 101.5))
    assert wide.values[-1] == 0.5
    real = histogram(np.array([-1.0, 1.0, 0.0]), np.array([0.5, 0.5, 0.0]), "log R")
    assert (real.bounds, real.values.sum()) == ((-1.0, 1.0), 1.0)
    constant = histogram(np.array([2.0, 2.0]), np.array([0.5, 0.5]), "log R")
    assert (constant.bounds, constant.values.sum()) == ((1.5, 2.5), 1.0)


def test_letters_past_the_end_do_not_count():
    tokens = np.array([[0, 1, -1], [1, 1, 0]])
    panel = letter_frequencies(tokens, np.array([0.25, 0.75]), 2, "ab")
    np.testing.assert_allclose(panel.values, [[0.25, 0, 0.75], [0.75, 1, 0]])
    assert panel.y_ticks == ("a", "b")


def test_sequences_show_letters_rewards_and_lengths():
    def count(tokens):
        return (tokens > 0).sum().astype(jnp.float32)

    weights = np.array([0.25, 0.75])
    fixed = FixedSequence(2, 2, count)
    letters, rewards = fixed.render(SequenceState(np.array([[0, 0], [1, 1]])), weights)
    np.testing.assert_allclose(letters.values, [[0.25, 0.25], [0.75, 0.75]])
    np.testing.assert_allclose(rewards.values[[0, -1]], weights)
    assert fixed.measure(SequenceState(jnp.zeros((1, 2), jnp.int32))) == {}
    states = VariableSequenceState(np.array([[1, -1], [1, 1]]), np.ones(2, bool))
    *_, lengths = VariableSequence(2, 2, count).render(states, weights)
    np.testing.assert_allclose(lengths.values, weights)
