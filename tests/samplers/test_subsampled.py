"""Gradients of some states: right on average, exact where all are drawn, values untouched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    LogPartitionVariance,
    TrajectoryBalance,
    UniformBackward,
    tabular_policy,
)
from gfnjax.objectives.entropy_ppo import EntropyPPO
from gfnjax.replay import Fifo
from gfnjax.samplers import Groups, Mixed, OnPolicy, Subsampled

ENV = Hypergrid(2, 4)
BATCH = 8


def describe(objective, sampler):
    given = {"sampler": sampler, "backward": UniformBackward(), "batch_size": BATCH}
    return GFlowNet(ENV, tabular_policy(ENV), objective, **given)


@jax.jit
def drawn(gfn, key):
    """Weights `[B, T + 1]`, how many visits, the loss and its gradient, and those of all visits."""
    state = gfn.init(jax.random.key(0))._replace(key=key)
    batch, _ = gfn.draw(state)

    def loss(params, rows):
        scores = gfn.score(params, batch.trajectories, rows=rows)
        return (jax.vmap(gfn.objective.residuals)(scores).values ** 2).mean()

    some = jax.value_and_grad(loss)(state.params, batch.rows)
    every = jax.value_and_grad(loss)(state.params, batch.rows._replace(weight=None))
    return batch.rows.weight, (batch.trajectories.length + 1).sum(dtype=jnp.int32), some, every


@pytest.mark.slow
@pytest.mark.parametrize("objective", [DetailedBalance(), TrajectoryBalance(log_z="flow")])
def test_the_gradient_is_right_on_average(objective):
    gfn = describe(objective, Subsampled(6))
    keys = jax.random.split(jax.random.key(1), 500)
    _, _, (value, some), (other, every) = jax.jit(jax.vmap(drawn, (None, 0)))(gfn, keys)
    np.testing.assert_array_equal(value, other)
    some, every = (jax.vmap(lambda x: ravel_pytree(x)[0])(g.policy) for g in (some, every))
    error = np.asarray(some - every)
    scatter = error.std(axis=0)
    assert scatter.max() > 0.1 * np.abs(every).max() > 0
    assert (np.abs(error.mean(axis=0)) <= 5 * scatter / np.sqrt(len(keys)) + 1e-7).all()


def test_so_many_are_drawn_and_stand_for_all():
    weight, visits, _, _ = drawn(describe(DetailedBalance(), Subsampled(6)), jax.random.key(2))
    assert (weight > 0).sum() == 6
    assert weight.sum() == pytest.approx(int(visits))


def test_of_few_states_all():
    weight, visits, some, every = drawn(
        describe(DetailedBalance(), Subsampled(1000)), jax.random.key(2)
    )
    assert (weight == 1).sum() == visits
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), some, every)


def test_groups_stay_together():
    groups = Groups(4, tempered_share=0.0)
    gfn = describe(LogPartitionVariance(log_z="group"), Subsampled(6, groups))
    weight, _, (value, _), (other, _) = drawn(gfn, jax.random.key(2))
    assert gfn.sampler.draws_groups
    assert not Subsampled(6).draws_groups
    assert (weight > 0).sum() == 6
    assert value == other


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Subsampled(0), "max_states must be at least 1, got 0"),
        (lambda: describe(EntropyPPO(), Subsampled(4)), "compares whole policies"),
        (
            lambda: drawn(
                describe(DetailedBalance(), Subsampled(4, Mixed(Fifo(8)))), jax.random.key(0)
            ),
            "needs batches whose scores the rollout has recorded",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sampler_of_its_own():
    assert Subsampled(4) == Subsampled(4, OnPolicy())
    assert hash(Subsampled(4)) != hash(Subsampled(5))
