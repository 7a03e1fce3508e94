"""A picture of the texts that a run writes: the best ones after a few prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gfnjax.plot.curves import FAINT, INK
from gfnjax.plot.style import new_figure, styled
from gfnjax.run.texts import FoundTexts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Lines for all prompts together.
MAX_LINES = 24
LONGEST = 84
LINE = 0.24
HEADINGS = ("log R", "log q", "times")
PLACES = (0.80, 0.90, 0.99)


def draw_texts(folder: Path, found: FoundTexts) -> list[Path]:
    """Draw `texts.png` into a folder."""
    path = folder / "texts.png"
    table(found).savefig(path)
    return [path]


@styled
def table(found: FoundTexts) -> Figure:
    """The best texts of a sample after each of the first prompts, one a line."""
    prompts = list(dict.fromkeys(found.prompts))
    each = max(MAX_LINES // len(prompts), 1)
    rows = {x: [i for i, y in enumerate(found.prompts) if y == x][:each] for x in prompts}
    lines = 1 + sum(len(shown) + 2 for shown in rows.values())
    figure = new_figure(10, LINE * lines + 0.3)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(lines, 0))
    axes.axis("off")
    for place, heading in zip(PLACES, HEADINGS, strict=True):
        axes.text(place, 0.5, heading, ha="right", va="center", color=INK)
    y = 1.5
    for prompt, shown in rows.items():
        axes.text(0, y, shortened(prompt), va="center", weight="bold", parse_math=False)
        axes.plot((0, 1), (y + 0.5, y + 0.5), color=FAINT, linewidth=0.8)
        for i in shown:
            y += 1
            axes.text(0.02, y, shortened(found.texts[i]), va="center", parse_math=False)
            values = f"{found.log_r[i]:.2f}", f"{found.log_q[i]:.2f}", f"{found.count[i]}"
            for place, value in zip(PLACES, values, strict=True):
                axes.text(place, y, value, ha="right", va="center")
        y += 2
    return figure


def shortened(text: str) -> str:
    """A text on one line, without blanks at its ends; of a long one the middle is left out."""
    line = text.strip(" ").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    if not line:
        line = f"\u201c{text}\u201d"
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[: half - 1]} \u2026 {line[2 - half :]}"
