import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch

import gfnjax
from gfnjax import masking
from gfnjax.envs import tabular_graph
from gfnjax.metrics import exact, state_graph
from gfnjax.plot import flows
from gfnjax.plot.networks import THINNEST
from gfnjax.plot.style import new_figure

# Cells (0,0), (0,1), (1,0), (1,1), then their terminal copies.
REWARD = jnp.array([[1.0, 2.0], [3.0, 6.0]])
FLOW = [12, 5, 6, 6, 1, 2, 3, 6]


@pytest.fixture(scope="module")
def grid():
    def log_reward(position, side):
        return jnp.log(REWARD[position[0], position[1]])

    graph = state_graph.build_graph(gfnjax.Hypergrid(2, 2, log_reward))
    uniform = masking.log_softmax(jnp.zeros(graph.backward_mask.shape), graph.backward_mask)
    return graph, *exact.optimal_flow(graph, uniform)


def axes():
    return new_figure(3, 3).subplots()


def test_edges_carry_the_flow(grid):
    graph, log_flow, log_pf = grid
    np.testing.assert_allclose(np.exp(log_flow), FLOW, rtol=1e-5)
    tails, heads, carried = flows.edges(graph, np.exp(log_flow), np.asarray(log_pf))
    found = dict(zip(zip(tails.tolist(), heads.tolist(), strict=True), carried, strict=True))
    expected = {(0, 1): 5, (0, 2): 6, (0, 4): 1, (1, 3): 3, (1, 5): 2, (2, 3): 3, (2, 6): 3}
    assert found == pytest.approx({**expected, (3, 7): 6}, rel=1e-5)


def test_parallel_edges_are_added_up():
    # Two actions that both lead from 0 to 1.
    graph = state_graph.StateGraph(
        children=jnp.array([[1, 1], [1, 1]]),
        forward_mask=jnp.array([[True, True], [False, False]]),
        parents=jnp.array([[0, 0], [0, 0]]),
        parent_actions=jnp.array([[0, 1], [0, 1]]),
        backward_mask=jnp.array([[False, False], [True, True]]),
        backward_actions=jnp.array([[0, 1], [0, 1]]),
        terminal=jnp.array([False, True]),
        log_reward=jnp.zeros(2),
        levels=jnp.array([[0], [1]]),
        source=jnp.array(0),
    )
    tails, heads, carried = flows.edges(graph, np.array([8.0, 8.0]), np.log([[0.25, 0.75]] * 2))
    assert (tails.tolist(), heads.tolist(), carried.tolist()) == ([0], [1], [8.0])


def test_what_arrives_in_a_state_leaves_it(grid):
    ax = axes()
    flows.draw(ax, *grid)
    widths = {}
    for arrow in ax.patches:
        assert isinstance(arrow, FancyArrowPatch)
        tail, head = arrow._posA_posB
        widths[tuple(tail), tuple(head)] = arrow.get_arrowstyle().tail_width
    places = {tuple(place) for place in flows.layers(grid[0])}
    inner = [p for p in places if any(t == p for t, _ in widths) and p != (0, 0)]
    assert len(inner) == 3
    for place in inner:
        arrives = sum(w for (_, head), w in widths.items() if head == place)
        leaves = sum(w for (tail, _), w in widths.items() if tail == place)
        assert arrives == pytest.approx(leaves, rel=1e-5)
    assert sum(w for (tail, _), w in widths.items() if tail == (0, 0)) == pytest.approx(
        flows.WIDEST, rel=1e-5
    )


def test_states_are_labelled_with_their_flow(grid):
    ax = axes()
    flows.draw(ax, *grid)
    assert [text.get_text() for text in ax.texts] == [f"{x}" for x in FLOW]
    circles, squares = ax.collections
    areas = np.concatenate([circles.get_sizes(), squares.get_sizes()])
    assert (np.argsort(-areas[:4], kind="stable") == [0, 2, 3, 1]).all()
    assert areas[3] == pytest.approx(areas[7])
    other = axes()
    flows.draw(other, *grid, labels=(), positions=np.arange(16.0).reshape(8, 2))
    assert not other.texts
    assert other.collections[0].get_offsets()[1].tolist() == [2, 3]


def test_pictures_share_a_scale(grid):
    graph, log_flow, log_pf = grid
    ax = axes()
    flows.draw(ax, graph, log_flow, log_pf, log_scale=float(log_flow[0]) + np.log(2))
    widest = max(arrow.get_arrowstyle().tail_width for arrow in ax.patches)
    assert widest == pytest.approx(flows.WIDEST * 6 / 24, rel=1e-5)
    # Nothing at all still shows where there are edges.
    empty = axes()
    flows.draw(empty, graph, jnp.full(8, -jnp.inf), log_pf, log_scale=0.0)
    assert {arrow.get_arrowstyle().tail_width for arrow in empty.patches} == {THINNEST}


def test_columns_are_distances_and_no_two_states_are_in_one_place(grid):
    places = flows.layers(grid[0])
    assert places[:, 0].tolist() == [0, 1, 1, 2, 1, 2, 2, 3]
    assert len({tuple(place) for place in places}) == 8
    for column in range(4):
        assert places[places[:, 0] == column, 1].mean() == 0


def test_edges_there_and_back_leave_each_other_room():
    graph = state_graph.build_graph(tabular_graph([[1], [2, 1], [1, 3], []], [0.0] * 4, 8))
    ax, positions = axes(), np.array([[0, 0], [1, 0], [2, 0], [3, 0]])
    log_pf = np.log(np.full(graph.forward_mask.shape, 0.5))
    flows.draw(ax, graph, np.zeros(4), log_pf, positions=positions, labels=["$$", "a", "b", "c"])
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 4  # without the one from s_2 to itself
    ax.figure.canvas.draw()
    bent = [arrow.get_connectionstyle().rad for arrow in arrows]
    assert np.count_nonzero(bent) == 2


def test_what_cannot_be_drawn_is_refused(grid):
    graph, log_flow, log_pf = grid
    with pytest.raises(ValueError, match="log_flow"):
        flows.draw(axes(), graph, log_flow[:-1], log_pf)
    with pytest.raises(ValueError, match="log_pf"):
        flows.draw(axes(), graph, log_flow, log_pf[:, :-1])
    with pytest.raises(ValueError, match="labels must be 8, one a state, got 1"):
        flows.draw(axes(), graph, log_flow, log_pf, labels=["s"])
    with pytest.raises(ValueError, match="positions"):
        flows.draw(axes(), graph, log_flow, log_pf, positions=np.zeros((3, 2)))
    large = graph._replace(terminal=jnp.zeros(401, bool))
    with pytest.raises(ValueError, match="at most 400 states to be drawn, got 401: use a smaller"):
        flows.draw(axes(), large, log_flow, log_pf)
    cyclic = graph._replace(levels=None)
    with pytest.raises(ValueError, match="positions must be given"):
        flows.draw(axes(), cyclic, log_flow, log_pf)
    with pytest.raises(ValueError, match="here s_1 is random"):
        flows.draw(axes(), graph._replace(log_source=jnp.zeros(8)), log_flow, log_pf)
