import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gfnjax
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import diamond


class Net(nnx.Module):
    """A trunk and three heads, as a user of NNX would write it."""

    def __init__(self, num_features, num_actions, num_backward_actions, rngs):
        self.trunk = nnx.Linear(num_features, 16, rngs=rngs)
        self.forward = nnx.Linear(16, num_actions, rngs=rngs)
        self.backward = nnx.Linear(16, num_backward_actions, rngs=rngs)
        self.flow = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.tanh(self.trunk(x))
        return gfnjax.PolicyOutput(self.forward(x), self.backward(x), self.flow(x)[0])


def make(rngs):
    return Net(5, 2, 2, rngs)


class Noisy(Net):
    def __init__(self, rngs):
        super().__init__(5, 2, 2, rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


class Normalised(Net):
    def __init__(self, rngs):
        super().__init__(5, 2, 2, rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)


def test_outputs_are_those_of_the_module(key):
    policy = gfnjax.from_nnx(make)
    x = jnp.arange(5.0)
    output = jax.jit(policy.apply)(policy.init(key, x), x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), output, make(nnx.Rngs(key))(x)
    )


def test_keys_decide_the_parameters():
    policy = gfnjax.from_nnx(make)
    keys = jax.random.split(jax.random.key(0), 3)
    swept = jax.vmap(policy.init, (0, None))(keys, jnp.zeros(5))
    for i in range(3):
        single = policy.init(keys[i], jnp.zeros(5))
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-6), swept, single
        )
    kernel = swept["trunk"]["kernel"]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1


def test_parameters_are_plain_arrays_of_the_module(key):
    params = gfnjax.from_nnx(make).init(key, jnp.zeros(5))
    assert set(params) == {"trunk", "forward", "backward", "flow"}
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(params))


def test_an_nnx_policy_learns_the_diamond(key):
    env, policy = diamond(), gfnjax.from_nnx(make)
    hyperparameters = gfnjax.Hyperparameters(learning_rate=0.02)
    gfn = gfnjax.GFlowNet(env, policy, gfnjax.TrajectoryBalance(), hyperparameters=hyperparameters)
    state, _ = gfnjax.train(gfn, key, 300, chunk_size=300)
    table = exact.policy_table(gfn.model, state.params)
    metrics = exact.evaluate(build_graph(env), table.log_pf, state.params.log_z)
    assert metrics.total_variation < 0.01
    assert metrics.log_z_error < 0.02


@pytest.mark.parametrize(("module", "name"), [(Noisy, "dropout"), (Normalised, "norm")])
def test_other_state_than_parameters_is_refused(module, name):
    with pytest.raises(
        ValueError, match=f"from_nnx takes modules of nnx.Param only, found .*{name}"
    ):
        gfnjax.from_nnx(module)
