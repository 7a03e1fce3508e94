"""The transformer encoder: what it can and cannot see, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.sequences import FixedSequence, SequenceState
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.base import check_output
from gfnjax.policies.transformer import Block, transformer_policy
from gfnjax.testing import diamond


def ones(tokens):
    return (tokens == 1).sum().astype(jnp.float32)


ENV = FixedSequence(3, 2, ones, both_ends=True)


def test_attention_by_hand(key):
    """One head: softmax of queries times keys over sqrt(width), then the residual branches."""
    block = Block(width=4, num_heads=1)
    x = jax.random.normal(key, (3, 4))
    mask = jnp.tril(jnp.ones((3, 3), bool))
    params = block.init(key, x, mask)
    p = jax.tree.map(np.asarray, params["params"])

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * p[name]["scale"] + p[name]["bias"]

    def dense(x, name):
        return x @ p[name]["kernel"] + p[name]["bias"]

    y = np.asarray(x)
    query, key_, value = np.split(dense(norm(y, "norm_attention"), "projections"), 3, axis=-1)
    for t in range(3):
        weights = np.exp(query[t] @ key_[: t + 1].T / 2)
        attended = weights @ value[: t + 1] / weights.sum()
        row = y[t] + dense(attended, "attended")
        hidden = dense(norm(row, "norm_mlp"), "hidden")
        gelu = hidden / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        expected = row + dense(gelu, "output")
        np.testing.assert_allclose(block.apply(params, x, mask)[t], expected, atol=1e-5)


def test_sees_which_letter_is_where(key):
    policy = transformer_policy(ENV, width=8, num_heads=2, num_layers=1)
    params = policy.init(key, ENV.active_features(ENV.initial_state()))
    check_output(policy, params, ENV)
    states = [SequenceState(jnp.array(t, jnp.int32)) for t in ([0, 1, -1], [1, 0, -1], [0, 1, 1])]
    outputs = [policy.evaluate(params, ENV, s).forward_logits for s in states]
    assert float(jnp.abs(outputs[0] - outputs[1]).max()) > 1e-3
    assert float(jnp.abs(outputs[0] - outputs[2]).max()) > 1e-3


@pytest.mark.long
def test_trains(key):
    """Z is the sum over the 8 sequences: (1 + e)^3."""
    policy = transformer_policy(ENV, width=8, num_heads=2, num_layers=1)
    rates = Hyperparameters(learning_rate=1e-2)
    gfn = GFlowNet(ENV, policy, TrajectoryBalance(), hyperparameters=rates, batch_size=32)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: gfn.step(s), s, None, length=300))
    _, info = run(gfn.init(key))
    np.testing.assert_allclose(info.log_z[-20:].mean(), 3 * np.log(1 + np.e), atol=0.1)


def test_needs_active_features():
    with pytest.raises(TypeError, match="SparselyObserved environment, got TabularDAG"):
        transformer_policy(diamond())


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match=r"width must be a positive multiple .* got 10"):
        transformer_policy(ENV, width=10, num_heads=4)
