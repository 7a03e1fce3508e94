import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gfnjax import masking
from gfnjax.actions import Categorical

ROWS, WIDTH = 3, 5
LOGITS = npst.arrays(np.float32, (ROWS, WIDTH), elements=st.floats(-60, 60, width=32))
MASKS = npst.arrays(bool, (ROWS, WIDTH))


def row_by_row(logits: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log-softmax and log-sum-exp of the valid entries alone, in double precision."""
    log_probs = np.full(logits.shape, masking.FILL)
    totals = np.full(len(logits), masking.FILL)
    for i, (row, valid) in enumerate(zip(logits.astype(np.float64), mask, strict=True)):
        if valid.any():
            totals[i] = np.logaddexp.reduce(row[valid])
            log_probs[i, valid] = row[valid] - totals[i]
    return log_probs, totals


@hypothesis.given(LOGITS, MASKS)
def test_log_softmax_and_logsumexp_against_numpy(logits, mask):
    log_probs, totals = row_by_row(logits, mask)
    np.testing.assert_allclose(masking.log_softmax(logits, mask), log_probs, rtol=1e-5, atol=3e-5)
    np.testing.assert_allclose(masking.logsumexp(logits, mask), totals, rtol=1e-5, atol=3e-5)


def test_gradients_by_hand():
    # d log_softmax_1 = e_1 - p and d logsumexp = p, with p = (1/4, 3/4) on the valid entries.
    logits = jnp.log(jnp.array([1.0, 3.0, 7.0]))
    mask = jnp.array([True, True, False])
    grad = jax.grad(lambda x: masking.log_softmax(x, mask)[1])(logits)
    np.testing.assert_allclose(grad, [-0.25, 0.25, 0.0], atol=1e-6)
    grad = jax.grad(lambda x: masking.logsumexp(x, mask))(logits)
    np.testing.assert_allclose(grad, [0.25, 0.75, 0.0], atol=1e-6)


@pytest.mark.parametrize("fn", [masking.log_softmax, masking.logsumexp])
@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_rows_without_valid_entries_are_finite_and_flat(fn, bad):
    logits = jnp.array([[bad, 1.0, 2.0], [0.5, 1.0, bad]])
    mask = jnp.array([[False, False, False], [True, True, False]])
    value, grad = jax.value_and_grad(lambda x: fn(x, mask)[0].sum())(logits)
    assert np.isfinite(value)
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_whatever_stands_at_masked_places_does_not_matter(bad):
    mask = jnp.array([True, False, True])
    for fn in (masking.log_softmax, masking.logsumexp):
        good, spoilt = jnp.array([0.3, 0.0, -1.2]), jnp.array([0.3, bad, -1.2])
        np.testing.assert_array_equal(fn(good, mask), fn(spoilt, mask))
        grads = [
            jax.grad(lambda x, fn=fn: fn(x, mask)[..., None][0].sum())(x) for x in (good, spoilt)
        ]
        np.testing.assert_array_equal(*grads)
        assert np.isfinite(grads[1]).all()
    assert int(Categorical(3).sample(jnp.array([0.0, bad, 9.0]), mask, jnp.asarray(0.5))) == 2


def test_the_logsumexp_of_zeros_is_minus_infinity_and_flat():
    # log(0 + 0), log(0 + 2) and nothing at all; the last entry of each row is masked.
    values = jnp.array([[-jnp.inf, -jnp.inf, 3.0], [-jnp.inf, jnp.log(2.0), jnp.nan], [0, 0, 0]])
    mask = jnp.array([[True, True, False], [True, True, False], [False, False, False]])
    total = masking.logsumexp(values, mask)
    np.testing.assert_allclose(total, [-np.inf, np.log(2), masking.FILL], rtol=1e-6)
    grad = jax.grad(lambda x: jnp.where(jnp.isfinite(y := masking.logsumexp(x, mask)), y, 0).sum())
    np.testing.assert_array_equal(grad(values), [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert masking.logsumexp(jnp.array([-jnp.inf]), jnp.array([True])) == -jnp.inf


def test_huge_logits_do_not_overflow():
    mask = jnp.ones(3, bool)
    logits = jnp.array([1e4, -1e4, 1e4 - 1])
    log_probs = masking.log_softmax(logits, mask)
    np.testing.assert_allclose(log_probs[0], -np.log(1 + np.exp(-1)), rtol=1e-4)
    assert np.isfinite(log_probs).all()
    assert np.isfinite(jax.grad(lambda x: masking.log_softmax(x, mask).sum())(logits)).all()


def test_select_picks_along_the_last_axis():
    values = jnp.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(masking.select(values, jnp.array([3, 0, 2])), [3.0, 4.0, 10.0])
    assert masking.select(values[1], jnp.array(2)) == 6.0


@pytest.mark.usefixtures("x64")
def test_double_precision_in_double_precision_out():
    logits, mask = jnp.log(jnp.array([1.0, 2.0, 4.0])), jnp.array([True, True, False])
    log_probs = masking.log_softmax(logits, mask)
    assert log_probs.dtype == jnp.float64
    np.testing.assert_allclose(log_probs[:2], np.log([1 / 3, 2 / 3]), rtol=1e-14)
    np.testing.assert_allclose(masking.logsumexp(logits, mask), np.log(3), rtol=1e-14)
