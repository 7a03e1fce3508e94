"""The AMP proxy against logits that another implementation computed from the same weights."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.data import published
from gfnjax.envs.amp import antimicrobial_peptides
from gfnjax.rewards import amp
from gfnjax.testing import check_environment

needs_data = pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ or not published.available("amp/proxy_weights.npz"),
    reason="set GFNJAX_DATA to a directory that holds amp/proxy_weights.npz",
)


def random_weights(seed=0):
    """Weights of the right names and shapes, in two lines a kind."""
    rng = np.random.default_rng(seed)
    layer = [f".attention_block.attention.{p}_proj" for p in ("query", "key", "value", "output")]
    layer += [f".ff_block.{p}" for p in ("linear", "output", "layernorm1", "layernorm2")]
    shapes = {
        ".encoder.embedder_block.token_embedder.weight": (29, 64),
        ".encoder.embedder_block.position_embedder.pe": (60, 64),
        ".pooler.weight": (1, 64),
        ".pooler.bias": (1,),
    }
    for i in range(4):
        for name in layer:
            wide = (64,) if "norm" in name else (64, 64)
            shapes[f".encoder.layers[{i}]{name}.weight"] = wide
            shapes[f".encoder.layers[{i}]{name}.bias"] = (64,)
    return {name: 0.3 * rng.normal(size=shape) for name, shape in shapes.items()}


@needs_data
def test_golden_logits():
    golden = published.load("amp/golden_logits.npz")
    tokens = golden["tokens"].astype(np.int32)
    tokens = jnp.asarray(np.where(tokens == amp.PADDING, -1, tokens))
    logits = jax.jit(jax.vmap(amp.amp_reward().logit))(tokens)
    np.testing.assert_allclose(logits, golden["logit"], atol=1e-4)


@needs_data
@pytest.mark.long
def test_peptides_conform(key):
    check_environment(antimicrobial_peptides(), key, num_trajectories=4)


def test_log_reward_is_the_log_sigmoid_of_the_logit_above_a_floor():
    weights = random_weights()
    tokens = jnp.full(60, -1, jnp.int32).at[:3].set(jnp.array([0, 5, 19]))
    reward = amp.from_weights(weights)
    logit = float(reward.logit(tokens))
    np.testing.assert_allclose(reward(tokens), -np.log1p(np.exp(-logit)), rtol=1e-5)
    weights[".pooler.bias"] = weights[".pooler.bias"] - 1000
    np.testing.assert_allclose(amp.from_weights(weights)(tokens), np.log(1e-6), rtol=1e-6)


def test_weights_of_another_network_are_refused():
    weights = random_weights()
    weights[".pooler.bias"] = np.zeros(2)
    with pytest.raises(ValueError, match=r"\.pooler\.bias of shape \(1,\), got shape \(2,\)"):
        amp.from_weights(weights)
    del weights[".encoder.layers[2].ff_block.output.bias"]
    with pytest.raises(ValueError, match=r"layers\[2\]\.ff_block\.output\.bias .* got nothing"):
        amp.from_weights(weights)
