import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.condition_distributions import Dirichlet, LogUniform, Uniform, choice


def draws(conditions, key, count=4_000):
    return np.asarray(jax.jit(jax.vmap(conditions.draw))(jax.random.split(key, count)))


def test_uniform(key):
    c = draws(Uniform(1, 3.0), key)
    assert c.shape == (4_000, 1)
    assert c.min() >= 1
    assert c.max() <= 3
    # A quarter of the mass lies in each quarter of the range; five standard errors are .034.
    np.testing.assert_allclose(np.histogram(c, 4, (1, 3))[0] / c.size, 0.25, atol=0.034)
    np.testing.assert_allclose(Uniform(1, 3.0).centre(), [2.0])
    np.testing.assert_allclose(Uniform(1, 3.0).encode(jnp.array([1.0])), [-1.0])
    np.testing.assert_allclose(Uniform(1, 3.0).encode(jnp.array([2.5])), [0.5])


def test_log_uniform(key):
    c = draws(LogUniform(0.5, 8.0), key)
    shares = np.histogram(np.log2(c), 4, (-1, 3))[0] / c.size
    np.testing.assert_allclose(shares, 0.25, atol=0.034)
    np.testing.assert_allclose(LogUniform(0.5, 8.0).centre(), [2.0], rtol=1e-6)
    encode = LogUniform(0.5, 8.0).encode
    for value, seen in ((0.5, -1.0), (2.0, 0.0), (4.0, 0.5), (8.0, 1.0)):
        np.testing.assert_allclose(encode(jnp.array([value])), [seen], atol=1e-6)


def test_dirichlet(key):
    w = draws(Dirichlet(3, 2.0), key)
    np.testing.assert_allclose(w.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(w.mean(axis=0), 1 / 3, atol=0.02)
    # Var w_i = (1/3)(2/3) / (3 * 2 + 1)
    np.testing.assert_allclose(w.var(axis=0), 2 / 63, atol=0.004)
    np.testing.assert_allclose(Dirichlet(2).encode(jnp.array([0.25, 0.75])), [-0.5, 0.5])
    np.testing.assert_allclose(Dirichlet(4).centre(), [0.25] * 4)


def test_choice(key):
    c = draws(choice([[0.0, 1.0], [2.0, 3.0]]), key)
    first = (c == [0.0, 1.0]).all(axis=1)
    second = (c == [2.0, 3.0]).all(axis=1)
    assert (first | second).all()
    assert abs(first.mean() - 0.5) < 0.04
    assert choice([0.5, 2.0]).values.tolist() == [[0.5], [2.0]]
    assert choice([0.5, 2.0]).centre().tolist() == [0.5]
    assert choice([0.5, 2.0]).encode(jnp.array([2.0])).tolist() == [2.0]


def test_ranges_are_leaves_so_that_they_share_code(key):
    assert jax.tree.leaves(LogUniform(1.0, 2.0)) == [1.0, 2.0]
    draw = jax.jit(lambda conditions: conditions.draw(key))
    draw(LogUniform(1.0, 2.0))
    draw(LogUniform(1.0, 4.0))
    assert draw._cache_size() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(2.0, 1.0), "low must be less than high, got 2.0 and 1.0"),
        (lambda: LogUniform(1.0, 1.0), "low must be less than high, got 1.0 and 1.0"),
        (lambda: LogUniform(0.0, 1.0), "low must be positive, got 0.0"),
        (lambda: Dirichlet(1), "num_weights must be at least 2, got 1"),
        (lambda: Dirichlet(2, 0.0), "concentration must be positive, got 0.0"),
        (lambda: choice([]), "values must be n finite numbers or vectors"),
        (lambda: choice([np.inf]), "values must be n finite numbers or vectors"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
