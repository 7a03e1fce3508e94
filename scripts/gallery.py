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

import numpy as np
from PIL import Image

from gfnjax.envs.drawing import INK, ORANGE
from gfnjax.plot import pictures
from gfnjax.plot.style import shades
from gfnjax.run import configure, start

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "gallery"
# Width and number of colours: the first that make a picture no larger than that.
SIZES = (1_000, 96), (1_000, 32), (1_000, 12), (800, 12), (650, 12)
MAX_BYTES = 60_000
# On white, in so many steps: of thin lines, points and letters, which counting would lose.
RARE, NUM_STEPS = (ORANGE, INK), 4
# Of heat maps, whose bars of colours are small.
NUM_SHADES = 20


class Run(NamedTuple):
    """A run to draw: which of its pictures, and what is not the environment's default."""

    picture: str
    settings: dict[str, Any]


FEW = {"evaluation_samples": 500}
# Far corners are found late.
LATE = {"epsilon_steps": 30_000}
# Of one graph that fits a page; without a solver, of which a picture says nothing.
GRAPH = {"num_graphs": 1, "graph_seed": 2, "probability": 0.15, "solver_seconds": 0.0}
GRAPH |= FEW | {"gin": {"width": 32}, "steps": 200, "chunk_size": 100}
BITS = {"num_bits": 12, "word_size": 3, "num_modes": 4, "beta": 24.0, "steps": 1_500}
BITS |= {"epsilon": 0.05}
RUNS = {
    "hypergrid": Run("summary", {"side": 16, "steps": 1_500}),
    "hypergrid-20x4": Run("distribution", LATE | {"steps": 8_000, "chunk_size": 4_000}),
    "cyclic-grid": Run("summary", {"steps": 1_500}),
    "permutations": Run("summary", {"size": 6, "steps": 500, "chunk_size": 100}),
    "bits": Run("summary", BITS),
    "bits-left-to-right": Run("summary", BITS),
    "tfbind8": Run("distribution", {"batch_size": 64, "steps": 3_000, "chunk_size": 3_000}),
    "qm9-small": Run("distribution", {"steps": 3_000, "chunk_size": 3_000}),
    "amp": Run("distribution", FEW | {"steps": 60, "chunk_size": 30}),
    "set": Run("summary", {"steps": 1_000}),
    "ising": Run("objects", FEW | {"side": 6, "sigma": 0.15, "steps": 2_000}),
    "ising-learned": Run("summary", FEW | {"steps": 1_600, "chunk_size": 400}),
    "dag": Run("objects", {"num_nodes": 4, "prior": "edge", "steps": 2_000}),
    "graphs": Run("objects", {"steps": 1_500}),
    "independent-set": Run("objects", GRAPH),
    "clique": Run("objects", GRAPH | {"family": "rb", "graph_seed": 1}),
    "dominating-set": Run("objects", GRAPH),
    "max-cut": Run("objects", GRAPH),
    "phylogeny": Run("objects", {"steps": 150, "chunk_size": 50, "evaluation_samples": 100}),
    "molecules": Run(
        "best", {"steps": 150, "chunk_size": 75, "condition": "none", "evaluation_samples": 200}
    ),
    "text": Run("distribution", {"variant": "bigram", "steps": 300}),
    "diffusion": Run(
        "samples",
        FEW | {"variant": "both", "steps": 300, "chunk_size": 100, "num_steps": 50},
    ),
    "box": Run("summary", {"steps": 1_200, "chunk_size": 200}),
    "torus": Run("summary", {"steps": 400, "chunk_size": 100}),
}


def small(source: Path, target: Path) -> None:
    """Write a picture anew, narrow enough for a page and of few colours."""
    with Image.open(source) as image:
        image = image.convert("RGB")
    for width, num_colours in SIZES:
        height = round(image.height * width / image.width)
        fits = image.width <= width
        narrow = image if fits else image.resize((width, height), Image.Resampling.LANCZOS)
        with_palette(narrow, num_colours).save(target, optimize=True)
        if target.stat().st_size <= MAX_BYTES:
            break


def with_palette(image: Image.Image, num_colours: int) -> Image.Image:
    """The picture in `num_colours` of its colours and a few rare ones, white as it is."""
    found = image.quantize(num_colours, dither=Image.Dither.NONE).getpalette() or []
    share = np.linspace(0, 1, NUM_STEPS + 1)[:, None]
    rare = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in RARE])
    kept = [255 + share * (one - 255) for one in rare]
    kept.append(255 * shades()(np.linspace(0, 1, NUM_SHADES))[:, :3])
    palette = np.concatenate([np.reshape(found, (-1, 3)), *kept]).astype(int)
    pixels = np.asarray(image)
    colours, place = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    nearest = ((colours[:, None].astype(int) - palette) ** 2).sum(axis=-1).argmin(axis=1)
    made = Image.fromarray(nearest[place].reshape(pixels.shape[:2]).astype(np.uint8), "P")
    made.putpalette(palette.reshape(-1).tolist())
    return made


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
