"""Draw `docs/gallery/NAME.png`: a short run of every environment, and what it shows best.

    GFNJAX_DATA=... python scripts/gallery.py [NAME ...] [--steps N]

Without names all of them, about twenty minutes on two cores. `amp`, `molecules`, `phylogeny` and
`qm9-small` need their data files, `molecules` RDKit. The pictures are committed, so they are made
small: at most 1,000 pixels wide, of a few colours.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from gfnjax.plot import pictures
from gfnjax.run import configure, start

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "gallery"
MAX_WIDTH = 1_000
NUM_COLOURS = 96


class Run(NamedTuple):
    """A run to draw: which of its pictures, and what is not the environment's default."""

    picture: str
    settings: dict[str, Any]


# Of one graph that fits a page; without a solver, of which a picture says nothing.
GRAPH: dict[str, Any] = {"num_graphs": 1, "steps": 300, "solver_seconds": 0.0}
RUNS = {
    "hypergrid": Run("summary", {"side": 16, "steps": 1_500}),
    "hypergrid-20x4": Run("distribution", {"steps": 2_000, "evaluation_samples": 20_000}),
    "cyclic-grid": Run("summary", {"steps": 2_000}),
    "permutations": Run("summary", {"steps": 500}),
    "bits": Run("summary", {"num_bits": 32, "word_size": 4, "num_modes": 8, "steps": 600}),
    "bits-left-to-right": Run(
        "summary", {"num_bits": 32, "word_size": 4, "num_modes": 8, "steps": 600}
    ),
    "tfbind8": Run("distribution", {"steps": 3_000}),
    "qm9-small": Run("distribution", {"steps": 3_000}),
    "amp": Run("distribution", {"steps": 100}),
    "set": Run("summary", {"steps": 1_500}),
    "ising": Run("objects", {"side": 8, "steps": 1_000}),
    "ising-learned": Run("summary", {"steps": 500}),
    "dag": Run("objects", {"steps": 3_000}),
    "graphs": Run("objects", {"steps": 1_500}),
    "independent-set": Run("objects", GRAPH),
    "clique": Run("objects", GRAPH | {"probability": 0.5}),
    "dominating-set": Run("objects", GRAPH),
    "max-cut": Run("objects", GRAPH),
    "phylogeny": Run("objects", {"steps": 300}),
    "molecules": Run("best", {"steps": 300}),
    "text": Run("texts", {"variant": "bigram"}),
    "diffusion": Run("samples", {"variant": "both", "steps": 300, "num_steps": 50}),
    "box": Run("summary", {"steps": 1_000}),
    "torus": Run("summary", {"steps": 1_000}),
}


def small(source: Path, target: Path) -> None:
    """Write a picture anew, narrow enough for a page and of few colours."""
    with Image.open(source) as image:
        image = image.convert("RGB")
        if image.width > MAX_WIDTH:
            height = round(image.height * MAX_WIDTH / image.width)
            image = image.resize((MAX_WIDTH, height), Image.Resampling.LANCZOS)
        image = image.quantize(NUM_COLOURS, dither=Image.Dither.NONE)
        image.save(target, optimize=True)


def draw(name: str, steps: int | None, folder: Path) -> Path:
    """Train an environment as `RUNS` says, for so many steps if given, and draw its picture."""
    picture, settings = RUNS[name]
    config = configure(name, **settings | ({} if steps is None else {"steps": steps}))
    target = folder / f"{name}.png"
    with tempfile.TemporaryDirectory() as place:
        drawn = pictures.draw(start(config, Path(place) / name))
        small(next(path for path in drawn if path.name == f"{picture}.png"), target)
    return target


def main() -> None:
    """Draw the pictures named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *RUNS], metavar="NAME", default=[])
    parser.add_argument("--steps", type=int, help="of each run; those that RUNS says without")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or RUNS:
        path = draw(name, arguments.steps, arguments.folder)
        print(f"wrote {path} ({path.stat().st_size:,} bytes)", flush=True)


if __name__ == "__main__":
    main()
