from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from gfnjax import packing

ROWS, CHUNK = 13, 4  # the last chunk is not full


def network(params, context, row):
    """Two outputs of different shapes, nonlinear in the parameters."""
    hidden = jnp.tanh(params["w"] @ row["x"] + params["b"] + context * row["k"].astype(float))
    return {"scalar": (hidden**2).sum(), "vector": jnp.sin(hidden)}


def problem():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params = {"w": normal(3, 2), "b": normal(3)}
    rows = {"x": normal(ROWS, 2), "k": jnp.asarray(rng.integers(3, size=ROWS), jnp.int32)}
    return params, jnp.asarray(0.3), rows, {"scalar": normal(ROWS), "vector": normal(ROWS, 3)}


def loss(params, live, mapping, **kwargs):
    _, context, rows, cotangent = problem()
    outputs = mapping(network, params, context, rows, live, **kwargs)
    return sum(
        jax.tree.leaves(jax.tree.map(lambda o, c: (o * c).sum(), outputs, cotangent))
    ), outputs


@jax.jit
def both(params, live):
    dense = jax.value_and_grad(partial(loss, mapping=packing.map_all), has_aux=True)
    packed = partial(loss, mapping=packing.map_live, chunk_size=CHUNK)
    return dense(params, live), jax.value_and_grad(packed, has_aux=True)(params, live)


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


@hypothesis.given(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS))
@hypothesis.example([False] * ROWS)
@hypothesis.example([True] * ROWS)
@hypothesis.example([True] + [False] * (ROWS - 1))
@hypothesis.example([False] * (ROWS - 1) + [True])
@hypothesis.example([True] * CHUNK + [False] * (ROWS - CHUNK))
def test_packed_equals_dense_in_value_and_gradient(live):
    params = problem()[0]
    dense, packed = both(params, jnp.array(live))
    assert_same(dense, packed)
    outputs = packed[0][1]
    for leaf in jax.tree.leaves(outputs):
        assert not np.asarray(leaf)[~np.array(live)].any()


def test_value_and_gradient_against_a_python_loop():
    params, context, rows, cotangent = problem()
    live = np.arange(ROWS) % 3 == 1
    expected = {"w": np.zeros((3, 2)), "b": np.zeros(3)}
    total = 0.0
    for i in np.flatnonzero(live):
        x, k = np.asarray(rows["x"][i]), int(rows["k"][i])
        pre = np.asarray(params["w"]) @ x + np.asarray(params["b"]) + float(context) * k
        h = np.tanh(pre)
        scalar, vector = np.asarray(cotangent["scalar"][i]), np.asarray(cotangent["vector"][i])
        total += scalar * (h**2).sum() + vector @ np.sin(h)
        delta = (2 * h * scalar + np.cos(h) * vector) * (1 - h**2)
        expected["w"] += np.outer(delta, x)
        expected["b"] += delta
    (value, _), grad = both(params, jnp.array(live))[1]
    np.testing.assert_allclose(value, total, rtol=1e-5)
    assert_same(grad, expected)


@pytest.mark.parametrize("chunk_size", [1, ROWS, 64])
def test_any_chunk_size(chunk_size):
    params = problem()[0]
    live = jnp.arange(ROWS) % 2 == 0
    packed = jax.value_and_grad(
        partial(loss, mapping=packing.map_live, chunk_size=chunk_size), has_aux=True
    )
    assert_same(both(params, live)[0], jax.jit(packed)(params, live))


def test_known_outputs_are_reused_and_the_gradient_still_comes():
    params, context, rows, _ = problem()
    live = jnp.arange(ROWS) < 6
    true = jax.vmap(partial(network, params, context))(rows)
    # Recognisable values prove that the forward evaluation was skipped; dead ones are dropped.
    marked = jax.tree.map(lambda x: x + 100.0, true)
    packed = partial(loss, mapping=packing.map_live, chunk_size=CHUNK, known=marked)
    (_, outputs), grad = jax.jit(jax.value_and_grad(packed, has_aux=True))(params, live)
    np.testing.assert_allclose(
        outputs["scalar"][:6], np.asarray(true["scalar"][:6]) + 100, rtol=1e-6
    )
    assert not np.asarray(outputs["scalar"][6:]).any()
    assert_same(grad, both(params, live)[0][1])


def test_vmap_over_masks_and_parameters_and_of_the_gradient():
    masks = jnp.array([[False] * ROWS, [True] * ROWS, [i % 3 == 0 for i in range(ROWS)]])
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x, x - 1]), problem()[0])
    dense, packed = jax.jit(jax.vmap(both))(batch, masks)
    assert_same(dense, packed)
    for i in range(3):
        single = both(jax.tree.map(lambda x, i=i: x[i], batch), masks[i])[1]
        assert_same(single, jax.tree.map(lambda x, i=i: x[i], packed))


@pytest.mark.parametrize("chunk_size", [CHUNK, ROWS])
def test_dead_rows_may_hold_nan(chunk_size):
    params, context, rows, _ = problem()
    live = jnp.arange(ROWS) < 2
    rows["x"] = jnp.where(live[:, None], rows["x"], jnp.nan)

    def total(params):
        outputs = packing.map_live(network, params, context, rows, live, chunk_size)
        return outputs["scalar"].sum() + outputs["vector"].sum()

    value, grad = jax.jit(jax.value_and_grad(total))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grad))


def count_calls(live, chunk_size=CHUNK, **known):
    """Rows evaluated by the value and by the gradient of a packed evaluation."""
    calls = []

    def counted(params, context, row):
        # The callback stands between the row and the derivative, so that both passes need it.
        def host(x):
            calls.append(x.size)
            return np.asarray(x)

        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return params * jax.pure_callback(host, shape, row, vmap_method="expand_dims")

    rows = jnp.arange(float(ROWS))

    def total(params):
        return packing.map_live(counted, params, (), rows, live, chunk_size, **known).sum()

    value = jax.block_until_ready(jax.jit(total)(jnp.ones(())))
    evaluated = sum(calls)
    calls.clear()
    jax.block_until_ready(jax.jit(jax.value_and_grad(total))(jnp.ones(())))
    return value, evaluated, sum(calls)


# Chunks of four, of which the last is at least half full, then single rows.
WORK = [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 5), (7, 8), (12, 12), (13, 13)]


@pytest.mark.parametrize(("num_live", "work"), WORK)
def test_work_grows_with_live_rows(num_live, work):
    live = jnp.arange(ROWS) < num_live
    value, evaluated, differentiated = count_calls(live)
    assert value == sum(range(num_live))
    assert evaluated == work
    assert differentiated == 2 * work


def test_rows_that_fit_into_one_chunk_are_evaluated_where_they_are():
    live = jnp.arange(ROWS) % 3 == 1
    value, evaluated, differentiated = count_calls(live, chunk_size=ROWS)
    assert value == 1 + 4 + 7 + 10
    assert (evaluated, differentiated) == (ROWS, 2 * ROWS)


def test_some_of_any_number_of_rows():
    """Every remainder of a large chunk, against the sum by hand."""

    @partial(jax.jit, static_argnums=1)
    def total(live, chunk_size):
        return packing.evaluate_live(lambda x: x, jnp.arange(40.0), live, chunk_size).sum()

    for chunk_size in (8, 16, 39):
        for count in range(41):
            live = jnp.roll(jnp.arange(40) < count, 7)
            assert float(total(live, chunk_size)) == np.flatnonzero(live).sum()


def test_known_outputs_halve_the_work_of_a_gradient():
    live = jnp.arange(ROWS) < 5
    _, evaluated, differentiated = count_calls(live, known=jnp.arange(float(ROWS)))
    assert evaluated == 0
    assert differentiated == 5


def test_evaluate_live_returns_zero_elsewhere():
    live = jnp.array([False, True, False, True, True])
    squares = packing.evaluate_live(lambda x: x**2, jnp.arange(1.0, 6.0), live, chunk_size=2)
    np.testing.assert_array_equal(squares, [0.0, 4.0, 0.0, 16.0, 25.0])
