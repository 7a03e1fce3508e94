"""Pictures of graphs: where nodes go, and what is drawn of the objects of four environments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gfnjax.data import graphs
from gfnjax.envs import graph_drawing
from gfnjax.envs.dags import DAGs
from gfnjax.envs.drawing import BLUE, INK, ORANGE, Drawable
from gfnjax.envs.graph_building import GraphBuilding
from gfnjax.envs.graph_drawing import CLASSES, Lines, circle, draw_graph, spread_out
from gfnjax.envs.graph_problems import graph_problem
from gfnjax.envs.ising import BRIGHT, Ising
from gfnjax.envs.tempered import tempered
from gfnjax.rewards.ising import lattice


@pytest.fixture
def axes():
    return Figure().subplots()


def built(env, *actions):
    """The state after these actions."""
    state = env.initial_state()
    for action in actions:
        assert env.forward_mask(state)[action]
        state = env.step(state, jnp.int32(action))
    assert env.is_terminal(state)
    return state


def apart(places):
    return np.linalg.norm(places[:, None] - places[None], axis=-1)


def edges_by_colour(axes):
    """How many lines there are of each colour."""
    colours = [to_hex(line.get_color()) for line in axes.lines]
    return {colour: colours.count(colour) for colour in set(colours)}


def fills(axes, count):
    return [to_hex(c) for c in np.resize(axes.collections[0].get_facecolors(), (count, 4))]


def test_nodes_of_a_circle_start_at_the_top_and_go_clockwise():
    np.testing.assert_allclose(circle(4), [(0, 1), (1, 0), (0, -1), (-1, 0)], atol=1e-12)


def test_distances_of_a_path_and_of_parts_that_do_not_hang_together():
    path = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) == 1
    expected = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    np.testing.assert_array_equal(graph_drawing._distances(path), expected)
    path[2, 3] = path[3, 2] = False
    expected = [[0, 1, 2, 2], [1, 0, 1, 2], [2, 1, 0, 2], [2, 2, 2, 0]]
    np.testing.assert_array_equal(graph_drawing._distances(path), expected)


def test_places_are_as_far_apart_as_in_the_graph():
    line = apart(spread_out(graphs.path(7)))
    np.testing.assert_allclose(
        line / line[0, 1], graph_drawing._distances(graphs.path(7)), rtol=0.02
    )
    ring = apart(spread_out(graphs.cycle(8)))
    np.testing.assert_allclose(ring, np.roll(ring, 1, (0, 1)), rtol=0.02)
    grid = spread_out(graphs.grid(4, 4))
    np.testing.assert_array_equal(grid, spread_out(graphs.grid(4, 4)))
    assert apart(grid)[~np.eye(16, dtype=bool)].min() > 0.25


@pytest.mark.parametrize("num_nodes", [0, 1, 2, 5, graph_drawing.MAX_SPREAD + 1])
def test_where_all_nodes_are_alike_or_very_many_they_are_in_a_circle(num_nodes):
    empty = np.zeros((num_nodes, num_nodes), bool)
    np.testing.assert_array_equal(spread_out(empty), circle(num_nodes))


def test_arrows_both_ways_are_bent(axes):
    draw_graph(axes, circle(3), [Lines(np.array([(0, 1), (1, 0), (1, 2)]))], directed=True)
    styles = [str(arrow.arrow_patch.get_connectionstyle().rad) for arrow in axes.texts]
    assert styles == ["0.15", "0.15", "0.0"]
    assert not axes.lines


def test_dags_have_their_nodes_in_one_place(axes):
    env = DAGs(3, lambda adjacency: jnp.zeros(()))
    assert isinstance(env, Drawable)
    env.draw(axes, built(env, 1, 5, 9))  # 0 -> 1, 1 -> 2
    arrows = [text for text in axes.texts if not text.get_text()]
    ends = [(*text.xyann, *text.xy) for text in arrows]
    np.testing.assert_allclose(ends, [(*circle(3)[u], *circle(3)[v]) for u, v in ((0, 1), (1, 2))])
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["0", "1", "2"]
    assert axes.get_title() == "2 edges"


# Of the path 0 - 1 - 2 - 3: what is chosen, the nodes that are coloured, and edges that are marked.
@pytest.mark.parametrize(
    ("problem", "actions", "coloured", "marked", "score"),
    [
        ("independent-set", (0, 2), (0, 2), 0, 2),
        ("clique", (1, 2), (1, 2), 1, 2),
        ("dominating-set", (0, 3), (1, 2), 2, -2),
        ("max-cut", (0, 2), (0, 2), 3, 3),
    ],
)
def test_sets_are_coloured_and_what_they_are_about_is_marked(
    problem, actions, coloured, marked, score, axes
):
    env = graph_problem(problem, graphs.path(4), 2.0)
    env.draw(axes, built(env, *actions))
    assert fills(axes, 4) == [ORANGE if v in coloured else "#ffffff" for v in range(4)]
    assert edges_by_colour(axes).get(INK, 0) == marked
    assert len(axes.lines) == 3
    assert axes.get_title() == f"score {score}"


def test_graphs_of_several_are_told_apart(axes):
    env = tempered(graph_problem("clique", [graphs.cycle(5), graphs.path(2)]), 2.0)
    assert isinstance(env, Drawable)
    state = env.source(1)
    for action in (0, 1):
        state = env.step(state, jnp.int32(action))
    env.draw(axes, state)
    assert len(fills(axes, 2)) == len(axes.collections[0].get_offsets()) == 2  # no padding
    assert axes.get_title() == "graph 1: score 2"


def test_classes_of_nodes_and_edges_have_colours(axes):
    env = GraphBuilding(3, num_node_classes=2, num_edge_classes=2)
    # Three nodes, then 0 - 1 of class 0 and 1 - 2 of class 1.
    env.draw(axes, built(env, 0, 1, 0, 2 + 0, 2 + 3 + 2, env.stop_action))
    assert fills(axes, 3) == [CLASSES[0], CLASSES[1], CLASSES[0]]
    assert edges_by_colour(axes) == {CLASSES[0]: 1, CLASSES[1]: 1}
    assert axes.get_title() == "3 nodes, 2 edges"
    directed = GraphBuilding(2, directed=True, labelled=True, fixed_nodes=True)
    axes.clear()
    directed.draw(axes, built(directed, 0, 1, directed.stop_action))
    assert [text.get_text() for text in axes.texts] == ["", "", "0", "1"]
    assert axes.get_title() == "2 nodes, 2 edges"


def test_the_smallest_graph_can_be_drawn(axes):
    env = GraphBuilding(2)
    env.draw(axes, built(env, 0, env.stop_action))
    assert axes.get_title() == "1 node, 0 edges"


def test_spins_are_dark_or_bright(axes):
    env = Ising(2, lattice(2, 0.1))
    state = built(env, 4 + 0, 4 + 1, 2, 4 + 3)
    env.draw(axes, state)
    (image,) = axes.images
    shown = [to_hex(rgb / 255) for rgb in np.asarray(image.get_array()).reshape(4, 3)]
    assert shown == [BLUE, BLUE, BRIGHT, BLUE]
    assert axes.get_title() == "3 of 4 spins up"
    assert jax.tree.all(jax.tree.map(np.array_equal, state.spins, jnp.array([1, 1, -1, 1])))
