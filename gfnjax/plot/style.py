"""The style that all pictures share, and what draws them without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any, ParamSpec

from gfnjax.plot.curves import INK

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

SHADES = ("#f4f8f8", "#c3e0e2", "#66b2bd", "#1f6f8b", "#0b2a40")
STYLE = {
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b8c4cc",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6ebee",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 130,
}

__all__ = ["use"]

P = ParamSpec("P")


def use() -> None:
    """Draw one's own figures in the style of the library's: sets matplotlib's `rcParams`."""
    _matplotlib().rcParams.update(STYLE)


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """`make` with the style of all pictures."""

    @wraps(make)
    def make_styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _matplotlib().rc_context(STYLE):
            return make(*args, **kwargs)

    return make_styled


def _matplotlib() -> Any:
    """The package, whatever backend `MPLBACKEND` asks for: nothing here is drawn with it.

    A shell inherits the variable from a notebook, whose backend need not be installed here.
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    # With the variable set to what is not there the import fails, and cannot be repeated.
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    if asked:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = asked
    return matplotlib


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a width and height in inches; notebooks show it where it is returned."""
    # Not pyplot: it keeps every figure, and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    # Without pyplot no notebook knows how to show a figure: it asks for this.
    figure._repr_png_ = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def shades() -> Colormap:
    """The colours of heat maps, from light to dark."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("gfnjax", SHADES)


def integers() -> Locator:
    """Ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(7, steps=(1, 2, 5, 10), integer=True)
