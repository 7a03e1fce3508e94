"""Phylogeny: conformance, the exact optimum, forests that do not depend on the order of merges."""

import itertools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from gfnjax.data import published
from gfnjax.envs.base import Enumerable, PartialReward
from gfnjax.envs.drawing import Renderable
from gfnjax.envs.phylogeny import phylogeny, phylogeny_benchmark
from gfnjax.envs.trees import to_nested
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.testing import check_environment, check_objective

FOUR = {"a": "ACGTA?", "b": "ACGTTC", "c": "TCG-AA", "d": "TGGNCA"}
FIVE = FOUR | {"e": "CGG-CA"}
SEVEN = FIVE | {"f": "CAT-CG", "g": "AAAAAA"}
SETS = {"A": {0}, "C": {1}, "G": {2}, "T": {3}, "-": {4}, "N": {0, 1, 2, 3}, "?": {0, 1, 2, 3}}
needs_data = pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ or not published.available("phylo/DS1.json"),
    reason="set GFNJAX_DATA to a directory that holds phylo/DS1.json",
)


def fitch_by_recursion(tree, column):
    """Plain Fitch on Python sets: the root's set and the number of changes."""
    if not isinstance(tree, tuple):
        return SETS[column[tree]], 0
    (one, cost_one), (other, cost_other) = (fitch_by_recursion(part, column) for part in tree)
    cost = cost_one + cost_other
    return (one & other, cost) if one & other else (one | other, cost + 1)


def parsimony(tree, sequences):
    return sum(fitch_by_recursion(tree, column)[1] for column in zip(*sequences, strict=True))


def all_trees(leaves):
    """Every rooted binary tree over a list of leaves, as nested pairs."""
    if len(leaves) == 1:
        return [leaves[0]]
    first, rest = leaves[0], leaves[1:]
    trees = []
    for size in range(len(rest)):
        for others in itertools.combinations(rest, size):
            apart = [leaf for leaf in rest if leaf not in others]
            pairs = itertools.product(all_trees([first, *others]), all_trees(apart))
            trees.extend(pairs)
    return trees


def merge(env, state, i, j):
    pairs = list(itertools.combinations(range(env.num_species), 2))
    return STEP(env, state, jnp.int32(pairs.index((i, j))))


STEP = jax.jit(lambda env, state, action: env.step(state, action))


@pytest.mark.long
@pytest.mark.parametrize("sequences", [FOUR, {"a": "A", "b": "C"}])
def test_conforms(key, sequences):
    check_environment(phylogeny(sequences, offset=8.0), key, num_trajectories=8)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [TrajectoryBalance(), DetailedBalance()])
def test_exact_optimum(key, objective):
    check_objective(objective, key, phylogeny(FOUR, offset=8.0), batch_size=64)


def test_all_trees_and_their_parsimony():
    """The 105 trees over five species, log Z and every log R, by recursion over all trees."""
    env = phylogeny(FIVE, offset=8.0, temperature=2.0)
    graph = build_graph(env)
    assert graph.num_states == 266
    trees = all_trees(list(range(5)))
    expected = sorted((8.0 - parsimony(tree, FIVE.values())) / 2 for tree in trees)
    found = sorted(np.asarray(graph.log_reward)[np.asarray(graph.terminal)].tolist())
    assert len(expected) == 105
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    _, log_z = exact.target_distribution(graph)
    np.testing.assert_allclose(log_z, np.logaddexp.reduce(expected), rtol=1e-5)


@pytest.mark.parametrize("num_species", [2, 3, 6])
def test_counts_of_forests(num_species):
    """1 forest of leaves; (2k - 3)!! trees over k species: 2, 7, 2431 forests in all."""
    names = dict.fromkeys("abcdef"[:num_species], "A")
    env = phylogeny(names)
    assert env.num_states == {2: 2, 3: 7, 6: 2431}[num_species]
    finished = (np.asarray(env.forests)[:, 0, 1:] >= 0).all(axis=1)
    assert finished.sum() == math.prod(range(1, 2 * num_species - 2, 2))


@pytest.mark.long
@given(st.randoms(use_true_random=False))
def test_states_do_not_depend_on_the_order_of_merges(random):
    env = phylogeny(SEVEN, offset=20.0)
    slots, merges = list(range(7)), []
    for _ in range(random.randint(1, 6)):
        i, j = sorted(random.sample(slots, 2))
        slots.remove(j)
        merges.append((i, j))
    state = env.initial_state()
    for pair in merges:
        state = merge(env, state, *pair)
    # Another order: any next merge of a slot pair whose earlier merges have all been done.
    other, waiting = env.initial_state(), list(merges)
    while waiting:
        free = [
            k
            for k, pair in enumerate(waiting)
            if not any(set(pair) & set(earlier) for earlier in waiting[:k])
        ]
        other = merge(env, other, *waiting.pop(random.choice(free)))
    for one, two in zip(state, other, strict=True):
        np.testing.assert_array_equal(one, two)
    sequences = list(SEVEN.values())
    trees = to_nested(state.into, state.rank)
    total = sum(parsimony(tree, sequences) for tree in trees)
    assert int(state.parsimony) == total
    np.testing.assert_allclose(env.log_partial_reward(state), (20 - total) / 4, rtol=1e-6)


def test_splits_are_the_parents():
    env = phylogeny(SEVEN)
    state = env.initial_state()
    for pair in [(1, 3), (0, 2), (1, 4), (0, 6)]:
        state = merge(env, state, *pair)
    assert env.backward_mask(state).tolist() == [True, True, False, False, False, False]
    parent = jax.jit(env.backward_step)(state, jnp.int32(1))
    assert to_nested(parent.into, parent.rank) == [((0, 2), 6), (1, 3), 4, 5]
    parent = jax.jit(env.backward_step)(state, jnp.int32(0))
    assert to_nested(parent.into, parent.rank) == [(0, 2), ((1, 3), 4), 5, 6]


def test_merge_costs_are_what_merging_adds():
    env = phylogeny(SEVEN, temperature=2.0)
    state = merge(env, merge(env, env.initial_state(), 1, 3), 0, 1)
    trees = dict(zip([0, 2, 4, 5, 6], to_nested(state.into, state.rank), strict=True))
    columns, expected = list(SEVEN.values()), np.zeros((7, 7))
    for i, j in itertools.permutations(trees, 2):
        apart = parsimony(trees[i], columns) + parsimony(trees[j], columns)
        expected[i, j] = parsimony((trees[i], trees[j]), columns) - apart
    assert expected.max() > 0
    np.testing.assert_array_equal(state.costs, expected)
    np.testing.assert_allclose(env.observe(state).costs, expected / 2, rtol=1e-6)


def test_abilities():
    small, large = phylogeny(FOUR), phylogeny(SEVEN)
    assert isinstance(small, Enumerable)
    assert isinstance(small, Renderable)
    assert not isinstance(large, Enumerable)
    assert isinstance(large, PartialReward)


def test_newick_and_pictures():
    env = phylogeny({"a": "AC", "b c": "AG", "d'": "TT", "e": "TA"})
    state = merge(env, merge(env, env.initial_state(), 1, 3), 0, 1)
    with pytest.raises(ValueError, match="got a forest of 2 trees"):
        env.newick(state)
    finished = merge(env, state, 0, 2)
    assert env.newick(finished) == "((a,('b c',e)),'d''');"
    axes = Figure().subplots()
    env.draw(axes, state)
    assert [text.get_text() for text in axes.texts] == ["a", "b c", "e", "d'"]
    assert axes.get_title() == f"{int(state.parsimony)} changes"


def test_parsimony_of_a_sample():
    # a and b agree in the first column, c and d in the second.
    env = phylogeny({"a": "AC", "b": "AG", "c": "TT", "d": "TT"})
    good = merge(env, merge(env, merge(env, env.initial_state(), 2, 3), 0, 1), 0, 2)
    bad = merge(env, merge(env, merge(env, env.initial_state(), 1, 3), 0, 2), 0, 1)
    assert (int(good.parsimony), int(bad.parsimony)) == (3, 4)
    states = jax.tree.map(lambda *x: jnp.stack(x), good, bad, bad)
    found = env.measure(states)
    assert int(found["best_parsimony"]) == 3
    assert float(found["parsimony"]) == pytest.approx(11 / 3)
    (panel,) = env.render(states, np.array([0.2, 0.3, 0.5]))
    np.testing.assert_allclose(panel.values, [0.2, 0.8])
    assert panel.bounds == (2.5, 4.5)


@needs_data
@pytest.mark.parametrize(("name", "num_species"), [("DS1", 27), ("DS7", 59)])
def test_benchmark_trees_cost_what_fitch_says(name, num_species):
    env = phylogeny_benchmark(name)
    assert env.num_species == num_species
    rng = np.random.default_rng(0)
    state, slots = env.initial_state(), list(range(num_species))
    pairs = list(itertools.combinations(range(num_species), 2))
    while len(slots) > 1:
        i, j = sorted(rng.choice(slots, 2, replace=False).tolist())
        slots.remove(j)
        state = STEP(env, state, jnp.int32(pairs.index((i, j))))
    assert bool(env.is_terminal(state))
    sequences = published.load(f"phylo/{name}.json").values()
    (tree,) = to_nested(state.into, state.rank)
    total = parsimony(tree, sequences)
    assert int(state.parsimony) == total
    offset = {"DS1": 5800, "DS7": 12500}[name]
    np.testing.assert_allclose(env.log_reward(state), (offset - total) / 4, rtol=1e-6)


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        phylogeny(FOUR, temperature=0.0)
