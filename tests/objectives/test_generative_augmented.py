import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    LogPartitionVariance,
    TrajectoryBalance,
    tabular_policy,
)
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.generative_augmented import GAFlowNet
from gfnjax.objectives.regression import square

ENV = Hypergrid(2, 3)
POLICY = tabular_policy(ENV)


@pytest.fixture
def seen(two):
    """With the novelty of the visited states."""
    return two._replace(auxiliary=jnp.array([[0.3, 0.1, 0.2, 0.0], [0.4, 0.2, 0.6, 0.8]]))


@pytest.mark.parametrize("base", [TrajectoryBalance(), DetailedBalance()])
def test_without_intrinsic_rewards_it_is_the_base(base, seen):
    objective = GAFlowNet(base, edge_scale=0.0, terminal_scale=0.0)
    ours, plain = (jax.vmap(o.residuals)(seen) for o in (objective, base))
    np.testing.assert_array_equal(ours.values, plain.values)
    np.testing.assert_array_equal(ours.weights, plain.weights)
    scores = resolve_log_z(objective.log_z, seen)
    np.testing.assert_array_equal(scores.log_z, resolve_log_z(base.log_z, seen).log_z)


def test_novelty_has_a_gradient_in_its_own_fit_only(seen):
    objective = GAFlowNet(DetailedBalance())

    def loss(novelty):
        return weighted_loss(objective, square, seen._replace(auxiliary=novelty))

    # Its mean over three and four visited states, over two trajectories.
    expected = [[1 / 6, 1 / 6, 1 / 6, 1 / 6], [1 / 8, 1 / 8, 1 / 8, 1 / 8]]
    np.testing.assert_allclose(jax.grad(loss)(seen.auxiliary), expected, rtol=1e-5)


@pytest.mark.long
def test_what_has_been_seen_is_no_longer_new(key):
    gfn = GFlowNet(
        ENV,
        POLICY,
        GAFlowNet(DetailedBalance()),
        hyperparameters=Hyperparameters(learning_rate=1e-2),
        batch_size=16,
    )

    @jax.jit
    def run(key):
        init_key, sample_key = jax.random.split(key)
        start = gfn.init(init_key)
        state, _ = jax.lax.scan(lambda s, _: gfn.step(s), start, length=300)
        trajectories = gfn.sample(start.params, sample_key, 16)
        novelty = [gfn.score(s.params, trajectories).auxiliary for s in (start, state)]
        return start, state, trajectories, novelty

    start, state, trajectories, (before, after) = run(key)
    before = np.asarray(before)
    visited = np.arange(before.shape[1])[None] <= np.asarray(trajectories.length)[:, None]
    assert (before[visited] > 0).all()
    np.testing.assert_array_equal(before[~visited], 0)
    assert after.sum() < 0.05 * before.sum()
    # The random network stays as it was, the predictor does not.
    moved = jax.tree.map(
        lambda x, y: float(jnp.abs(x - y).max()), start.params.objective, state.params.objective
    )
    assert max(jax.tree.leaves(moved["random"])) == 0
    assert max(jax.tree.leaves(moved["predictor"])) > 0.01


def test_it_learns_from_windows_if_its_base_does():
    assert GAFlowNet(DetailedBalance()).incomplete
    assert not GAFlowNet(TrajectoryBalance()).incomplete


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": LogPartitionVariance()}, "base must balance flows along a trajectory"),
        ({"edge_scale": -1.0}, "edge_scale must not be negative, got -1.0"),
        ({"terminal_scale": float("nan")}, "terminal_scale must not be negative, got nan"),
        ({"num_features": 0}, "num_features must be at least 1, got 0"),
        ({"hidden_sizes": (-1,)}, r"hidden_sizes must be positive widths, got \(-1,\)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        GAFlowNet(**options)
