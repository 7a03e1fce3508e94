import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hyperparameters,
    SubTrajectoryBalance,
    Trajectory,
    tabular_policy,
)
from gfnjax.envs.sets import SetState, additive_set
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.learned_decomposition import LEDGFN, Decomposition
from gfnjax.objectives.regression import square

ENERGIES = np.array([0.4, -1.2, 0.7, -0.5])
ENV = additive_set(ENERGIES, 2)
POLICY = tabular_policy(ENV)


def decomposed(two, increments):
    increments = jnp.array(increments)
    return two._replace(auxiliary=Decomposition(increments, two.mask))


def test_flows_by_hand(two):
    # The increments so far are added to F~, and the end is log R, whatever they add up to.
    scores = jax.vmap(LEDGFN().adapt)(decomposed(two, [[0.5, 9.0, 0.0], [0.1, 0.2, -7.0]]))
    expected = [[2.2, 2.0, 0.3, 0.0], [1.0, 0.6, 0.55, -1.0]]
    np.testing.assert_allclose(scores.log_flow, expected, rtol=1e-6)


@pytest.mark.parametrize("base", [DetailedBalance(), SubTrajectoryBalance()])
def test_with_the_right_increments_it_is_the_base(base, two):
    # F~ = F - e for a potential e of (0, 1, .) and (0, -1, 2, .).
    e = jnp.array([[0.0, 1.0, 0.3, 0.0], [0.0, -1.0, 2.0, -1.0]])
    before = jnp.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    shifted = two._replace(log_flow=two.log_flow - before * e)
    scores = decomposed(shifted, [[1.0, -0.7, 0.0], [-1.0, 3.0, -3.0]])
    objective = LEDGFN(base)
    ours = weighted_loss(objective, square, jax.vmap(objective.adapt)(scores))
    extra = jax.vmap(objective.extra_loss)(scores).mean()
    np.testing.assert_allclose(ours - extra, weighted_loss(base, square, two), rtol=1e-5)


def test_whatever_the_increments_the_residuals_add_up_to_trajectory_balance(two):
    scores = decomposed(two, [[0.5, 9.0, 0.0], [0.1, 0.2, -7.0]])
    residuals = jax.vmap(LEDGFN().residuals)(jax.vmap(LEDGFN().adapt)(scores))
    # Of the plain residuals: .2 + .9 and .4 + .15 + 1.15.
    np.testing.assert_allclose(residuals.values.sum(axis=1), [1.1, 1.7], rtol=1e-5)


def test_the_fit_by_hand(two):
    # All kept: (mean phi - log R / L)^2; then the first of two and none of three.
    increments = [[0.5, 1.0, 0.0], [0.1, 0.2, -0.6]]
    scores = decomposed(two, increments)
    loss = jax.vmap(LEDGFN().extra_loss)
    np.testing.assert_allclose(loss(scores), [(0.75 - 0.15) ** 2, (-0.1 + 1 / 3) ** 2], rtol=1e-5)
    kept = jnp.array([[True, False, False], [False, False, False]])
    dropped = scores._replace(auxiliary=Decomposition(jnp.array(increments), kept))
    np.testing.assert_allclose(loss(dropped), [(0.5 - 0.15) ** 2, 0.0], rtol=1e-5)


def test_no_gradient_of_the_flows_reaches_the_potential(two):
    scores = decomposed(two, [[0.5, 1.0, 0.0], [0.1, 0.2, -0.6]])

    def loss(increments, objective):
        seen = scores._replace(auxiliary=Decomposition(increments, two.mask))
        return weighted_loss(objective, square, jax.vmap(objective.adapt)(seen))

    grad = jax.grad(loss)(scores.auxiliary.increments, LEDGFN())
    # Of the fit alone: 2 (mean - log R / L) / L, over two trajectories.
    expected = [[0.6 / 2] * 2 + [0.0], [2 * (-0.1 + 1 / 3) / 3 / 2] * 3]
    np.testing.assert_allclose(grad, expected, rtol=1e-5)


def test_dropout_needs_a_key(key):
    # One trajectory that has ended after one of two steps, 256 times.
    objective = LEDGFN(dropout=0.5)
    members = jnp.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], bool)
    length = jnp.array(1, jnp.int32)
    path = Trajectory(SetState(members), jnp.array([1, 0], jnp.int32), length, jnp.zeros(()))

    @jax.jit
    def assist(key):
        params = objective.init(key, ENV)
        keys = jax.random.split(key, 256)
        plain = objective.assist(params, ENV, path, None)
        return plain, jax.vmap(lambda k: objective.assist(params, ENV, path, k))(keys)

    plain, dropped = assist(key)
    np.testing.assert_array_equal(plain.kept, [True, False])
    np.testing.assert_array_equal(plain.increments, [0, 0])  # the base at first
    np.testing.assert_allclose(dropped.kept.mean(axis=0), [0.5, 0], atol=0.12)  # 3.8 sigma


@pytest.mark.long
def test_it_learns_the_target_and_the_reward_in_parts(key):
    gfn = GFlowNet(
        ENV,
        POLICY,
        LEDGFN(hidden_sizes=(32,)),
        hyperparameters=Hyperparameters(learning_rate=0.02),
        batch_size=32,
    )
    graph = build_graph(ENV)

    @jax.jit
    def run(key):
        init_key, sample_key = jax.random.split(key)
        state, _ = jax.lax.scan(lambda s, _: gfn.step(s), gfn.init(init_key), length=600)
        table = exact.policy_table(gfn.model, state.params)
        scores = gfn.score(state.params, gfn.sample(state.params, sample_key, 16))
        return exact.evaluate(graph, table.log_pf, scores.log_z[0]), scores

    metrics, scores = run(key)
    assert metrics.total_variation < 0.02
    assert metrics.log_z_error < 0.03
    parts = scores.auxiliary.increments
    assert jnp.abs(parts.sum(axis=1) - scores.log_reward).mean() < 0.15
    # Each step has its share, neither all at the end nor all at the start.
    assert (jnp.abs(parts).min(axis=0) < jnp.abs(parts).max(axis=0)).all()
    assert (jnp.abs(parts).max(axis=0) > 0.3).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": FlowMatching()}, "base must balance flows along a trajectory"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"hidden_sizes": (0,)}, r"hidden_sizes must be positive widths, got \(0,\)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        LEDGFN(**options)
