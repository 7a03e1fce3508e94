"""Attention against the formula in NumPy and against derivatives of plain products."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import Hypergrid, mlp_policy, tuning
from gfnjax.policies.attention import attend
from gfnjax.policies.mlp import FEW, SPARSE, FeatureSum

T, S, WIDTH = 5, 7, 12


def inputs(key, *batch):
    shapes = {"query": (T, WIDTH), "key": (S, WIDTH), "value": (S, WIDTH), "cotangent": (T, WIDTH)}
    keys = jax.random.split(key, len(shapes))
    return [
        jax.random.normal(k, (*batch, *shape))
        for k, shape in zip(keys, shapes.values(), strict=True)
    ]


def plain(query, key, value, mask, num_heads):
    query, key, value = (x.reshape(len(x), num_heads, -1) for x in (query, key, value))
    logits = jnp.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(mask, logits, -1e30))
    return jnp.einsum("hqk,khd->qhd", weights, value).reshape(len(query), -1)


@pytest.mark.slow
def test_by_hand_in_numpy(key):
    query, keys, value, _ = (np.asarray(x, np.float64) for x in inputs(key))
    mask = np.arange(S)[None] <= np.arange(T)[:, None]
    expected = np.zeros((T, WIDTH))
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        for t in range(T):
            scores = np.exp([query[t, part] @ keys[s, part] / 2 for s in range(t + 1)])
            expected[t, part] = scores / scores.sum() @ value[: t + 1, part]
    found = attend(*(jnp.asarray(x, jnp.float32) for x in (query, keys, value)), mask, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_heads", [1, 3, 12])
def test_derivatives_are_those_of_plain_products(num_heads, key):
    *given, cotangent = inputs(key, 4)
    masks = jax.random.bernoulli(key, 0.6, (4, T, S)).at[:, :, 0].set(True)

    def derivative(attention):
        def one(query, key, value, mask, cotangent):
            run = lambda q, k, v: attention(q, k, v, mask, num_heads)  # noqa: E731
            output, pull = jax.vjp(run, query, key, value)
            return output, pull(cotangent)

        return jax.jit(jax.vmap(one))(*given, masks, cotangent)

    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
        derivative(attend),
        derivative(plain),
    )


def test_what_is_masked_does_not_matter(key):
    query, keys, value, cotangent = inputs(key)
    mask = (jnp.arange(S) < 4)[None]

    @jax.jit
    def both(keys, value):
        output, pull = jax.vjp(lambda k, v: attend(query, k, v, mask, 3), keys, value)
        return output, pull(cotangent)

    output, (by_key, by_value) = both(keys, value)
    other, _ = both(keys.at[4:].set(9.0), value.at[4:].set(-9.0))
    np.testing.assert_array_equal(output, other)
    assert not by_key[4:].any()
    assert not by_value[4:].any()


@pytest.mark.parametrize("num_ones", [1, SPARSE, SPARSE + 1, 40])
def test_look_ups_are_a_product_with_ones(num_ones, key):
    layer, index = FeatureSum(50, 3), jnp.arange(2, num_ones + 2, dtype=jnp.int32)
    params = layer.init(key, index)
    ones = jnp.zeros(50).at[index].set(1.0)

    def product(params):
        return ones @ params["params"]["kernel"] + params["params"]["bias"]

    for given in (index, ones):
        looked_up = lambda params, given=given: layer.apply(params, given)  # noqa: E731
        np.testing.assert_allclose(looked_up(params), product(params), rtol=1e-5, atol=1e-6)
        found, expected = (
            jax.grad(lambda p, f=f: (f(p) ** 2).sum())(params) for f in (looked_up, product)
        )
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), found, expected
        )


@pytest.mark.parametrize("num_ones", [1, SPARSE + 1])
def test_look_ups_on_a_gpu_are_those_on_a_cpu(num_ones, key, monkeypatch):
    layer = FeatureSum(50, 3)
    index = jax.random.randint(jax.random.key(5), (6, num_ones), 0, 50)  # some ones twice
    params = layer.init(key, index[0])

    def loss(params):
        return (jax.vmap(partial(layer.apply, params))(index) ** 2).sum()

    def everything(params):
        outputs = jax.vmap(partial(layer.apply, params))(index)
        along = jax.jvp(loss, (params,), (params,))
        return outputs, jax.grad(loss)(params), along

    def scatters():
        return str(jax.make_jaxpr(jax.grad(loss))(params)).count("scatter-add")

    on_cpu = everything(params)
    assert scatters() > 0
    monkeypatch.setattr(tuning, "CPU", tuning.GPU)
    assert scatters() == 0
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        everything(params),
        on_cpu,
    )
    few = tuning.GPU._replace(product_features=49 // num_ones)
    monkeypatch.setattr(tuning, "CPU", few)
    assert scatters() > 0


@pytest.mark.parametrize(
    ("side", "looks_up"), [(FEW - 1, False), (FEW, True)]
)  # one of `side` features is on in each dimension
def test_features_are_looked_up_where_they_are_many(side, looks_up, key):
    env = Hypergrid(2, side)
    policy = mlp_policy(env, (4,))
    seen = policy.observe(env, env.initial_state())
    assert jnp.issubdtype(seen.dtype, jnp.integer) == looks_up
    params = policy.init(key, seen)
    first = params["params"]["FeatureSum_0"]
    assert first["kernel"].shape == (2 * side, 4)
    # The same either way, for a state with other features than s_0.
    state = env.step(env.initial_state(), jnp.int32(1))
    ones = env.observe(state).reshape(-1)
    hidden = jax.nn.gelu(ones @ first["kernel"] + first["bias"])
    heads = params["params"]["heads"]
    expected = (hidden @ heads["kernel"] + heads["bias"])[: env.num_actions]
    found = policy.evaluate(params, env, state).forward_logits
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
