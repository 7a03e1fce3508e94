import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, tabular_policy, train
from gfnjax.envs.diffusion import Diffusion
from gfnjax.errors import MissingExtraError
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.diffusion import diffusion_policy
from gfnjax.replay import RankPrioritised, TerminalReplay
from gfnjax.rewards.densities import gaussian
from gfnjax.samplers import LangevinSearch, Mixed


def describe(env=None, **options):
    env = Diffusion(gaussian(2, 3.0, 0.25), num_steps=3) if env is None else env
    policy = diffusion_policy(env, width=8)
    return GFlowNet(env, policy, TrajectoryBalance(), UniformBackward(), **options)


@pytest.mark.slow
def test_chains_come_to_the_target(key):
    gfn = describe()
    params = gfn.model.init(*jax.random.split(key))
    start = gfn.sample(params, jax.random.key(1), 500)  # N(0, 1): six deviations off
    found = LangevinSearch(300)(gfn.model, params, jax.random.key(2), start)
    ends = np.asarray(found.states.x[:, -1])
    for d in range(2):
        assert stats.kstest(ends[:, d], stats.norm(3.0, 0.5).cdf).pvalue > 0.001
    np.testing.assert_array_equal(found.states.x[:, 0], 0.0)
    np.testing.assert_allclose(found.log_reward, jax.vmap(gfn.env.reward)(found.states.x[:, -1]))
    # Exact samples stay exact samples.
    exact = gfn.env.reward.sample(jax.random.key(3), 500)
    paths = gfn.sample_backward(params, jax.random.key(4), jax.vmap(gfn.env.at_point)(exact))
    after = LangevinSearch(20)(gfn.model, params, jax.random.key(5), paths)
    assert stats.kstest(np.asarray(after.states.x[:, -1, 0]), stats.norm(3, 0.5).cdf).pvalue > 0.001
    assert np.abs(after.states.x[:, -1] - paths.states.x[:, -1]).max() > 0.1


@pytest.mark.long
def test_what_is_found_is_learned_from_and_replayed(key):
    sampler = Mixed(
        TerminalReplay(RankPrioritised(32)), 0.5, LangevinSearch(50, 0.1), search_share=0.25
    )
    gfn = describe(sampler=sampler, batch_size=8)
    state, history = train(gfn, key, 4)
    assert np.isfinite(history.info.loss).all()
    assert int(state.memory.buffer.size) == 4 * 4
    batch, _ = jax.jit(gfn.draw)(state)
    searched = np.asarray(batch.trajectories.log_reward)[2:4]
    fresh = np.asarray(batch.trajectories.log_reward)[:2]
    assert searched.min() > fresh.max()


def test_what_cannot_be_is_refused():
    grid = Hypergrid(2, 4)
    with pytest.raises(ValueError, match=r"needs points of R\^d, Hypergrid has none"):
        GFlowNet(
            grid,
            tabular_policy(grid),
            TrajectoryBalance(),
            sampler=Mixed(local_search=LangevinSearch()),
        )
    with pytest.raises(ValueError, match="num_steps must be at least 2"):
        LangevinSearch(1)
    with pytest.raises(ValueError, match="step_size must be positive"):
        LangevinSearch(step_size=0.0)
    with pytest.raises(TypeError, match="must be a LocalSearch or LangevinSearch"):
        Mixed(local_search=3)


def test_without_blackjax_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"BlackJAX: pip install 'gfnjax\[diffusion\]'"):
        LangevinSearch()


def test_ranks_by_hand(key):
    replay = RankPrioritised(8, 0.1)
    buffer = replay.init(jnp.zeros(()))
    values = jnp.array([3.0, -1.0, 7.0, 5.0])
    buffer = replay.add(buffer, values, values)
    slots = np.asarray(replay.draw(buffer, key, 40_000))
    weights = 1 / (0.1 * 4 + np.array([2, 3, 0, 1]))
    expected = np.append(weights / weights.sum(), np.zeros(4))
    np.testing.assert_allclose(np.bincount(slots, minlength=8) / 40_000, expected, atol=0.01)
    # What has no reward comes after all that has.
    part = jnp.array([True, True, False, True])
    buffer = replay.add(replay.init(jnp.zeros(())), values, values, part)
    slots = np.asarray(replay.draw(buffer, jax.random.key(1), 40_000))
    weights = 1 / (0.1 * 4 + np.array([1, 2, 3, 0]))
    np.testing.assert_allclose(
        np.bincount(slots, minlength=4) / 40_000, weights / weights.sum(), atol=0.01
    )
    with pytest.raises(ValueError, match="rank_share must be positive"):
        RankPrioritised(8, 0.0)
