"""The report of a run on graphs: numbers of its solutions beside baselines, in files and words."""

import json

import jax
import numpy as np
import pytest

from gfnjax import GFlowNet, TrajectoryBalance, UniformBackward
from gfnjax.data.graphs import cycle, path
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.graph_problems import graph_problem
from gfnjax.envs.graph_tasks import GraphConfig
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.tempered import tempered
from gfnjax.metrics.graph_baselines import greedy_solutions, random_solutions
from gfnjax.metrics.graph_solutions import gap, sample_solutions, summarise
from gfnjax.model import Model
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.node_network import node_policy
from gfnjax.run.graphs import (
    best_known,
    find_solutions,
    sentence,
    summary_of,
    told,
    write_solutions,
)

SMALL = GraphConfig(
    "max-cut", "er", num_nodes=9, num_graphs=3, held_out=2, first_beta=1.0, num_solutions=6
)


def described(config, policy=None):
    env = config.make()
    policy = node_policy(env, 4, 1) if policy is None else policy
    log_z = TrajectoryBalance(log_z="flow")
    return GFlowNet(env, policy, log_z, backward=UniformBackward(), batch_size=2)


@pytest.fixture(scope="module")
def found():
    gfn = described(SMALL)
    return find_solutions(SMALL, gfn, gfn.init(jax.random.key(0)))


@pytest.mark.long
def test_a_row_a_graph_held_out(found):
    assert [len(column) for column in found.values()] == [2] * len(found)
    other = SMALL.reported()
    for i in range(2):
        assert found["chance"][i] <= found["optimum"][i] == found["bound"][i]
        assert found["mean"][i] <= found["best"][i] <= found["optimum"][i]
        assert 1 <= found["distinct_best"][i] <= found["distinct"][i] <= 6
        assert found["edges"][i] == other.adjacency[i].sum() // 2
        assert found["proven"][i]
        assert found["seconds"][i] > 0


@pytest.mark.slow
def test_files_and_words(found, tmp_path):
    assert told(tmp_path) is None
    table, summary = write_solutions(tmp_path, found, 6)
    assert len(table.read_text().splitlines()) == 3
    means = json.loads(summary.read_text())
    assert means["best"] == pytest.approx(np.mean(found["best"]))
    expected = np.mean([1 - b / o for b, o in zip(found["best"], found["optimum"], strict=True)])
    assert means["gap_to_proven"] == pytest.approx(expected)
    # All is proven here.
    assert means["gap_to_best_known"] == means["gap_to_proven"]
    words = told(tmp_path)
    assert f"best of 6 {means['best']:.2f} (mean {means['mean']:.2f}, " in words
    assert "on 2 graphs held out; best of as many by greedy" in words
    assert words.endswith(f"{100 * expected:.1f}% below the optimum where proven (2 of 2)")


@pytest.mark.slow
def test_a_single_graph_without_a_solver(tmp_path):
    config = GraphConfig("clique", "petersen", solver_seconds=0, num_solutions=4)
    gfn = described(config, mlp_policy(config.make(), (4,)))
    columns = find_solutions(config, gfn, gfn.init(jax.random.key(0)))
    assert columns["best"] == [2]
    assert "optimum" not in columns
    write_solutions(tmp_path, columns, 4)
    assert told(tmp_path).startswith("best of 4 2.00 (mean 2.00, ")
    assert "on the graph; best of as many by greedy 2.00, local search 2.00, chance 2.00" in told(
        tmp_path
    )


def test_the_best_known_is_the_best_that_anything_has_found():
    columns = {
        "best": [9, 5, 7],
        "greedy": [8, 6, 7],
        "local_search": [10, 6, 7],
        "chance": [1, 1, 1],
        "optimum": [None, 5, 8],
    }
    assert best_known(columns) == [10, 6, 8]
    shared = {"distinct": [1] * 3, "distinct_best": [1] * 3, "mean": [4] * 3}
    found = summary_of(columns | shared | {"proven": [False, False, True]}, 20)
    assert found["gap_to_best_known"] == pytest.approx((0.1 + 1 / 6 + 1 / 8) / 3)
    assert found["gap_to_proven"] == pytest.approx(1 / 8)
    assert sentence(found).endswith("where proven (1 of 3); 13.1% below the best known")


def test_nothing_is_said_of_other_environments():
    assert find_solutions(Hypergrid(2, 4), None, None) is None


@pytest.mark.slow
def test_solutions_of_each_graph_are_those_of_its_own_rules():
    gfn = described(SMALL)
    params = gfn.init(jax.random.key(0)).params
    parts, scores = sample_solutions(gfn.model, params, jax.random.key(1), 5)
    assert parts.shape == (3, 5, 9)
    for adjacency, sides, cuts in zip(gfn.env.adjacency, parts, scores, strict=True):
        for side, cut in zip(sides, cuts, strict=True):
            assert adjacency[side][:, ~side].sum() == cut
    # Nearly untrained, it is no better than chance.
    rng = np.random.default_rng(0)
    chance = [random_solutions("max-cut", g, 200, rng).scores.mean() for g in gfn.env.adjacency]
    greed = [greedy_solutions("max-cut", g, 20, rng).scores.mean() for g in gfn.env.adjacency]
    assert abs(scores.mean() - np.mean(chance)) < 2
    assert np.mean(chance) < np.mean(greed)


def test_solutions_of_conditional_problems_have_one_condition():
    env = graph_problem("max-cut", [path(4), cycle(5)])
    wrapped = tempered(temperature_conditional(tempered(env, 2.0), 0.5, 2.0), 3.0)
    model = Model(wrapped, node_policy(wrapped, 8, 1))
    params = model.init(jax.random.key(0), jax.random.key(1))
    parts, scores = sample_solutions(model, params, jax.random.key(2), 5)
    for adjacency, sides, cuts in zip(env.adjacency, parts, scores, strict=True):
        for side, cut in zip(sides, cuts, strict=True):
            assert adjacency[side][:, ~side].sum() == cut


def test_summaries_and_gaps_by_hand():
    parts = np.array([[True, False], [True, False], [False, True], [True, True]])
    assert summarise(parts, np.array([3, 3, 3, 1])) == (3, 2.5, 3, 2)
    assert gap([9, 10], [10, 10]) == pytest.approx(0.05)
    assert gap([-11], [-10]) == pytest.approx(0.1)
    assert gap([12], [10]) == pytest.approx(-0.2)
