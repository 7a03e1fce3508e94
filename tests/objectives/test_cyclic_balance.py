"""Regularised, stable and prefix balance of a trajectory worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import Scores
from gfnjax.objectives import ForwardLooking
from gfnjax.objectives.base import loss_and_errors, weighted_loss
from gfnjax.objectives.cyclic_balance import (
    RegularisedDetailedBalance,
    StableDetailedBalance,
    bounded_exp,
    inner_flow,
)
from gfnjax.objectives.prefix_balance import PrefixTrajectoryBalance
from gfnjax.objectives.regression import square

LOG_PF = np.array([-0.5, -1.0, -0.2, 0.0])
LOG_PB = np.array([-0.3, -0.4, -0.1, 0.0])
LOG_FLOW = np.array([1.0, 0.5, -0.5, 0.25, 0.0])


def scores(**changes):
    """s_0 -> a -> b -> x, R(x) = e^.25, padded to four steps; a batch of one."""
    one = Scores(
        log_pf=jnp.asarray(LOG_PF, jnp.float32),
        log_pb=jnp.asarray(LOG_PB, jnp.float32),
        log_flow=jnp.asarray(LOG_FLOW, jnp.float32),
        log_reward=jnp.float32(0.25),
        log_z=jnp.float32(0.8),
        mask=jnp.array([True, True, True, False]),
        length=jnp.int32(3),
        complete=jnp.bool_(True),
        log_stop=jnp.array([-1e30, -1.5, -0.2, 0.0, 0.0], jnp.float32),
        log_partial_reward=jnp.array([0.0, -0.75, 0.25, 0.25, 0.0], jnp.float32),
    )._replace(**changes)
    return jax.tree.map(lambda x: x[None], one)


A = LOG_FLOW[:3] + LOG_PF[:3]
B = LOG_FLOW[1:4] + LOG_PB[:3]
F = np.exp(LOG_FLOW[:3])
INNER = np.array([0.0, F[1], F[2]])


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (RegularisedDetailedBalance(0.0), ((A - B) ** 2).mean()),
        (RegularisedDetailedBalance(0.1), ((A - B) ** 2 + 0.1 * INNER).mean()),
        (
            RegularisedDetailedBalance(0.1, "flow"),
            ((np.exp(A) - np.exp(B)) ** 2 + 0.1 * INNER).mean(),
        ),
        (
            StableDetailedBalance("log", 1.5, 2.0, 0.7, 0.3, 0.05),
            (np.log1p(0.7 * np.abs(A - B) ** 1.5) * (1 + 0.3 * F) ** 2 + 0.05 * INNER).mean(),
        ),
        (
            StableDetailedBalance("flow", eta=0.5),
            (np.log1p((np.exp(A) - np.exp(B)) ** 2) * (1 + 0.5 * F)).mean(),
        ),
    ],
)
def test_losses_by_hand(objective, expected):
    # Per transition: three of them, whatever the padding.
    np.testing.assert_allclose(weighted_loss(objective, square, scores()), expected, rtol=1e-5)
    _, errors = loss_and_errors(objective, square, scores())
    np.testing.assert_allclose(errors, [expected], rtol=1e-5)


def test_prefixes_by_hand():
    ratio = np.cumsum((LOG_PF - LOG_PB)[:2])
    values = 0.8 + ratio + np.array([-1.5, -0.2]) - np.array([-0.75, 0.25])
    flows = np.exp(np.array([-0.75 + 1.5, 0.25 + 0.2]))
    plain, regularised = PrefixTrajectoryBalance(), PrefixTrajectoryBalance(0.1)
    loss = weighted_loss(plain, square, scores())
    np.testing.assert_allclose(loss, (values**2).mean(), rtol=1e-5)
    loss = weighted_loss(regularised, square, scores())
    np.testing.assert_allclose(loss, (values**2 + 0.1 * flows).mean(), rtol=1e-5)
    # One that was cut in its last state has a prefix more; one from elsewhere has none.
    cut = scores(complete=jnp.bool_(False), from_source=jnp.bool_(True))
    residuals = jax.vmap(plain.residuals)(cut)
    np.testing.assert_array_equal(residuals.weights[0], [0, 1, 1, 1, 0])
    elsewhere = scores(from_source=jnp.bool_(False))
    np.testing.assert_array_equal(jax.vmap(plain.residuals)(elsewhere).weights, 0)


def test_the_flow_of_the_source_costs_nothing():
    flow = jax.vmap(inner_flow)
    np.testing.assert_allclose(flow(scores())[0], [0, F[1], F[2], 0], rtol=1e-6)
    elsewhere = scores(from_source=jnp.bool_(False))
    np.testing.assert_allclose(flow(elsewhere)[0], [*F, 0], rtol=1e-6)


@pytest.mark.parametrize("scale", ["log", "flow"])
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_gradients_are_finite_at_zero_and_far_away(scale, alpha):
    objective = StableDetailedBalance(scale, alpha, flow_regularisation=1e-3)
    for flow in (jnp.zeros(5), jnp.full(5, 60.0), jnp.full(5, -60.0)):
        even = scores(log_pf=jnp.zeros(4), log_pb=jnp.zeros(4), log_flow=flow)
        grads = jax.grad(lambda s: weighted_loss(objective, square, s), allow_int=True)(even)
        assert np.isfinite(grads.log_flow).all()
        assert np.isfinite(grads.log_pf).all()


def gradient(objective, **changes):
    """Of the loss, with respect to log F and log P_F(stop), `[T + 1]` each."""
    given = scores(**changes)

    def loss(log_flow, log_stop):
        return weighted_loss(
            objective, square, given._replace(log_flow=log_flow, log_stop=log_stop)
        )

    return [np.asarray(g[0]) for g in jax.grad(loss, (0, 1))(given.log_flow, given.log_stop)]


@pytest.mark.parametrize("high", [17.0, 40.0, 300.0])
def test_large_flows_are_learned_on_their_scale(high):
    # The second state is too large, so its log F must fall; nothing else is beyond.
    objective = RegularisedDetailedBalance(0.0, "flow")
    grads, _ = gradient(objective, log_flow=jnp.array([1.0, high, 0.0, 0.25, 0.0]))
    assert grads[1] > 1e6
    assert np.isfinite(np.float32(grads) @ np.float32(grads))
    # Both beyond, by one another: the larger one falls.
    grads, _ = gradient(objective, log_flow=jnp.array([high + 9.0, high, high, 0.25, 0.0]))
    assert grads[0] > 1e6


@pytest.mark.parametrize("high", [17.0, 40.0, 300.0])
def test_regularisers_of_large_flows_have_a_slope(high):
    plain, regularised = (
        gradient(RegularisedDetailedBalance(weight), log_flow=jnp.full(5, high))[0]
        for weight in (0.0, 0.3)
    )
    # Of the states left behind but s_0, a third each.
    np.testing.assert_allclose((regularised - plain)[1:3], 0.1 * np.exp(16.0), rtol=1e-4)
    # F = R / P_F(stop): less of it is a likelier stop.
    plain, regularised = (
        gradient(
            PrefixTrajectoryBalance(weight), log_stop=jnp.array([-1e30, -high, -0.2, 0.0, 0.0])
        )[1]
        for weight in (0.0, 0.3)
    )
    assert (regularised - plain)[1] == pytest.approx(-0.15 * np.exp(16.0), rel=1e-3)


def test_the_bound_of_flows_is_smooth():
    x = jnp.array([-jnp.inf, -60.0, 3.0, 15.9, 16.0, 16.5, 20.0])
    expected = np.where(x <= 16, np.exp(x), np.exp(16.0) * (np.asarray(x) - 15))
    np.testing.assert_allclose(bounded_exp(x), expected, rtol=1e-6)
    slope = jax.vmap(jax.grad(bounded_exp))(x)
    np.testing.assert_allclose(slope, np.exp(np.minimum(x, 16)), rtol=1e-6)


def test_numbers_out_of_range_are_refused():
    for make, words in (
        (lambda: RegularisedDetailedBalance(-1.0), "flow_regularisation must not be negative"),
        (lambda: RegularisedDetailedBalance(scale="linear"), "scale must be log or flow"),
        (lambda: StableDetailedBalance(alpha=0.5), "alpha must be at least 1"),
        (lambda: StableDetailedBalance(eps=0.0), "eps must be positive"),
        (lambda: PrefixTrajectoryBalance(-1.0), "flow_regularisation must not be negative"),
        # Its regulariser would be left out.
        (lambda: ForwardLooking(RegularisedDetailedBalance()), "base must balance flows"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
