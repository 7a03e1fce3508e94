"""Steps in a box and turns on a torus: densities integrate to 1, draws have them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gfnjax import Hyperparameters
from gfnjax.distributions import beta
from gfnjax.distributions.box import (
    BoxAction,
    CartesianStep,
    Choice,
    Interval,
    PolarStep,
    Quadrant,
    angle_limits,
)
from gfnjax.distributions.torus import Turn, Turns
from gfnjax.envs.box import Box, BoxState

SQUARE, PLANE, SOUTH_WEST = CartesianStep(2), PolarStep(), PolarStep(any_length=False)
NO = np.array(False)
SIDE = 250
# In single precision the density of an interval that is narrow would be off.
pytestmark = pytest.mark.usefixtures("x64")


def params_of(kind, seed=0, spread=0.7):
    """Of no component that goes to infinity, which no grid would do justice to."""
    leaves, structure = jax.tree.flatten(kind.neutral())
    rng = np.random.default_rng(seed)
    return structure.unflatten([x + spread * np.abs(rng.standard_normal(x.shape)) for x in leaves])


@partial(jax.jit, static_argnums=0)
def densities(kind, params, support, moves):
    """`[n]` of moves `[n, 2]` that are no leaps."""
    log_prob = lambda move: kind.log_prob(params, support, BoxAction(NO, move))  # noqa: E731
    return jnp.exp(jax.vmap(log_prob)(moves))


@partial(jax.jit, static_argnums=(0, 3))
def draw(kind, params, support, count, seed=0):
    noise = kind.noise(jax.random.key(seed), (count,))
    return jax.vmap(partial(kind.sample, params, support))(noise)


def inside(x, y):
    return BoxState(jnp.array([x, y]), ~NO, NO)


def midpoints(low, high, count=SIDE):
    return low + (high - low) * (np.arange(count) + 0.5) / count


def leap_probability(kind, params, support):
    nothing = BoxAction(~NO, jnp.zeros(2))
    return float(jnp.exp(kind.log_prob(params, support, nothing)))


@pytest.mark.parametrize(
    ("delta", "forward", "x"),
    [(0.04, True, (0.95, 0.2)), (0.1, False, (0.95, 0.2)), (0.25, True, (0.1, 0.6))],
)
def test_cartesian_densities_sum_to_one(delta, forward, x):
    env, state = Box(delta=delta), inside(*x)
    support = env.forward_mask(state) if forward else env.backward_mask(state)
    params = params_of(SQUARE)
    sides = [midpoints(a, b) for a, b in zip(support.low, support.high, strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    area = float(np.prod(support.high - support.low))
    leap = leap_probability(SQUARE, params, support)
    assert 0.05 < leap < 0.95
    mass = densities(SQUARE, params, support, grid).mean() * area
    assert mass + leap == pytest.approx(1, abs=2e-3)
    found = draw(SQUARE, params, support, 20_000)
    assert np.asarray(found.leap).mean() == pytest.approx(leap, abs=0.02)
    moves = np.asarray(found.move)[~np.asarray(found.leap)]
    for d in range(2):
        at = np.tile(np.asarray(support.low + support.high) / 2, (SIDE, 1))
        at[:, d] = sides[d]
        check_draws(moves[:, d], sides[d], np.asarray(densities(SQUARE, params, support, at)))


def check_draws(drawn, points, density):
    """Draws of one number against its density, up to a factor, in the middles of cells."""
    steps = np.concatenate([[0.0], np.cumsum(density)])
    ends = np.append(points, 2 * points[-1] - points[-2]) - (points[1] - points[0]) / 2
    truth = partial(np.interp, xp=ends, fp=steps / steps[-1])
    assert stats.kstest(drawn, truth).pvalue > 1e-3


def test_anywhere_from_the_source_of_a_cartesian_box():
    env, params = Box(delta=0.3), params_of(SQUARE, 1)
    support = env.forward_mask(env.initial_state())
    line = midpoints(0, 1)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    assert densities(SQUARE, params, support, grid).mean() == pytest.approx(1, abs=2e-3)
    assert not np.asarray(draw(SQUARE, params, support, 1_000).leap).any()


def test_the_quarter_disk():
    env, params = Box(delta=0.25, kind="polar"), params_of(PLANE)
    support = env.forward_mask(env.initial_state())
    line = midpoints(0, 0.25, 1_000)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid, axis=1) < 0.25]
    density = np.asarray(densities(PLANE, params, support, grid))
    assert density.sum() * (0.25 / 1_000) ** 2 == pytest.approx(1, abs=5e-3)
    found = draw(PLANE, params, support, 20_000)
    assert not np.asarray(found.leap).any()
    radius = np.linalg.norm(found.move, axis=1)
    assert radius.max() <= 0.25 * (1 + 1e-12)
    # Along a ray the density of the length has the factor r.
    ray = midpoints(0, 0.25)
    along = ray[:, None] * np.array([np.cos(1.0), np.sin(1.0)])
    check_draws(radius, ray, ray * np.asarray(densities(PLANE, params, support, along)))


@pytest.mark.parametrize("x", [(0.9, 0.5), (0.83, 0.86), (0.2, 0.2), (0.99, 0.1)])
def test_arcs(x):
    env, params, state = Box(delta=0.2, kind="polar"), params_of(PLANE), inside(*x)
    support = env.forward_mask(state)
    low, high = (np.pi / 2 * float(limit) for limit in angle_limits(support))
    angles = midpoints(low, high)
    arc = 0.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert (np.asarray(state.position) + arc <= 1).all()
    density = np.asarray(densities(PLANE, params, support, arc))
    leap = leap_probability(PLANE, params, support)
    assert density.mean() * 0.2 * (high - low) + leap == pytest.approx(1, abs=2e-3)
    found = draw(PLANE, params, support, 10_000)
    moves = np.asarray(found.move)[~np.asarray(found.leap)]
    np.testing.assert_allclose(np.linalg.norm(moves, axis=1), 0.2, rtol=1e-9)
    check_draws(np.arctan2(*moves.T[::-1]), angles, density)
    # The whole circle beyond the limits is outside of the box.
    for angle in (low - 0.01, high + 0.01):
        away = np.asarray(state.position) + 0.2 * np.array([np.cos(angle), np.sin(angle)])
        assert (away > 1).any() or not 0 <= angle <= np.pi / 2


def test_arcs_back():
    env, params = Box(delta=0.2, kind="polar"), params_of(SOUTH_WEST)
    support = env.backward_mask(inside(0.15, 0.7))
    low, high = (np.pi / 2 * float(limit) for limit in angle_limits(support))
    assert (low, high) == pytest.approx((np.arccos(0.75), np.pi / 2))
    angles = midpoints(low, high)
    arc = 0.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    density = np.asarray(densities(SOUTH_WEST, params, support, arc))
    assert density.mean() * 0.2 * (high - low) == pytest.approx(1, abs=2e-3)
    # From within the disk there is but the source.
    support = env.backward_mask(inside(0.1, 0.1))
    assert leap_probability(SOUTH_WEST, params, support) == 1.0
    assert np.asarray(draw(SOUTH_WEST, params, support, 100).leap).all()


def test_no_arc_leaves_a_corner():
    env = Box(delta=0.2, kind="polar")
    for x in ((0.9, 0.9), (1.0, 0.3), (0.3, 1.0)):
        support = env.forward_mask(inside(*x))
        assert support.choice.must_leap, x
    assert not env.forward_mask(inside(0.85, 0.85)).choice.must_leap


@pytest.mark.parametrize("kind", ["polar", "cartesian"])
def test_a_density_is_that_of_its_numbers_over_the_jacobian(kind):
    """Both make a move of two numbers in [0, 1]: a change of variables, by differentiation."""
    actions = PLANE if kind == "polar" else SQUARE
    params, choice = params_of(actions, 3), Choice(~NO, NO, NO)
    gap = jnp.array([0.8, 0.7])
    supports = {
        "polar": Quadrant(choice, gap, jnp.asarray(0.4), ~NO),
        "cartesian": Interval(choice, jnp.array([0.2, 0.2]), gap),
    }

    def move(u):
        if kind == "cartesian":
            return 0.2 + u * (gap - 0.2)
        angle = jnp.pi / 2 * u[0]
        return 0.4 * u[1] * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    for u in np.random.default_rng(0).random((5, 2)):
        of_numbers = sum(float(beta.log_density(params.moves[d], u[d])) for d in range(2))
        volume = np.log(np.abs(np.linalg.det(jax.jacfwd(move)(jnp.asarray(u)))))
        found = actions.log_prob(params, supports[kind], BoxAction(NO, move(jnp.asarray(u))))
        assert float(found) == pytest.approx(of_numbers - volume, abs=1e-9)


@pytest.mark.parametrize("actions", [SQUARE, PLANE])
def test_exploration(actions):
    env = Box(delta=0.2, kind="polar" if actions is PLANE else "cartesian")
    support, params = env.forward_mask(inside(0.3, 0.4)), params_of(actions, spread=0.0)
    params = params._replace(leap=jnp.asarray(4.0))

    def share(**values):
        values = {"epsilon": 0.0, "temperature": 1.0} | values
        numbers = Hyperparameters(**{k: jnp.asarray(v) for k, v in values.items()})
        explored = actions.explore(params, support, numbers)
        return np.asarray(draw(actions, explored, support, 10_000).leap).mean()

    sure = 1 / (1 + np.exp(-4))
    assert share(epsilon=0.0) == pytest.approx(sure, abs=0.01)
    assert share(epsilon=1.0) == pytest.approx(0.5, abs=0.02)
    assert share(epsilon=0.5) == pytest.approx((sure + 0.5) / 2, abs=0.02)
    assert share(temperature=4.0) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.02)


def test_turns():
    turn, params = Turn(2), params_of(Turn(2))
    free = Turns(~NO, ~NO, jnp.zeros(2))
    line = midpoints(-np.pi, np.pi, 200)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    found = jnp.exp(jax.vmap(partial(turn.log_prob, params, free))(grid))
    assert found.mean() * (2 * np.pi) ** 2 == pytest.approx(1, abs=1e-6)
    again = jnp.exp(jax.vmap(partial(turn.log_prob, params, free))(grid[:9] - 2 * np.pi))
    np.testing.assert_allclose(again, found[:9], rtol=1e-9)
    # Where there is one thing to do it is done, with probability 1.
    only = Turns(~NO, NO, jnp.array([1.0, -2.0]))
    assert (draw(turn, params, only, 10) == only.only[None]).all()
    assert turn.log_prob(params, only, only.only) == 0.0
    assert turn.allows(only, only.only + 2 * np.pi)
    assert not turn.allows(only, only.only + 0.1)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="num_components must be at least 1, got 0"):
        CartesianStep(2, 0)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Turn(0)
