from itertools import product
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_paths, all_trajectories, padded_dag

import gfnjax
from gfnjax import scoring
from gfnjax.envs.cyclic_hypergrid import CyclicHypergrid
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.policies import SourceBackward


@pytest.fixture(scope="module")
def grid():
    return gfnjax.Hypergrid(3, 4)


@pytest.fixture(scope="module")
def maximum_entropy(grid):
    return gfnjax.MaximumEntropyBackward(exact.log_path_counts(build_graph(grid)))


def probabilities(backward, env, states, backward_logits=None):
    """`[B, K]` P_B in the given states, normalised over the valid actions by NumPy."""
    if backward_logits is None:
        backward_logits = jnp.zeros(env.num_backward_actions)
    output = gfnjax.PolicyOutput(jnp.zeros(env.num_actions), backward_logits, jnp.zeros(()))
    logits = jax.vmap(lambda s: backward(env, s, output))(states)
    weights = np.where(jax.vmap(env.backward_mask)(states), np.exp(logits), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def cells(stopped):
    """All cells of the 4 x 4 x 4 grid but the origin, as states, and as an array."""
    positions = np.array(list(product(range(4), repeat=3))[1:], np.int32)
    return HypergridState(jnp.asarray(positions), jnp.full(63, stopped)), positions


def test_maximum_entropy_on_the_grid_in_closed_form(grid, maximum_entropy):
    # The number of paths to x is the multinomial of x, so P_B(undo i | x) = x_i / sum x.
    states, positions = cells(stopped=False)
    expected = np.pad(positions / positions.sum(axis=1, keepdims=True), ((0, 0), (0, 1)))
    np.testing.assert_allclose(probabilities(maximum_entropy, grid, states), expected, atol=1e-5)


def test_a_stopped_cell_has_one_parent(grid, maximum_entropy):
    states, _ = cells(stopped=True)
    for backward in (maximum_entropy, gfnjax.UniformBackward(), gfnjax.LearnedBackward()):
        np.testing.assert_allclose(
            probabilities(backward, grid, states), [[0, 0, 0, 1]] * 63, atol=1e-6
        )


def test_path_counts_of_the_grid_are_binomials():
    env = gfnjax.Hypergrid(2, 5)
    counts = np.exp(exact.log_path_counts(build_graph(env)))[:25].reshape(5, 5)
    expected = [[comb(x + y, x) for y in range(5)] for x in range(5)]
    np.testing.assert_allclose(counts, expected, rtol=1e-4)


def test_uniform_is_uniform_over_valid_parents(grid):
    states, positions = cells(stopped=False)
    valid = positions > 0
    expected = np.pad(valid / valid.sum(axis=1, keepdims=True), ((0, 0), (0, 1)))
    logits = jnp.array([3.0, -1.0, 0.5, 9.0])  # of the network: must not matter
    found = probabilities(gfnjax.UniformBackward(), grid, states, logits)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_learned_reads_the_network(grid):
    states, positions = cells(stopped=False)
    weights = np.where(positions > 0, [1.0, 2.0, 5.0], 0.0)
    expected = np.pad(weights / weights.sum(axis=1, keepdims=True), ((0, 0), (0, 1)))
    logits = jnp.log(jnp.array([1.0, 2.0, 5.0, 1.0]))
    found = probabilities(gfnjax.LearnedBackward(), grid, states, logits)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_maximum_entropy_makes_all_paths_to_an_object_equally_likely():
    env = padded_dag(1)
    backward = gfnjax.MaximumEntropyBackward(exact.log_path_counts(build_graph(env)))
    policy = gfnjax.tabular_policy(env)
    params = policy.init(jax.random.key(0), jnp.asarray(0))
    score = jax.jit(
        lambda trajectories: scoring.score(env, policy, backward, params, trajectories).log_pb
    )
    log_pb = np.asarray(score(all_trajectories(env))).sum(axis=1)
    ends = [path[-1][0] for path in all_paths(env)]
    assert max(map(ends.count, ends)) > 2
    np.testing.assert_allclose(log_pb, [-np.log(ends.count(end)) for end in ends], atol=1e-5)


@pytest.mark.long
def test_backward_policies_are_interchangeable_in_training(grid, maximum_entropy, key):
    policy = gfnjax.tabular_policy(grid)
    log_pb = []
    for backward in (maximum_entropy, gfnjax.UniformBackward(), gfnjax.LearnedBackward()):
        gfn = gfnjax.GFlowNet(grid, policy, gfnjax.DetailedBalance(), backward, batch_size=4)
        state, info = jax.jit(gfn.step)(gfn.init(key))
        assert np.isfinite(info.loss)
        moved = np.any(state.params.policy["params"]["backward_logits"])
        assert moved == isinstance(backward, gfnjax.LearnedBackward)
        log_pb.append(float(info.loss))
    # A zero table is uniform: learned and uniform agree at first, maximum entropy does not.
    np.testing.assert_allclose(log_pb[1], log_pb[2], rtol=1e-5)
    assert abs(log_pb[0] - log_pb[1]) > 1e-4


def test_the_way_home_is_likely_but_not_certain(grid):
    backward = SourceBackward(0.25)
    states, positions = cells(stopped=False)
    found = probabilities(backward, grid, states)
    beside = positions.sum(axis=1) == 1
    np.testing.assert_allclose(found[beside].max(axis=1), 1.0)  # there is no other way
    env = CyclicHypergrid(2, 3)
    inside = env.step(env.initial_state(), jnp.int32(env.source_action))
    found = probabilities(backward, env, jax.tree.map(lambda x: x[None], inside))[0]
    mask = np.asarray(env.backward_mask(inside))
    np.testing.assert_allclose(np.sort(found[mask])[-1], 0.75, rtol=1e-6)
    np.testing.assert_allclose(np.sort(found[mask])[:-1], 0.25 / (mask.sum() - 1), rtol=1e-6)
    assert SourceBackward(0.25) == backward != SourceBackward()
    for away in (0.0, 1.0, 2.0, -0.1):
        with pytest.raises(ValueError, match=r"away must be in \(0, 1\), got"):
            SourceBackward(away)
