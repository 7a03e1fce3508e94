import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch

from gfnjax.plot import networks
from gfnjax.plot.style import new_figure


def drawn(weights, *args, **kwargs):
    ax = new_figure(3, 3).subplots()
    networks.draw(ax, weights, *args, **kwargs)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return ax, arrows


def ends(arrow):
    tail, head = arrow._posA_posB
    return tuple(tail), tuple(head)


def widths(arrows):
    return [arrow.get_arrowstyle().tail_width for arrow in arrows]


PLACES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])


def test_an_arrow_is_as_wide_as_its_weight():
    weights = np.zeros((3, 3))
    weights[0, 1], weights[1, 2], weights[2, 0] = 1.0, 0.5, 0.01
    ax, arrows = drawn(weights, "abc", positions=PLACES)
    # The widest is on top; one below the least is left out.
    assert [ends(arrow) for arrow in arrows] == [((1, 0), (0, 2)), ((0, 0), (1, 0))]
    np.testing.assert_allclose(widths(arrows), [networks.WIDEST / 2, networks.WIDEST])
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    assert len(drawn(weights, least=0.0)[1]) == 3


def test_arrows_there_and_back_are_bent():
    weights = np.zeros((3, 3))
    weights[0, 1] = weights[1, 0] = 0.6
    weights[1, 2] = 0.4
    bends = [arrow.get_connectionstyle().rad for arrow in drawn(weights)[1]]
    assert bends == [0.0, networks.BEND, networks.BEND]


def test_edges_of_the_truth_are_coloured():
    weights = np.zeros((3, 3))
    weights[0, 1], weights[1, 2] = 0.9, 0.8
    _, arrows = drawn(weights, highlight=weights > 0.85)
    found = [arrow.get_facecolor() for arrow in arrows]
    assert found == [to_rgba(networks.FAINT), to_rgba(networks.BLUE)]


def test_nodes_are_on_a_circle():
    np.testing.assert_allclose(networks.circle(4), [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (np.zeros((2, 3)), {}, "weights"),
        (np.full((2, 2), 1.5), {}, "weights must be between 0 and 1"),
        (np.zeros((2, 2)), {"names": ["a"]}, "names must be 2, one a node, got 1"),
        (np.zeros((2, 2)), {"positions": np.zeros((3, 2))}, "positions"),
        (np.zeros((2, 2)), {"highlight": np.zeros((3, 3))}, "highlight"),
    ],
)
def test_what_cannot_be_drawn_is_refused(weights, options, message):
    with pytest.raises(ValueError, match=message):
        drawn(weights, **options)
