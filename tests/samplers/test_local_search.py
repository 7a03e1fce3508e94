"""Local search against its transition matrix, enumerated in plain Python, and its invariances."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_paths, padded_dag, padded_graph
from scipy import stats

from gfnjax import Params, Trajectory, tabular_policy
from gfnjax.envs.tabular import TabularState
from gfnjax.metrics import exact
from gfnjax.model import Model
from gfnjax.samplers.back_and_forth import back_and_forth
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.testing import binary_tree, exact_optimum

SEED = 3  # a graph with paths of one to four steps
NUM_CHAINS = 20_000


def describe(env):
    return Model(env, tabular_policy(env))


def arbitrary(env, seed=0):
    """Parameters of a policy that has nothing to do with the reward."""
    rng = np.random.default_rng(seed)
    key = jax.random.key(seed)
    params = describe(env).init(key, key)
    noise = lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype)  # noqa: E731
    return Params(jax.tree.map(noise, params.policy), params.log_z)


@pytest.fixture(scope="module")
def dag():
    env = padded_dag(SEED)
    assert {len(path) - 1 for path in all_paths(env)} == {1, 2, 3, 4}
    return env


@partial(jax.jit, static_argnames=("num_back", "back_share"))
def move(model, params, key, states, num_back=None, back_share=None):
    return back_and_forth(model, params, key, states, num_back, back_share=back_share)


@partial(jax.jit, static_argnums=0)
def search(how, model, params, key, trajectories):
    return how(model, params, key, trajectories)


def going_nowhere(env, index):
    """Trajectories of which nothing is right but the end: the only thing search may look at."""
    size, horizon = index.size, env.max_steps
    zeros = jnp.zeros((size, horizon), jnp.int32)
    states = TabularState(jnp.tile(index[:, None], (1, horizon + 1)))
    return Trajectory(states, zeros, zeros[:, 0], jnp.zeros(size))


# ---------------------------------------------------------------- the transition matrix


def tables(env, params):
    graph = padded_graph(env)
    table = exact.policy_table(describe(env), params)
    log_target, _ = exact.target_distribution(graph)
    pf, pb, target = (np.exp(np.asarray(x, float)) for x in (*table[:2], log_target))
    return pf, pb, target


def transition_matrix(env, params, steps_back):
    """`[N, N]` P(x -> x') of one Metropolis-Hastings step, every path and cut enumerated."""
    pf, pb, target = tables(env, params)
    undo = np.asarray(env.undo)
    paths = all_paths(env)

    def forward(path):
        return np.prod([pf[s, a] for s, a in path[:-1]])

    def backward(path):
        return np.prod([pb[path[t + 1][0], undo[path[t]]] for t in range(len(path) - 1)])

    matrix = np.zeros((env.num_states, env.num_states))
    for path in paths:
        x, length = path[-1][0], len(path) - 1
        cut = length - steps_back(length)
        for other in paths:
            if other[:cut] != path[:cut] or other[cut][0] != path[cut][0]:
                continue
            y, other_length = other[-1][0], len(other) - 1
            ratio = target[y] * backward(other[cut:]) * forward(path[cut:])
            ratio /= target[x] * backward(path[cut:]) * forward(other[cut:])
            ratio *= other_length - steps_back(other_length) == cut
            chance = backward(path) * forward(other[cut:])
            matrix[x, y] += chance * min(1, ratio)
            matrix[x, x] += chance * (1 - min(1, ratio))
    return matrix, target


@pytest.mark.parametrize("how", [{"num_back": 2}, {"back_share": 0.6}])
def test_moves_are_those_of_the_enumerated_matrix(how, dag, key):
    def steps_back(length):
        return min(how["num_back"], length) if "num_back" in how else int(np.ceil(0.6 * length))

    params = arbitrary(dag)
    matrix, target = transition_matrix(dag, params, steps_back)
    terminal = np.flatnonzero(target)
    np.testing.assert_allclose(matrix[terminal].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(target @ matrix, target, atol=1e-6)
    start = terminal[np.arange(NUM_CHAINS) % terminal.size].astype(np.int32)
    moved = move(describe(dag), params, key, TabularState(jnp.asarray(start)), **how)
    counts = np.zeros_like(matrix)
    np.add.at(counts, (start, np.asarray(moved.states.index)), 1)
    expected = matrix * np.bincount(start, minlength=dag.num_states)[:, None]
    possible = expected > 1e-3
    assert counts[~possible].sum() == 0
    freedom = possible.sum() - terminal.size
    distance = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert freedom > terminal.size
    assert stats.chi2.sf(distance, freedom) > 1e-3


# ---------------------------------------------------------------- invariance


@pytest.fixture(scope="module", params=["metropolis", "greedy"])
def searched(request, dag):
    """Objects drawn from the target exactly, and trajectories after three rounds."""
    log_target, _ = exact.target_distribution(padded_graph(dag))
    draws = jax.random.categorical(jax.random.key(0), log_target, shape=(NUM_CHAINS,))
    before = going_nowhere(dag, draws.astype(jnp.int32))
    how = LocalSearch(3, back_share=0.5, acceptance=request.param)
    after = search(how, describe(dag), arbitrary(dag), jax.random.key(1), before)
    return request.param, np.exp(np.asarray(log_target, float)), draws, after


def test_metropolis_leaves_the_target_as_it_is_and_greed_does_not(searched):
    acceptance, target, before, after = searched
    index = np.asarray(after.states.index[:, -1])
    terminal = target > 0
    counts = np.bincount(index, minlength=target.size)[terminal]
    expected = target[terminal] / target.sum() * NUM_CHAINS
    pvalue = stats.chisquare(counts, expected).pvalue
    assert pvalue > 0.01 if acceptance == "metropolis" else pvalue < 1e-9
    assert (index != np.asarray(before)).mean() > 0.1


def test_a_perfect_sampler_accepts_always(key):
    env = binary_tree()  # where all paths have one length any number of steps will do
    model, optimum = describe(env), exact_optimum(env, key)
    moved = move(model, optimum, key, leaves_of_tree(), num_back=2)
    np.testing.assert_allclose(moved.log_ratio, 0.0, atol=1e-5)
    assert float(moved.accepted.mean()) == 1.0
    assert (moved.states.index != leaves_of_tree().index).any()
    other = move(model, arbitrary(env), key, leaves_of_tree(), num_back=2)
    assert float(other.accepted.mean()) < 0.9


def leaves_of_tree():
    return TabularState(jnp.repeat(jnp.arange(7, 15, dtype=jnp.int32), 30))


# ---------------------------------------------------------------- trajectories


def test_what_comes_back_are_whole_trajectories(searched, dag):
    children = np.asarray(dag.children)
    after = jax.tree.map(lambda x: np.asarray(x)[:500], searched[-1])
    states, actions, lengths = after.states.index, after.actions, after.length
    assert (states[:, 0] == 0).all()
    assert len(set(lengths.tolist())) > 2
    for path, taken, length in zip(states, actions, lengths, strict=True):
        for t in range(length):
            assert children[path[t], taken[t]] == path[t + 1]
        assert (path[length:] == path[-1]).all()
        assert (taken[length:] == 0).all()
        assert (children[path[-1]] < 0).all()
    np.testing.assert_array_equal(after.log_reward, np.asarray(dag.log_rewards)[states[:, -1]])


def test_greed_never_loses(searched, dag):
    acceptance, _, before, after = searched
    gain = np.asarray(after.log_reward) - np.asarray(dag.log_rewards)[before]
    assert (gain.min() == 0) == (acceptance == "greedy")
    assert (gain > 0).mean() > 0.05


def test_the_beginning_is_kept(key):
    # In a tree the path is the object: two steps back of three leave the first.
    env, states = binary_tree(), leaves_of_tree()
    moved = move(describe(env), arbitrary(env), key, states, num_back=2)
    path = np.asarray(moved.trajectories.states.index)
    np.testing.assert_array_equal(path[:, 1], np.where(states.index < 11, 1, 2))
    np.testing.assert_array_equal(path[:, 2], (path[:, 3] - 1) // 2)
    assert (path[:, 2] != (np.asarray(states.index) - 1) // 2).any()


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rounds": 0}, "num_rounds must be at least 1, got 0"),
        ({"back_share": 0.0}, r"back_share must be in \(0, 1\], got 0.0"),
        ({"num_back": 0}, "num_back must be at least 1, got 0"),
        ({"acceptance": "better"}, "acceptance must be one of metropolis, greedy, got 'better'"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LocalSearch(**options)


def test_one_length_is_needed(dag, key):
    call = partial(back_and_forth, describe(dag), None, key, None)
    for lengths in ({}, {"num_back": 1, "back_share": 0.5}):
        with pytest.raises(ValueError, match="give num_back or back_share, not both"):
            call(**lengths)
