import numpy as np
import pytest

from gfnjax.plot.seed_bands import Band, Panel, bands_of


@pytest.mark.parametrize("columns", [1, 2])
def test_a_long_title_is_not_cut_off_however_few_panels_there_are(columns):
    band = Band("TB", np.array([0, 10]), np.array([[1.0, 0.1], [0.5, 0.2]]))
    panels = [Panel("16x16", "total_variation", [band])] * columns
    title = "Trajectory, detailed and sub-trajectory balance on the hypergrid, lowest to highest"
    figure = bands_of(title, [panels], ["TB"])
    figure.canvas.draw()
    words = figure._suptitle
    assert words.get_text().split() == title.split()
    assert words.get_window_extent().x1 <= figure.bbox.width
    assert words.get_text().count("\n") == (columns == 1)


def test_what_a_later_panel_alone_shows_is_said_there():
    def shown(*labels):
        bands = [Band(x, np.array([0, 10]), np.array([[1.0, 0.1]])) for x in labels]
        return Panel("grid", "total_variation", bands)

    panels = [shown("TB", "DB"), shown("TB"), shown("TB", "FM")]
    legends = [ax.get_legend() for ax in bands_of("grids", [panels], ["TB", "DB", "FM"]).axes]
    said = [legend and [text.get_text() for text in legend.get_texts()] for legend in legends]
    assert said == [["TB", "DB"], None, ["TB", "FM"]]
