"""Graph problems from their options."""

import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.data import graphs
from gfnjax.envs.base import Conditioned, Enumerable
from gfnjax.envs.graph_tasks import GraphConfig
from gfnjax.envs.tempered import exponent_of
from gfnjax.run.choices import configure


def test_random_graphs_to_train_on_and_others_to_report():
    config = GraphConfig("clique", "ba", num_nodes=12, num_graphs=5, held_out=3, beta=2.5)
    env, other = config.make(), config.reported()
    assert (env.num_graphs, other.num_graphs, env.num_actions) == (5, 3, 12)
    assert isinstance(env, Conditioned)
    assert env.beta == other.beta == 2.5
    assert {int(g.sum()) // 2 for g in env.adjacency} == {27}
    assert not any((a == b).all() for a in env.adjacency for b in other.adjacency)
    assert config.make() == env
    assert GraphConfig("clique", "ba", graph_seed=1, num_graphs=5, held_out=3).make() != env


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("petersen", {}, graphs.petersen()),
        ("dodecahedron", {}, graphs.dodecahedron()),
        ("cube", {}, graphs.cube()),
        ("cube", {"num_nodes": 16}, graphs.cube(4)),
        ("grid", {}, graphs.grid(4, 4)),
        ("path", {"num_nodes": 5}, graphs.path(5)),
        ("cycle", {}, graphs.cycle(12)),
    ],
)
def test_named_graphs(family, options, expected):
    env = GraphConfig("independent-set", family, **options).make()
    assert isinstance(env, Enumerable)
    np.testing.assert_array_equal(env.adjacency[0], expected)


def test_graphs_held_out_may_be_larger():
    options = {"num_nodes": 10, "num_graphs": 3, "held_out": 2}
    config = GraphConfig("max-cut", "ba", **options, held_out_nodes=20)
    env, other = config.make(), config.reported()
    assert env.num_nodes.tolist() == [10] * 3
    assert other.num_nodes.tolist() == [20] * 2
    assert env == GraphConfig("max-cut", "ba", **options).make()
    same = GraphConfig("max-cut", "ba", **options, held_out_nodes=10)
    assert same.reported() == GraphConfig("max-cut", "ba", **options).reported()
    same.check_network("mlp")
    with pytest.raises(ValueError, match="held_out_nodes needs a network for graphs of any size, "):
        configure("max-cut", num_nodes=10, held_out_nodes=20, network="mlp")


def test_the_large_variant_is_reported_on_100_nodes():
    for name, beta in (("dominating-set", 8.0), ("max-cut", 4.0)):
        config = configure(name, variant="large")
        assert (config.env.num_nodes, config.env.held_out_nodes, config.env.beta) == (40, 100, beta)
        assert config.objective.name == "vargrad-group"
        assert config.sampling.group_size == 8


def test_other_random_families_and_one_graph_alone():
    rb = GraphConfig("independent-set", "rb", num_graphs=2, held_out=2, num_cliques=4).make()
    assert rb.num_nodes.tolist() == [16, 16]
    assert rb.max_steps == 4
    alone = GraphConfig("independent-set", "er", num_nodes=8, num_graphs=1)
    assert isinstance(alone.make(), Enumerable)
    assert alone.reported() == alone.make()


def test_a_file(tmp_path):
    np.save(tmp_path / "own.npy", graphs.petersen().astype(int))
    config = GraphConfig("max-cut", graph=str(tmp_path / "own.npy"))
    assert config.make() == GraphConfig("max-cut", "petersen").make()


def test_an_inverse_temperature_that_rises():
    config = GraphConfig("max-cut", "petersen", beta=4.0, first_beta=1.0, beta_steps=10)
    beta = exponent_of(config.make())
    assert [float(beta(jnp.asarray(t))) for t in (0, 5, 10, 99)] == [0.25, 0.625, 1.0, 1.0]


def test_each_problem_has_a_name():
    for name in ("independent-set", "clique", "dominating-set", "max-cut"):
        config = configure(name)
        assert config.env.problem == name
        assert config.network.name == "gin"
    assert configure("max-cut").env.beta == 2.0
    assert not configure("clique", maximal=False).env.maximal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "petersen", "num_nodes": 9}, "num_nodes must be 10, got 9"),
        ({"family": "grid", "num_nodes": 10}, "num_nodes must be a square number, got 10"),
        ({"family": "cube", "num_nodes": 10}, "num_nodes must be a power of 2, got 10"),
        ({"family": "path", "num_graphs": 3}, "num_graphs must be 1 for one that is given, got 3"),
        ({"family": "rb", "num_nodes": 20}, "num_nodes follows from num_cliques and clique_size"),
        ({"family": "rb", "num_cliques": 1}, "num_cliques must be at least 2"),
        ({"held_out": 1}, "held_out must be at least 2, got 1"),
        ({"first_beta": 9.0}, r"first_beta must be in \(0, beta = 4.0\], got 9.0"),
        (
            {"family": "rb", "held_out_nodes": 9},
            r"several random graphs, of a family whose size is free \(er, ba\)",
        ),
        ({"num_graphs": 1, "held_out_nodes": 9}, "held_out_nodes needs several random graphs"),
        ({"held_out_nodes": 0}, "held_out_nodes must be at least 1, got 0"),
        ({"solver_seconds": -1.0}, "solver_seconds must not be negative, got -1.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        GraphConfig("clique", **options).make()
