"""Trajectory likelihood maximisation, and the pessimistic form on remembered trajectories."""

from functools import partial

import jax
import numpy as np
import pytest
from backward_fitting import fit_backward
from path_enumeration import all_paths, all_trajectories, padded_dag, path_log_probs

from gfnjax import GFlowNet, Hyperparameters, TrajectoryBalance, tabular_policy
from gfnjax.metrics import exact
from gfnjax.policies import LikelihoodBackward, PessimisticBackward
from gfnjax.testing import diamond

RATES = Hyperparameters(0.0, 0.0, backward_learning_rate=0.1)


def describe(env, make, **options):
    policy = tabular_policy(env)
    backward = make(policy)
    return GFlowNet(env, policy, TrajectoryBalance(), backward, RATES, **options)


def rows(trajectories, index):
    return jax.tree.map(lambda x: x[np.array(index)], trajectories)


def log_pb_of(gfn, params):
    """`[N, K]` log P_B in every state."""
    table = exact.policy_table(gfn.model, params)
    return np.asarray(table.log_pb)


@pytest.mark.slow
def test_the_loss_by_hand(key):
    # P_B(1 | 3) = 3/4: the paths 0-1-3, 0-1-4 and 0-2-3 have P_B of 3/4, 1 and 1/4.
    env = diamond()
    gfn = describe(env, LikelihoodBackward)
    params = gfn.init(key).params.backward
    logits = params["params"]["backward_logits"].at[3, 0].set(np.log(3.0))
    params["params"]["backward_logits"] = logits
    loss = gfn.backward.loss(params, env, all_trajectories(env), 4)
    np.testing.assert_allclose(loss, -(np.log(0.75) + np.log(0.25)) / 3, rtol=1e-6)


@pytest.mark.slow
def test_the_diamond_by_hand(key):
    # Paths in proportion 2 : 1 : 1, as P_F(1 | s_0) = 3/4 and P_F(3 | 1) = 2/3 draw them: of
    # those that end in 3 two in three come by 1.
    env = diamond()
    gfn = describe(env, partial(LikelihoodBackward, num_updates=400))
    batch = rows(all_trajectories(env), [0, 0, 1, 2])
    state = fit_backward(gfn, gfn.init(key), batch, key)
    np.testing.assert_allclose(np.exp(log_pb_of(gfn, state.params)[3]), [2 / 3, 1 / 3], atol=1e-3)


@pytest.mark.long
def test_it_learns_the_distribution_of_trajectories_given_their_end(key):
    env = padded_dag(1)
    gfn = describe(env, partial(LikelihoodBackward, num_updates=300))
    state = gfn.init(key)
    logits = jax.random.normal(key, (9, 8))
    policy = {"params": {**state.params.policy["params"], "forward_logits": logits}}
    state = state._replace(params=state.params._replace(policy=policy))
    sample = jax.jit(gfn.sample, static_argnums=2)
    batch = sample(state.params, jax.random.key(1), 4096)
    log_pb = log_pb_of(gfn, fit_backward(gfn, state, batch, key).params)

    allowed = np.asarray(env.children) >= 0
    weights = np.where(allowed, np.exp(logits), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_pf = np.log(weights / weights.sum(axis=1, keepdims=True))
    paths = all_paths(env)
    forward, backward = np.exp([path_log_probs(env, path, log_pf, log_pb) for path in paths]).T
    ends = np.array([path[-1][0] for path in paths])
    given_end = [p / forward[ends == end].sum() for p, end in zip(forward, ends, strict=True)]
    seen = forward > 0.02
    assert seen.sum() > 6
    assert np.ptp(np.array(given_end)[seen]) > 0.3
    np.testing.assert_allclose(backward[seen], np.array(given_end)[seen], atol=0.05)


@pytest.fixture
def remembering():
    """A pessimistic policy that remembers six trajectories, and the paths of the diamond."""
    env = diamond()
    gfn = describe(env, partial(PessimisticBackward, capacity=6, num_updates=600), batch_size=4)
    return gfn, all_trajectories(env)


def test_the_oldest_trajectories_are_forgotten(remembering, key):
    gfn, paths = remembering
    memory = gfn.init(key).observed
    batches = [[0, 0, 0, 0], [2, 2, 2, 1], [1, 1, 0, 2]]
    held = []
    for batch in batches:
        memory = gfn.backward.observe(memory, rows(paths, batch))
        held.append(sorted(np.asarray(memory.items.states.index)[:, 1:].tolist()))
    assert int(memory.size) == 6
    # Three paths: 0 is (1, 3), 1 is (1, 4), 2 is (2, 3). Empty slots hold zeros.
    first, second, third = [1, 3], [1, 4], [2, 3]
    assert held[0] == [[0, 0], [0, 0], first, first, first, first]
    assert held[1] == [first, first, second, third, third, third]
    # The last six: all of the third batch, and [2, 1] of the second.
    assert held[2] == [first, second, second, second, third, third]


def test_of_a_batch_larger_than_the_memory_the_last_ones_stay(key):
    env = diamond()
    backward = PessimisticBackward(tabular_policy(env), capacity=2)
    paths = all_trajectories(env)
    memory = backward.observe(backward.start(paths), paths)
    np.testing.assert_array_equal(
        np.sort(memory.items.states.index, axis=0), [[0, 1, 3], [0, 2, 4]]
    )
    assert int(memory.size) == 2


@pytest.mark.slow
def test_only_what_is_there_is_recalled(remembering, key):
    gfn, paths = remembering
    memory = gfn.backward.observe(gfn.init(key).observed, rows(paths, [2, 2]))
    batch = rows(paths, [0] * 64)
    recalled = gfn.backward.recall(memory, batch, key)
    np.testing.assert_array_equal(recalled.states.index, [[0, 2, 3]] * 64)


def test_the_past_counts_as_much_as_the_present(remembering, key):
    # 0-1-3 four times, then 0-2-3 twice, of which none has been forgotten: 2/3 and 1/3. Fitting
    # the last batch alone would lead to 0 and 1.
    gfn, paths = remembering
    state = gfn.init(key)
    for batch in ([0, 0, 0, 0], [2, 2]):
        state = fit_backward(gfn, state, rows(paths, batch), key)
    p = np.exp(log_pb_of(gfn, state.params)[3])
    # Batches of two are drawn from six: Adam at rate .1 does not come to rest.
    np.testing.assert_allclose(p, [2 / 3, 1 / 3], atol=0.25)
