"""Rewards of the hypergrid against exact rational arithmetic and published values of log Z."""

import math
from fractions import Fraction
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.identity import classes

STANDARD, EASY, HARD = (gfnjax.corners(name) for name in ("standard", "easy", "hard"))
LOW = gfnjax.Corners(r0=0.01)

# Exact values by enumeration, to five digits at least; rows are (dimensions, side).
LOG_Z = {
    (2, 8): {STANDARD: 3.109061, LOW: 2.811809, EASY: 2.776581, HARD: 3.332430},
    (4, 8): {STANDARD: 6.344934, LOW: 5.303106, EASY: 5.100452, HARD: 5.718370},
    (2, 16): {STANDARD: 4.183576, LOW: 3.750915, EASY: 3.695259},
    (4, 16): {STANDARD: 9.063417, LOW: 7.914018, EASY: 7.671145, HARD: 8.331000},
    (2, 20): {STANDARD: 4.804021, LOW: 4.454347, EASY: 4.411585, HARD: 4.997480},
    (4, 20): {EASY: 8.643300, HARD: 9.285820},
    (2, 64): {STANDARD: 7.098045, LOW: 6.734544, EASY: 6.689719, HARD: 7.283730},
}
COSINE_LOG_Z = {(2, 8): 1.895260, (2, 16): 3.403365, (2, 32): 4.798264}
UNIFORM_TV = {(2, 8): 0.7470, (4, 8): 0.9141, (4, 20): 0.9111}  # easy


@partial(jax.jit, static_argnums=1)
def all_log_rewards(env, kinds):
    """log R of every cell, through the environment; `kinds` tell rewards of equal form apart."""
    index = jnp.arange(env.side**env.num_dims, dtype=jnp.int32)
    return jax.vmap(lambda i: env.log_reward(env.state_at(i)))(index)


def rewards(num_dims, side, reward):
    env = gfnjax.Hypergrid(num_dims, side, reward)
    return np.exp(np.asarray(all_log_rewards(env, classes(env)), np.float64))


@pytest.mark.parametrize("size", LOG_Z, ids=str)
def test_log_z_of_corners(size):
    for reward, expected in LOG_Z[size].items():
        np.testing.assert_allclose(np.log(rewards(*size, reward).sum()), expected, atol=6e-6)


@pytest.mark.parametrize("size", COSINE_LOG_Z, ids=str)
def test_log_z_of_cosine(size):
    total = rewards(*size, gfnjax.Cosine()).sum()
    np.testing.assert_allclose(np.log(total), COSINE_LOG_Z[size], atol=6e-6)


@pytest.mark.parametrize("size", UNIFORM_TV, ids=str)
def test_distance_of_the_easy_target_from_uniform(size):
    target = rewards(*size, EASY)
    tv = np.abs(target / target.sum() - 1 / target.size).sum() / 2
    np.testing.assert_allclose(tv, UNIFORM_TV[size], atol=5e-5)


@pytest.mark.parametrize(("num_dims", "side"), [(2, 8), (3, 5), (1, 7)])
def test_log_z_of_sparse_in_closed_form(num_dims, side):
    # 2^D corners of the inner box, H^D floors of 1e-12.
    total = rewards(num_dims, side, gfnjax.Sparse()).sum()
    np.testing.assert_allclose(total, 2**num_dims + 1e-12 * side**num_dims, rtol=1e-6)
    np.testing.assert_allclose(rewards(num_dims, side, gfnjax.Sparse()).min(), 1e-12, rtol=1e-5)


def exact_indicators(cell, side):
    """corner, ring, moat of one cell in rational arithmetic, straight from the definition."""
    a = [abs(Fraction(x, side - 1) - Fraction(1, 2)) for x in cell]
    return (
        all(x > Fraction(1, 4) for x in a),
        all(Fraction(3, 10) < x < Fraction(2, 5) for x in a),
        all(x > Fraction(1, 10) for x in a),
    )


# Sides 11, 16 and 21 put cells on the lines a = 1/10, 1/4, 3/10 and 2/5.
@pytest.mark.parametrize("side", [2, 3, 8, 11, 16, 21, 41])
def test_indicators_are_strict_and_exact(side):
    cells = list(product(range(side), repeat=2))
    corner, ring, moat = np.array([exact_indicators(cell, side) for cell in cells]).T
    assert side < 8 or (corner.any() and moat.any())
    # Powers of two tell the terms apart: no sum of them is another.
    expected = 1.0 + 2.0 * corner + 4.0 * ring
    np.testing.assert_allclose(rewards(2, side, gfnjax.Corners(1.0, 2.0, 4.0)), expected, rtol=1e-5)
    expected = 1.0 + 2.0 * ~moat + 4.0 * ring
    np.testing.assert_allclose(
        rewards(2, side, gfnjax.Deceptive(1.0, 2.0, 4.0)), expected, rtol=1e-5
    )


def test_grid_lines_on_which_floats_go_wrong():
    # H = 11: x = 2 has a = 3/10 and x = 1 has a = 2/5: neither is inside of the open ring.
    env = gfnjax.Hypergrid(1, 11, gfnjax.Corners(1.0, 0.0, 4.0))
    for x in (1, 2, 8, 9):
        assert env.log_reward(HypergridState(jnp.array([x]), jnp.ones((), bool))) == 0


def test_cosine_by_hand():
    def expected(cell):
        product_ = 1.0
        for x in cell:
            a = abs(x / 4 - 0.5)
            density = math.exp(-0.5 * (5 * a) ** 2) / math.sqrt(2 * math.pi)
            product_ *= (math.cos(50 * a) + 1) * density
        return 0.1 + 0.5 * product_

    cells = product(range(5), repeat=2)
    np.testing.assert_allclose(
        rewards(2, 5, gfnjax.Cosine()), [expected(cell) for cell in cells], rtol=1e-5
    )


def test_variants():
    assert tuple(vars(STANDARD).values()) == (0.1, 0.5, 2.0)
    assert tuple(vars(EASY).values()) == (1e-3, 0.5, 2.0)
    assert tuple(vars(HARD).values()) == (1e-4, 1.0, 3.0)
    with pytest.raises(ValueError, match="variant must be one of standard, easy, hard, got 'huge'"):
        gfnjax.corners("huge")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "make", [gfnjax.corners, gfnjax.Cosine, gfnjax.Deceptive, partial(gfnjax.Sparse, 1e-12)]
)
def test_double_precision(make):
    env = gfnjax.Hypergrid(2, 8, make())
    log_rewards = all_log_rewards(env, classes(env))
    assert log_rewards.dtype == jnp.float64
    assert np.isfinite(log_rewards).all()
