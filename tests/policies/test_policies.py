from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.policies.mlp import MLP
from gfnjax.testing import diamond

BALANCE = gfnjax.TrajectoryBalance()


def initialise(policy, env, key):
    return policy.init(key, policy.observe(env, env.initial_state()))


@pytest.mark.parametrize(
    ("env", "make"),
    [
        (gfnjax.Hypergrid(3, 4), gfnjax.mlp_policy),
        (gfnjax.random_dag(0), gfnjax.mlp_policy),
        (gfnjax.Hypergrid(3, 4), gfnjax.tabular_policy),
    ],
    ids=["look-up", "dense", "table"],
)
def test_output_shapes_and_dtypes(env, make, key):
    policy = make(env)
    params = initialise(policy, env, key)
    states = jax.vmap(env.state_at)(jnp.arange(5, dtype=jnp.int32))
    output = jax.vmap(policy.evaluate, (None, None, 0))(params, env, states)
    assert output.forward_logits.shape == (5, env.num_actions)
    assert output.backward_logits.shape == (5, env.num_backward_actions)
    assert output.log_flow.shape == (5,)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((params, output)))


def test_mlp_against_numpy(key):
    module = MLP(2, 3, (4, 5), "tanh")
    observation = {"a": jnp.array([[1, -2], [0, 3]]), "b": jnp.asarray(0.5)}
    params = module.init(key, observation)
    weights = jax.device_get(params["params"])
    x = np.array([1, -2, 0, 3, 0.5])
    for name in ("Dense_0", "Dense_1"):
        x = np.tanh(x @ weights[name]["kernel"] + weights[name]["bias"])
    heads = x @ weights["heads"]["kernel"] + weights["heads"]["bias"]
    output = module.apply(params, observation)
    np.testing.assert_allclose(output.forward_logits, heads[:2], atol=1e-5)
    np.testing.assert_allclose(output.backward_logits, heads[2:5], atol=1e-5)
    np.testing.assert_allclose(output.log_flow, heads[5], atol=1e-5)


def test_look_up_equals_the_dense_first_layer_on_one_hot_input(key):
    env = gfnjax.Hypergrid(3, 4)
    policy = gfnjax.mlp_policy(env, (6, 5))
    params = initialise(policy, env, key)
    weights = dict(params["params"])
    layer = weights.pop("FeatureSum_0")
    layer = layer | {"bias": jnp.arange(6.0)}
    weights["heads"] = jax.tree.map(lambda x: 100 * x, weights["heads"])
    # The dense module numbers its layers from the first on, the look-up only the others.
    dense = {"params": weights | {"Dense_0": layer, "Dense_1": weights["Dense_0"]}}
    params = {"params": weights | {"FeatureSum_0": layer}}
    module = MLP(4, 4, (6, 5))

    def both(index):
        state = env.state_at(index)
        return policy.evaluate(params, env, state), module.apply(dense, env.observe(state))

    looked_up, multiplied = jax.vmap(both)(jnp.arange(64, dtype=jnp.int32))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), looked_up, multiplied)
    assert np.std(looked_up.log_flow) > 0.1


def test_activations_are_the_ones_named(key):
    x = jnp.array([-1.0, 2.0])
    outputs = {}
    for name in ("relu", "leaky_relu", "gelu", "tanh"):
        module = MLP(2, 2, (8,), name)
        outputs[name] = float(module.apply(module.init(key, x), x).log_flow)
    assert len(set(outputs.values())) == 4


def test_a_table_starts_uniform_and_is_read_by_state_index(key):
    env = diamond()
    policy = gfnjax.tabular_policy(env)
    params = initialise(policy, env, key)
    assert not any(np.any(x) for x in jax.tree.leaves(params))
    table = {"params": params["params"] | {"log_flow": jnp.arange(5.0)}}
    assert policy.evaluate(table, env, env.state_at(jnp.asarray(3))).log_flow == 3


def test_equal_modules_give_the_same_policy_object():
    grid, other = gfnjax.Hypergrid(2, 4), gfnjax.Hypergrid(2, 4, gfnjax.Cosine())
    assert gfnjax.mlp_policy(grid, [8, 8]) is gfnjax.mlp_policy(other, (8, 8))
    assert gfnjax.mlp_policy(grid, (8,)) != gfnjax.mlp_policy(grid, (9,))
    assert gfnjax.mlp_policy(grid, (8,)) != gfnjax.mlp_policy(grid, (8,), "tanh")
    assert gfnjax.tabular_policy(grid) is gfnjax.tabular_policy(other)
    assert gfnjax.from_flax(MLP(2, 2)) is gfnjax.from_flax(MLP(2, 2))
    assert gfnjax.from_flax(MLP(2, 2)) != gfnjax.from_flax(MLP(2, 3))


def test_observe_chooses_what_the_network_sees(key):
    env = gfnjax.Hypergrid(2, 4)
    policy = gfnjax.from_flax(MLP(3, 3, (4,)), lambda env, state: state.position / env.side)
    params = initialise(policy, env, key)
    assert params["params"]["Dense_0"]["kernel"].shape == (2, 4)
    gfn = gfnjax.GFlowNet(env, policy, BALANCE)
    assert np.isfinite(jax.jit(gfn.step)(gfn.init(key))[1].loss)


def test_impossible_arguments():
    env = gfnjax.Hypergrid(2, 4)
    with pytest.raises(ValueError, match=r"activation must be one of relu.*, got 'sine'"):
        gfnjax.mlp_policy(env, activation="sine")
    for sizes in [(), (8, 0)]:
        with pytest.raises(ValueError, match="hidden_sizes must be positive widths, got"):
            gfnjax.mlp_policy(env, sizes)
    with pytest.raises(
        TypeError, match="tabular_policy needs an Enumerable environment, got Blind"
    ):
        gfnjax.tabular_policy(type("Blind", (), {})())


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (
            gfnjax.PolicyOutput(jnp.zeros(4), jnp.zeros(3), jnp.zeros(())),
            ValueError,
            r"forward_logits of shape \(3,\) for one observation of Hypergrid, got \(4,\)",
        ),
        (
            gfnjax.PolicyOutput(jnp.zeros(3), jnp.zeros((1, 3)), jnp.zeros(())),
            ValueError,
            r"backward_logits of shape \(3,\) .* got \(1, 3\)",
        ),
        (
            gfnjax.PolicyOutput(jnp.zeros(3), jnp.zeros(3), jnp.zeros(1)),
            ValueError,
            r"log_flow of shape \(\) .* got \(1,\)",
        ),
        (
            (jnp.zeros(3), jnp.zeros(3), jnp.zeros(())),
            TypeError,
            "must return a PolicyOutput, got tuple",
        ),
    ],
)
def test_wrong_outputs_are_named_at_init(output, error, message, key):
    policy = gfnjax.Policy(lambda key, observation: jnp.zeros(()), lambda params, o: output)
    gfn = gfnjax.GFlowNet(gfnjax.Hypergrid(2, 4), policy, BALANCE)
    with pytest.raises(error, match=message):
        gfn.init(key)


class Linear(nn.Module):
    """A user's own Linen module."""

    sizes: Sequence[int]

    @nn.compact
    def __call__(self, x):
        forward, backward = (nn.Dense(size)(x) for size in self.sizes)
        return gfnjax.PolicyOutput(forward, backward, nn.Dense(1)(x)[0])


def linear_init(key, observation):
    return {"weights": 0.1 * jax.random.normal(key, (observation.size, 5))}


def linear_apply(params, observation):
    output = observation @ params["weights"]
    return gfnjax.PolicyOutput(output[:2], output[2:4], output[4])


@pytest.mark.parametrize(
    "policy",
    [gfnjax.Policy(linear_init, linear_apply), gfnjax.from_flax(Linear((2, 2)))],
    ids=["functions", "module"],
)
def test_policies_of_a_user_learn_the_diamond(policy, key):
    env = diamond()
    hyperparameters = gfnjax.Hyperparameters(learning_rate=0.03)
    gfn = gfnjax.GFlowNet(env, policy, BALANCE, hyperparameters=hyperparameters)
    state, _ = gfnjax.train(gfn, key, 300, chunk_size=300)
    table = exact.policy_table(gfn.model, state.params)
    metrics = exact.evaluate(build_graph(env), table.log_pf, state.params.log_z)
    assert metrics.total_variation < 0.01
    assert metrics.log_z_error < 0.02


@pytest.mark.usefixtures("x64")
def test_double_precision(key):
    env = gfnjax.Hypergrid(2, 4)
    for policy in (gfnjax.mlp_policy(env, (8,)), gfnjax.tabular_policy(env)):
        params = initialise(policy, env, key)
        output = policy.evaluate(params, env, env.initial_state())
        assert all(x.dtype == jnp.float64 for x in jax.tree.leaves((params, output)))
