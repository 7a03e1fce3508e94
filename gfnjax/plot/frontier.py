"""A picture of how likely and how different texts are, at several temperatures of decoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfnjax.plot.curves import BLUE, INK, ORANGE
from gfnjax.plot.style import new_figure, styled
from gfnjax.run.frontier import BASE, BEST, TRAINED, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = {TRAINED: (BLUE, "o"), BASE: (INK, "s"), BEST: (ORANGE, "D")}


def draw_frontier(folder: Path, points: Sequence[Point]) -> list[Path]:
    """Draw `frontier.png` into a folder."""
    path = folder / "frontier.png"
    frontier(points).savefig(path)
    return [path]


@styled
def frontier(points: Sequence[Point]) -> Figure:
    """Likelihood against diversity, each point with its temperature; up and right is better."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    for who, (colour, marker) in LOOKS.items():
        own = sorted((p for p in points if p.who == who), key=lambda p: p.temperature)
        x, y = [p.diversity for p in own], [p.log_likelihood for p in own]
        axes.plot(x, y, color=colour, marker=marker, linewidth=1.2, label=who)
        for point in own:
            place = point.diversity, point.log_likelihood
            shift = {"xytext": (5, 5), "textcoords": "offset points"}
            axes.annotate(f"{point.temperature:g}", place, color=colour, fontsize=8, **shift)
    axes.grid(True)
    axes.set_xlabel("diversity: pairs of tokens that two texts do not share")
    axes.set_ylabel("log-likelihood of a text, nats")
    axes.legend(title="numbers: temperature of tokens")
    return figure
