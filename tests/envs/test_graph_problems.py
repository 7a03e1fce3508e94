"""Graph problems: tables of exact numbers, brute force by itertools, and closed forms."""

import itertools
import pickle
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import masking
from gfnjax.data import graphs
from gfnjax.envs.base import Conditioned, Enumerable, PartialReward, Stoppable
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.graph_problems import MAX_LISTED_SETS, graph_problem
from gfnjax.envs.tempered import tempered
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import check_environment

PROBLEMS = "independent-set", "clique", "dominating-set", "max-cut"
GRAPHS = {
    "P8": graphs.path(8),
    "C8": graphs.cycle(8),
    "C12": graphs.cycle(12),
    "star": graphs.star(6),
    "K33": graphs.complete_bipartite(3, 3),
    "cube": graphs.cube(),
    "grid": graphs.grid(4, 4),
    "grid3": graphs.grid(3, 3),
    "petersen": graphs.petersen(),
    "dodecahedron": graphs.dodecahedron(),
}


@lru_cache(maxsize=4)
def state_graph(problem, name):
    """At beta = 1, so that log R is the score."""
    env = graph_problem(problem, GRAPHS[name], 1.0)
    return env, build_graph(env)


def log_z(graph, beta):
    return exact.target_distribution(graph._replace(log_reward=beta * graph.log_reward))[1]


def uniform_tv(graph, beta):
    """Of the policy that chooses any undecided node alike."""
    log_pf = masking.log_softmax(jnp.zeros(graph.forward_mask.shape), graph.forward_mask)
    graph = graph._replace(log_reward=beta * graph.log_reward)
    return float(exact.evaluate(graph, log_pf).total_variation)


def sizes(graph):
    """`{score: how many}` of all objects."""
    scores, counts = np.unique(np.asarray(graph.log_reward)[graph.terminal], return_counts=True)
    return dict(zip(scores.astype(int).tolist(), counts.tolist(), strict=True))


# Independent sets, maximal ones by size, log Z of all and of the maximal ones at four betas, and
# the probability of the largest maximal ones at 2 and 4.
# fmt: off
INDEPENDENT = [
    ("P8", 55, {3: 4, 4: 5}, (4.007333, 6.748312, 10.093283, 17.681462),
     (2.197225, 5.867411, 9.712237, 17.623984), (0.902309, 0.985559)),
    ("C8", 47, {3: 8, 4: 2}, (3.850148, 6.398748, 9.515532, 16.832826),
     (2.302585, 5.597980, 9.125800, 16.763850), (0.648786, 0.931738)),
    ("C12", 322, {4: 3, 5: 24, 6: 2}, (5.774552, 9.586359, 14.207340, 24.991502),
     (3.367296, 8.419044, 13.668272, 24.892236), (0.377145, 0.819477)),
    ("star", 65, {1: 1, 6: 1}, (4.174387, 7.880598, 12.761589, 24.108900),
     (0.693147, 6.006715, 12.000045, 24.000000), (0.999955, 1)),
    ("K33", 15, {3: 2}, (2.708050, 4.623158, 7.073084, 12.747594),
     (0.693147, 3.693147, 6.693147, 12.693147), (1, 1)),
    ("cube", 35, {2: 4, 4: 2}, (3.555348, 6.018232, 9.222568, 16.766371),
     (1.791759, 4.932692, 8.729123, 16.693818), (0.964663, 0.999330)),
    ("grid", 1234, {4: 2, 6: 34, 7: 4, 8: 2}, (7.118016, 11.900992, 18.040860, 32.878161),
     (3.737670, 10.093042, 17.152072, 32.734610), (0.631963, 0.959385)),
    ("petersen", 76, {3: 10, 4: 5}, (4.330733, 7.025904, 10.265366, 17.715525),
     (2.708050, 6.160883, 9.848983, 17.645414), (0.786986, 0.964663)),
    ("dodecahedron", 5828, {6: 10, 7: 280, 8: 5},
     (8.670429, 14.036077, 20.334615, 34.423820),
     (5.686975, 12.694642, 19.762990, 34.315672), (0.116071, 0.493499)),
]
# fmt: on
BETAS = 0, 1, 2, 4


@pytest.mark.parametrize(("name", "count", "by_size", "of_all", "of_maximal", "best"), INDEPENDENT)
def test_independent_sets(name, count, by_size, of_all, of_maximal, best, x64):
    env, graph = state_graph("independent-set", name)
    assert env.num_states == count
    assert sizes(graph) == by_size
    np.testing.assert_allclose([log_z(graph, b) for b in BETAS], of_maximal, atol=1e-6)
    largest, number = max(by_size.items())
    for beta, expected in zip((2, 4), best, strict=True):
        share = np.exp(np.log(number) + beta * largest - log_z(graph, beta))
        np.testing.assert_allclose(share, expected, atol=1e-6)
    # All of them are the states, whatever their rewards.
    scores = np.asarray(graph.log_reward)
    np.testing.assert_allclose([np.logaddexp.reduce(b * scores) for b in BETAS], of_all, atol=1e-6)
    # Any order leads to a set, so that there are |x|! ways.
    ways = np.exp(np.asarray(exact.log_path_counts(graph)))[graph.terminal]
    expected = [float(np.prod(np.arange(1, x + 1))) for x in scores[graph.terminal]]
    np.testing.assert_allclose(ways, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "counts", "distances"),
    [
        ("C12", (322, 1068, 29, 4392), (0.152101, 0.594433)),
        ("petersen", (76, 180, 15, 180), (0.120319, 0.297996)),
        ("grid", (1234, 5016, 42, 125328), (0.382467, 0.709889)),
        ("dodecahedron", (5828, 27640, 295, 1620000), (0.062282, 0.400886)),
    ],
)
def test_sizes_of_the_state_graph_and_how_far_off_chance_is(name, counts, distances, x64):
    _, graph = state_graph("independent-set", name)
    ways = np.exp(np.asarray(exact.log_path_counts(graph)))[graph.terminal].sum()
    found = graph.num_states, graph.forward_mask.sum(), graph.terminal.sum(), round(ways)
    assert tuple(map(int, found)) == counts
    # Every edge has one that takes it back.
    assert graph.backward_mask.sum() == graph.forward_mask.sum()
    np.testing.assert_allclose([uniform_tv(graph, 2), uniform_tv(graph, 4)], distances, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "num_states", "by_size", "values"),
    [
        ("P8", 105, {3: 4, 4: 9}, (2.564949, -1.010632, -4.347882)),
        ("C8", 131, {3: 8, 4: 6}, (2.639057, -0.676899, -3.823884)),
        ("cube", 183, {2: 4, 4: 8}, (2.484907, -0.374161, -2.577729)),
        ("petersen", 653, {3: 10, 4: 5, 5: 12}, (3.295837, -0.400024, -3.611562)),
    ],
)
def test_dominating_sets(name, num_states, by_size, values, x64):
    env, graph = state_graph("dominating-set", name)
    assert env.num_states == num_states
    assert sizes(graph) == {-size: count for size, count in by_size.items()}
    np.testing.assert_allclose([log_z(graph, b) for b in (0, 1, 2)], values, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "counts", "values", "bias"),
    [
        ("C8", (255, 46, 8), (3.828641, 6.397083, 9.515458), (0.341, 0.196, 0.112, 0.022)),
        ("cube", (189, 40, 12), (3.688879, 7.882071, 12.982041), None),
        ("grid3", (484, 63, 12), (4.143135, 8.173575, 13.184059), (0.417, 0.252, 0.125, 0.015)),
        (
            "petersen",
            (786, 135, 12),
            (4.905275, 10.038855, 15.415330),
            (0.432, 0.368, 0.246, 0.121),
        ),
    ],
)
def test_cuts(name, counts, values, bias, x64):
    env, graph = state_graph("max-cut", name)
    assert (env.num_states, int(graph.terminal.sum()), max(sizes(graph))) == counts
    np.testing.assert_allclose([log_z(graph, b) for b in (0, 0.5, 1)], values, atol=1e-6)
    # Some may not be undone; with 1 / |S| for P_B, as published, another target is learned: R
    # times the share of the orders of x that lead to it.
    chosen = np.asarray(jax.vmap(lambda i: env.state_at(i).chosen)(jnp.arange(env.num_states)))
    assert int(graph.backward_mask.sum()) < chosen.sum()
    ways = np.asarray(exact.log_path_counts(graph))
    number = chosen.sum(axis=1)
    orders = np.array([np.log(np.arange(1, n + 1)).sum() for n in number])
    off = []
    for beta in (0, 0.5, 1, 2):
        target = np.asarray(beta * graph.log_reward)[graph.terminal]
        biased = target + (ways - orders)[graph.terminal]
        p, q = (np.exp(x - np.logaddexp.reduce(x)) for x in (target, biased))
        off.append(abs(p - q).sum() / 2)
    if bias is not None:
        np.testing.assert_allclose(off, bias, atol=6e-4)


def test_complete_graphs_have_unbiased_cuts():
    env = graph_problem("max-cut", graphs.complete(6))
    for state in (env.step(env.initial_state(), jnp.int32(2)),):
        state = env.step(state, jnp.int32(4))
        np.testing.assert_array_equal(env.backward_mask(state), state.chosen)


def parents_flow(env, graph):
    """`[N]` F(S) = sum over objects x that contain S of R(x) / C(|x|, |S|), by brute force."""
    index = jnp.arange(env.num_states, dtype=jnp.int32)
    chosen = np.asarray(jax.vmap(lambda i: env.state_at(i).chosen)(index))
    objects, rewards = chosen[graph.terminal], np.exp(np.asarray(graph.log_reward))[graph.terminal]
    flow = np.zeros(len(chosen))
    for x, r in zip(objects, rewards, strict=True):
        inside = ~(chosen & ~x).any(axis=1)
        binomial = np.array([_choose(x.sum(), k) for k in chosen.sum(axis=1)])
        flow += np.where(inside, r / np.maximum(binomial, 1), 0.0)
    return flow


def _choose(n, k):
    return np.prod([(n - i) / (i + 1) for i in range(k)]) if k <= n else 0.0


@pytest.mark.parametrize("problem", ["independent-set", "clique", "dominating-set"])
def test_flows_of_the_uniform_backward_policy(problem, x64):
    env, graph = state_graph(problem, "petersen")
    uniform = masking.log_softmax(jnp.zeros(graph.backward_mask.shape), graph.backward_mask)
    log_flow, _ = exact.optimal_flow(graph, uniform)
    np.testing.assert_allclose(np.exp(log_flow), parents_flow(env, graph), rtol=1e-9)


def brute_force(problem, adjacency):
    """All objects, as sets of chosen nodes, by their definitions."""
    n = len(adjacency)
    found = set()
    closed = adjacency | np.eye(n, dtype=bool)
    subsets = [frozenset(c) for k in range(n + 1) for c in itertools.combinations(range(n), k)]

    def independent(s):
        return not adjacency[np.ix_(list(s), list(s))].any() if s else True

    def clique(s):
        return all(adjacency[u, v] for u in s for v in s if u != v)

    def dominating(s):  # the others stay
        return closed[:, [v for v in range(n) if v not in s]].any(axis=1).all()

    good = {"independent-set": independent, "clique": clique, "dominating-set": dominating}[problem]
    for s in filter(good, subsets):
        if not any(good(s | {v}) for v in range(n) if v not in s):
            found.add(s)
    return found


@pytest.mark.parametrize("problem", PROBLEMS[:3])
@pytest.mark.parametrize("seed", [0, 1])
def test_objects_of_random_graphs_by_brute_force(problem, seed):
    adjacency = graphs.erdos_renyi(7, 0.4, np.random.default_rng(seed))
    adjacency[0] = adjacency[:, 0] = False  # somebody without neighbours
    env = graph_problem(problem, adjacency)
    listed = objects_of(env)
    assert listed == brute_force(problem, adjacency)
    assert max(map(len, listed)) <= env.max_steps


def test_cuts_by_hand():
    # A path 0 - 1 - 2: with 0 in S node 1 has 1 of 2 neighbours there and may join, 2 of 2 not.
    env = graph_problem("max-cut", graphs.path(3), 2.0)
    zero = env.step(env.initial_state(), jnp.int32(0))
    assert env.forward_mask(zero).tolist() == [False, True, True]
    assert float(env.log_partial_reward(zero)) == 2.0
    both = env.step(zero, jnp.int32(2))
    assert env.is_terminal(both)
    assert float(env.log_reward(both)) == 4.0
    joined = env.step(zero, jnp.int32(1))
    assert env.is_terminal(joined)  # node 2 would cut nothing any more
    # Node 0 has 1 of 1 neighbours in S: it was not the last.
    assert env.backward_mask(joined).tolist() == [False, True, False]
    assert env.parts(joined).tolist() == [True, True, False]


def test_the_certain_part_of_a_dominating_set():
    # A star whose middle has left: all leaves must stay.
    env = graph_problem("dominating-set", graphs.star(3), 1.5)
    start = env.initial_state()
    assert float(env.log_partial_reward(start)) == 0
    middle = env.step(start, jnp.int32(0))
    assert float(env.log_reward(middle)) == -4.5
    assert env.is_terminal(middle)
    leaf = env.step(start, jnp.int32(1))
    # The middle is all that dominates that leaf.
    assert env.forward_mask(leaf).tolist() == [False, False, True, True]
    assert float(env.log_partial_reward(leaf)) == -1.5
    assert env.parts(leaf).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("adjacency", "polynomial"),
    [
        (graphs.petersen(), lambda x: 1 + 10 * x + 30 * x**2 + 30 * x**3 + 5 * x**4),
        (graphs.complete(5), lambda x: 1 + 5 * x),
        (graphs.star(4), lambda x: (1 + x) ** 4 + x),
        (graphs.cycle(9), lambda x: sum(((1 + s * (1 + 4 * x) ** 0.5) / 2) ** 9 for s in (1, -1))),
    ],
    ids=["petersen", "complete", "star", "cycle"],
)
def test_the_hard_core_model_in_closed_form(adjacency, polynomial, x64):
    env = graph_problem("independent-set", adjacency, 1.3, maximal=False)
    assert isinstance(env, Stoppable)
    assert isinstance(env, Enumerable)
    z = exact.target_distribution(build_graph(env))[1]
    np.testing.assert_allclose(z, np.log(polynomial(np.exp(1.3))), rtol=1e-9)


def test_numbers_of_independent_sets_of_paths_and_cycles():
    fibonacci, padovan, perrin = [1, 2], [1, 1, 2], [3, 0, 2]
    while len(perrin) < 12:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
        padovan.append(padovan[-2] + padovan[-3])
        perrin.append(perrin[-2] + perrin[-3])
    for n in (1, 2, 5, 9):
        env = graph_problem("independent-set", graphs.path(n))
        assert env.num_states == fibonacci[n]
        assert _num_objects(env) == padovan[n]
    for n in (5, 8, 10):
        assert _num_objects(graph_problem("independent-set", graphs.cycle(n))) == perrin[n]


def _num_objects(env):
    return len(objects_of(env))


def objects_of(env):
    """All objects of a listed problem, as sets of chosen nodes; on the host."""
    chosen = (env.codes[:, None] >> np.arange(env.num_actions) & 1).astype(bool)
    there = np.ones(env.num_actions, bool)
    terminal = ~env.rules.undecided(env.adjacency[0], there, chosen).any(axis=1)
    return {frozenset(np.flatnonzero(row).tolist()) for row in chosen[terminal]}


def test_cliques_are_independent_sets_of_the_complement_padding_left_out():
    first, second = GRAPHS["petersen"], graphs.erdos_renyi(13, 0.6, np.random.default_rng(0))
    inverse = [~g & ~np.eye(len(g), dtype=bool) for g in (first, second)]
    cliques = graph_problem("clique", [first, second])
    sets = graph_problem("independent-set", inverse)
    assert cliques.max_steps == sets.max_steps
    state = cliques.source(0)
    assert cliques.forward_mask(state).tolist() == [True] * 10 + [False] * 3
    for action in (4, 3, 9):
        state = cliques.step(state, jnp.int32(action))
        for name in ("forward_mask", "backward_mask", "log_reward", "is_terminal"):
            a, b = getattr(cliques, name)(state), getattr(sets, name)(state)
            np.testing.assert_array_equal(a, b)
    assert int(state.chosen.sum()) == 2  # 9 is no neighbour of 3


SEVERAL = [graphs.petersen(), graphs.path(5), [(0, 1), (0, 2)]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "given", "maximal"),
    [
        ("max-cut", graphs.cube(), True),
        ("independent-set", SEVERAL, False),
        ("dominating-set", SEVERAL, True),
    ],
)
def test_it_keeps_the_contract(problem, given, maximal, key):
    env = graph_problem(problem, given, 0.7, maximal=maximal)
    check_environment(env, key, num_trajectories=8)


def test_abilities_and_one_graph_of_several():
    env = graph_problem("dominating-set", [graphs.path(4), graphs.cycle(6)], 2.0)
    assert isinstance(env, Conditioned)
    assert isinstance(env, PartialReward)
    assert not isinstance(env, Enumerable)
    one = env.at(0)
    assert isinstance(one, Enumerable)
    assert not isinstance(one, Conditioned)
    alone = graph_problem("dominating-set", graphs.path(4), 2.0)
    assert one.num_states == alone.num_states
    assert one.num_actions == 6
    np.testing.assert_array_equal(one.codes, alone.codes)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != env.at(1)
    assert isinstance(tempered(one, 2.0), Enumerable)
    keys = jax.random.split(jax.random.key(0), 40)
    drawn = np.asarray(jax.vmap(env.draw_initial_state)(keys).graph)
    assert set(drawn.tolist()) == {0, 1}


def test_a_node_without_edges_is_told_from_padding():
    env = graph_problem("clique", [graphs.from_edges([(0, 1)], 3), graphs.path(2)])
    first, second = (
        env.observe(env.step(env.source(graph), jnp.int32(0))) for graph in range(env.num_graphs)
    )
    np.testing.assert_array_equal(np.flatnonzero(first != second), [9 + 2])


def test_a_temperature_on_top_of_several_graphs(key):
    env = graph_problem("independent-set", [graphs.path(3), graphs.star(3)], 2.0)
    both = temperature_conditional(env, 0.5, 2.0)
    for one, fixed in ((both, False), (both.at(1.5), True)):
        states = jax.vmap(one.draw_initial_state)(jax.random.split(key, 30))
        assert set(np.asarray(states.inner.graph).tolist()) == {0, 1}
        assert (np.ptp(np.asarray(states.condition)) == 0) == fixed
    middle = both.at(1.5).step(both.at(1.5).initial_state(), jnp.int32(1))
    assert float(both.log_reward(middle)) == 3.0
    alone = temperature_conditional(env.at(0), 0.5, 2.0)
    assert isinstance(alone.at(1.0), Enumerable)
    assert not isinstance(alone.at(1.0), Conditioned)


def test_too_many_sets_are_not_listed():
    many = graph_problem("independent-set", np.zeros((18, 18)))
    assert MAX_LISTED_SETS < 2**18
    assert not isinstance(many, Enumerable)
    assert not isinstance(graph_problem("clique", graphs.path(21)), Enumerable)


def test_steps_are_no_more_than_the_bounds():
    for name, bound in (("P8", 4), ("C8", 4), ("petersen", 5), ("K33", 3), ("star", 6)):
        assert graph_problem("independent-set", GRAPHS[name]).max_steps == bound
    assert graph_problem("clique", GRAPHS["K33"]).max_steps == 2
    assert graph_problem("dominating-set", GRAPHS["petersen"]).max_steps == 7
    assert graph_problem("max-cut", GRAPHS["petersen"]).max_steps == 9
    assert graph_problem("independent-set", GRAPHS["P8"], maximal=False).max_steps == 5


def test_what_users_have_is_taken():
    same = [
        graphs.path(3),
        graphs.path(3).astype(np.uint8),
        graphs.path(3).astype(float),
        [[0, 1, 0], [1, 0, 1], [0, 1, 0]],
        [(0, 1), (1, 2)],
    ]
    for graph in same:
        assert graph_problem("max-cut", graph) == graph_problem("max-cut", same[0])


def test_render_gives_the_nodes_and_the_scores():
    env = graph_problem("independent-set", graphs.path(3), 1.0)
    states = jax.tree.map(
        lambda *x: jnp.stack(x),
        env.step(env.initial_state(), jnp.int32(1)),
        env.step(env.step(env.initial_state(), jnp.int32(0)), jnp.int32(2)),
    )
    scores, nodes = env.render(states, np.array([0.25, 0.75]))
    np.testing.assert_allclose(scores.values, [0.25, 0.75])
    np.testing.assert_allclose(nodes.values, [0.75, 0.25, 0.75])
    assert env.measure(states) == {"score": 1.5, "best_score": 2.0}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("max-cat", graphs.path(3)), {}, "problem must be one of .* got 'max-cat'; did you mean"),
        (("clique", np.zeros((2, 3))), {}, r"graphs must be square matrices \[n, n\] with n > 0"),
        (("clique", np.eye(3)), {}, "graphs must have no loops, got one at node"),
        (("clique", np.eye(3, k=1)), {}, "graphs must be symmetric, got 0 -> 1 in one direction"),
        (("clique", 2 * np.eye(3)), {}, "graphs must have zeros and ones only"),
        (("clique", [(0, 0)]), {}, "graphs must have no loops"),
        (("clique", []), {}, "graphs must be at least one graph, got none"),
        (("clique", graphs.path(3), -1.0), {}, "beta must be finite and not negative, got -1.0"),
        (("clique", graphs.path(3), np.ones(2)), {}, r"beta must be one number, got shape \(2,\)"),
        (("max-cut", graphs.path(3)), {"maximal": False}, "maximal must be True for max-cut"),
        (("dominating-set", np.zeros((3, 3))), {}, "graphs must have edges"),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        graph_problem(*arguments, **options)


def test_there_must_be_such_a_graph():
    with pytest.raises(ValueError, match=r"graph must be in 0..1, got 2"):
        graph_problem("clique", [graphs.path(3), graphs.path(2)]).at(2)
