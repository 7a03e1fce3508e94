import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from gfnjax.rewards.gaussian_networks import (
    bge,
    check_data,
    linear_gaussian,
    standardised,
)

PARENT_SETS = [(0, ()), (1, (0,)), (2, (0, 1)), (3, (0, 1, 2)), (0, (3,)), (2, (3,))]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4)


def mask(parents, num_nodes=4):
    return jnp.zeros(num_nodes, bool).at[jnp.asarray(parents, jnp.int32)].set(True)


def log_t_chain(rows, alpha_mu, alpha_w, scale):
    """log p(rows) under mean | precision ~ N(0, 1/alpha_mu), precision ~ Wishart(alpha_w, T^-1),

    T = scale * I, one predictive Student t at a time."""
    num_columns = rows.shape[1]
    if num_columns == 0:
        return 0.0
    mean, matrix = np.zeros(num_columns), scale * np.eye(num_columns)
    total = 0.0
    for row in rows:
        freedom = alpha_w - num_columns + 1
        shape = matrix * (alpha_mu + 1) / (alpha_mu * freedom)
        total += stats.multivariate_t.logpdf(row, mean, shape, df=freedom)
        away = row - mean
        matrix = matrix + alpha_mu / (alpha_mu + 1) * np.outer(away, away)
        mean = (alpha_mu * mean + row) / (alpha_mu + 1)
        alpha_mu, alpha_w = alpha_mu + 1, alpha_w + 1
    return total


@pytest.mark.parametrize(("node", "parents"), PARENT_SETS)
def test_linear_gaussian_is_a_multivariate_normal(node, parents, data, x64):
    score = linear_gaussian(data, weight_variance=1.7, noise_variance=0.3)
    inputs = data[:, list(parents)]
    covariance = 0.3 * np.eye(12) + 1.7 * inputs @ inputs.T
    expected = stats.multivariate_normal.logpdf(data[:, node], np.zeros(12), covariance)
    np.testing.assert_allclose(score(node, mask(parents)), expected, rtol=1e-10)


def test_linear_gaussian_is_the_integral_over_the_weight(data, x64):
    data = data[:5]
    score = linear_gaussian(data)

    def density(weight):
        noise = stats.norm.logpdf(data[:, 1] - weight * data[:, 0], scale=np.sqrt(0.1))
        return np.exp(noise.sum() - shift + stats.norm.logpdf(weight))

    shift = float(score(1, mask((0,))))
    peak = data[:, 0] @ data[:, 1] / (data[:, 0] @ data[:, 0])
    value, _ = integrate.quad(density, peak - 5, peak + 5, points=[peak], epsabs=1e-10)
    np.testing.assert_allclose(value, 1.0, rtol=1e-7)


@pytest.mark.parametrize(("alpha_mu", "alpha_w"), [(1.0, None), (0.4, 8.5)])
@pytest.mark.parametrize(("node", "parents"), PARENT_SETS)
def test_bge_is_a_ratio_of_student_t_chains(node, parents, alpha_mu, alpha_w, data, x64):
    score = bge(data, alpha_mu, alpha_w)
    alpha_w = alpha_w or 6.0
    scale = alpha_mu * (alpha_w - 5) / (alpha_mu + 1)

    def log_marginal(columns):
        # A sub-vector of k variables follows the same prior with alpha_w - d + k.
        return log_t_chain(data[:, columns], alpha_mu, alpha_w - 4 + len(columns), scale)

    expected = log_marginal([*parents, node]) - log_marginal(list(parents))
    np.testing.assert_allclose(score(node, mask(parents)), expected, rtol=1e-9)


def test_bge_of_one_node_is_the_integral_over_mean_and_precision(x64):
    data = np.array([[0.3], [-1.1], [0.7]])
    # d = 1: alpha_mu = 1, alpha_w = 3, t = 1/2; precision ~ Gamma(3/2, rate t/2).

    mean = np.linspace(-12, 12, 1501)[:, None]
    log_precision = np.linspace(-9, 5, 701)[None, :]
    precision = np.exp(log_precision)
    deviation = np.exp(-log_precision / 2)
    density = stats.gamma.pdf(precision, 1.5, scale=4.0) * precision
    for value in (0.0, *data[:, 0]):
        density = density * stats.norm.pdf(mean, value, deviation)
    over_precision = integrate.trapezoid(density, log_precision, axis=1)
    value = integrate.trapezoid(over_precision, mean[:, 0])
    np.testing.assert_allclose(bge(data)(0, mask((), 1)), np.log(value), rtol=1e-4)


def test_bge_gives_equivalent_graphs_the_same_score(data, x64):
    score = bge(data)
    forth = score(0, mask(())) + score(1, mask((0,)))
    back = score(1, mask(())) + score(0, mask((1,)))
    np.testing.assert_allclose(forth, back, rtol=1e-12)
    lone = linear_gaussian(data)
    forth = lone(0, mask(())) + lone(1, mask((0,)))
    back = lone(1, mask(())) + lone(0, mask((1,)))
    assert abs(forth - back) > 1e-2


@pytest.mark.parametrize("make", [linear_gaussian, bge])
def test_single_precision_and_transformations(make, data):
    score = make(data)
    masks = jnp.stack([mask(parents) for _, parents in PARENT_SETS])
    nodes = jnp.asarray([node for node, _ in PARENT_SETS], jnp.int32)
    single = jax.jit(jax.vmap(score))(nodes, masks)
    with jax.enable_x64(True):
        double = [float(make(data)(n, m)) for n, m in zip(nodes, masks, strict=True)]
    np.testing.assert_allclose(single, double, rtol=1e-4)


@pytest.mark.parametrize("make", [linear_gaussian, bge])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "data must be finite.*got nan in row 0, column 1"),
        (np.array([[1.0, 2.0], [np.inf, 1.0]]), "data must be finite.*got inf in row 1, column 0"),
        (np.zeros((1, 3)), "data must have at least 2 rows .* got 1 and 3"),
        (np.zeros((3, 0)), "data must have at least 2 rows .* got 3 and 0"),
        (np.zeros(3), "data must be a matrix .* got 1 dimensions"),
        (np.array([["a", "b"], ["c", "d"]]), "data must hold real numbers"),
    ],
)
def test_bad_data_is_refused(make, bad, message):
    with pytest.raises(ValueError, match=message):
        make(bad)


def test_bad_parameters_are_refused(data):
    with pytest.raises(ValueError, match="noise_variance must be positive, got 1"):
        linear_gaussian(data, noise_variance=0.0)
    with pytest.raises(ValueError, match="alpha_w above num_nodes"):
        bge(data, alpha_w=5.0)


def test_integers_are_data():
    assert check_data([[1, 2], [3, 4]]).dtype == np.float64


def test_linear_gaussian_does_not_take_raw_units(data):
    with pytest.raises(ValueError, match="standardised, or noise_variance fit it: column 2 is"):
        linear_gaussian(data * [1, 1, 1e6, 1])
    with pytest.raises(ValueError, match="standardised, or noise_variance fit it: column 1 is"):
        linear_gaussian(data * [1, 1e-5, 1, 1])
    with pytest.warns(UserWarning, match="standardised, or noise_variance fit it: column 3 is"):
        linear_gaussian(data * [1, 1, 1, 100])
    raw = linear_gaussian(data * [1, 1e-5, 1e6, 100] + 3, standardise=True)
    ready = linear_gaussian((data - data.mean(0)) / data.std(0))
    np.testing.assert_allclose(raw.gain_table(), ready.gain_table(), rtol=1e-6)
    # Another size of the noise makes such units right.
    linear_gaussian(data * 1e6, noise_variance=1e11)


def test_standardised(data):
    result = standardised(data * 1e200 + 1e200)
    np.testing.assert_allclose(result.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose((result**2).mean(0), 1)
    with pytest.raises(ValueError, match="drop column 1, which is constant"):
        standardised([[1.0, 0.1], [2.0, 0.1], [3.0, 0.1]])
