import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.detailed_balance import TargetDetailedBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.tabular import tabular_policy
from gfnjax.rewards.ising import IsingReward, lattice, neg_log_rmse, sample_ising

TRUTH = 0.25


@pytest.fixture(scope="module")
def data():
    couplings = lattice(2, TRUTH).couplings
    return IsingState(jax.jit(sample_ising, static_argnums=2)(jax.random.key(1), couplings, 4000))


def describe(data, **options):
    env = Ising(2, IsingReward(jnp.zeros((4, 4))))
    gfn = GFlowNet(
        env,
        tabular_policy(env),
        TrajectoryBalance(),
        batch_size=64,
        hyperparameters=Hyperparameters(learning_rate=5e-2),
    )
    return EnergyGFlowNet(gfn, data, num_back=2, **options)


@jax.jit
def step(description, state):
    return description.step(state)


@jax.jit
def run(description, state):
    return lax.scan(lambda state, _: description.step(state), state, length=800)


@pytest.mark.long
def test_it_recovers_the_couplings(data, key):
    description = describe(data, learning_rate=2e-3)
    state, info = run(description, description.init(key))
    couplings = state.reward.couplings
    # 4000 samples leave a standard error of about .01: -log RMSE near 4.5.
    assert float(neg_log_rmse(couplings, lattice(2, TRUTH).couplings)) > 3.3
    np.testing.assert_allclose(couplings, couplings.T, atol=1e-6)
    np.testing.assert_allclose(jnp.diagonal(couplings), 0.0, atol=1e-6)
    assert float(info.acceptance[-100:].mean()) > 0.85
    assert abs(float(info.contrast[-200:].mean())) < 0.05
    log_z = np.log(2 * np.exp(8 * TRUTH) + 2 * np.exp(-8 * TRUTH) + 12)
    assert abs(float(state.gfn.params.log_z) - log_z) < 0.4


@pytest.mark.slow
def test_the_reward_moves_towards_the_data_and_l1_pulls_it_back(data, key):
    description = describe(data)
    state = description.init(key)
    first, info = step(description, state)
    # With J = 0 neighbours are uncorrelated; in the data they agree.
    neighbours = lattice(2, 1.0).couplings > 0
    assert (np.asarray(first.reward.couplings)[np.asarray(neighbours)] > 0).all()
    assert float(info.contrast) == pytest.approx(0.0)
    positive = state._replace(reward=IsingReward(jnp.full((4, 4), 0.2)))
    pulled, _ = step(description.replace(l1=100.0), positive)
    assert (np.asarray(pulled.reward.couplings) < 0.2).all()


@pytest.mark.slow
def test_steps_are_pure_and_the_sampler_follows_the_reward(data, key):
    description = describe(data)
    state = description.init(key)
    once, _ = step(description, state)
    again, _ = step(description, state)
    for a, b in zip(jax.tree.leaves(once.reward), jax.tree.leaves(again.reward), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(once.gfn.step) == 1
    np.testing.assert_array_equal(
        description.sampler(once).env.reward.couplings, once.reward.couplings
    )


def test_errors(data):
    with pytest.raises(ValueError, match="num_back must be between 1 and max_steps = 4, got 5"):
        EnergyGFlowNet(describe(data).gfn, data, num_back=5)
    with pytest.raises(ValueError, match=r"data_share must be in \[0, 1\), got 1"):
        describe(data, data_share=1)
    gfn = describe(data).gfn
    with pytest.raises(ValueError, match=r"data_share must leave .* 0\.5 of a batch of 1 is 0"):
        EnergyGFlowNet(gfn.replace(batch_size=1), data, num_back=2)
    clipped = gfn.replace(max_grad_norm=1.0)
    with pytest.raises(ValueError, match=r"gfn\.max_grad_norm is not supported here.*got 1.0"):
        EnergyGFlowNet(clipped, data, num_back=2)
    target = gfn.replace(objective=TargetDetailedBalance(), target_rate=0.1)
    with pytest.raises(ValueError, match=r"gfn\.target_rate is not supported here"):
        EnergyGFlowNet(target, data, num_back=2)
