"""Pictures of molecules by RDKit, which draws them itself: PNG or SVG, by the suffix of the file.

No matplotlib is needed, and no screen.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from gfnjax.arguments import whole
from gfnjax.chemistry.rdkit import part, rdkit
from gfnjax.chemistry.reading import as_molecules
from gfnjax.errors import ArgumentError, require

PANEL = 280  # width in pixels; those of a PNG are twice as many
PNG_SCALE = 2
MARGIN = 40
LINE, FONT, LETTERS = 19, 14, 38  # of captions: height of a line and of its letters, their number
GREATEST_BOND = 34.0  # pixels, so that small molecules are not drawn large
BOND, FRAME = 1.5, 1.2  # in the units of coordinates
INK = (0.133, 0.188, 0.235)  # that of all pictures
NEW = (1.0, 0.83, 0.63)


class _Panel(NamedTuple):
    """A molecule with coordinates, what to write below it, and the atoms to show as new."""

    molecule: Any
    caption: str
    new: tuple[int, ...] = ()


def draw_molecules(
    path: str | Path,
    molecules: Sequence[Any],
    captions: Sequence[str] | None = None,
    columns: int = 4,
) -> Path:
    """Draw molecules row by row, all on one scale, each with its caption below.

        draw_molecules("best.png", smiles, [f"R = {r:.2f}" for r in rewards])

    Args:
        path: a file that ends in .png or .svg.
        molecules: at least one, SMILES or RDKit molecules; drawn in the order given.
        captions: one a molecule; a line break starts a new line.
        columns: how many panels a row has at most; rows are made equally long.

    Returns:
        The path of the picture.

    Raises:
        ValueError: for another suffix, no molecules, or another number of captions.
        ModuleNotFoundError: without RDKit.
    """
    rdkit("pictures of molecules")
    found = [_laid_out(each) for each in as_molecules(molecules)]
    notes = _captions(captions, [""] * len(found))
    return _write(path, [_Panel(m, c) for m, c in zip(found, notes, strict=True)], columns)


def draw_growth(
    path: str | Path,
    molecules: Sequence[Any],
    captions: Sequence[str] | None = None,
    columns: int = 4,
) -> Path:
    """Draw how one molecule grows: a panel a step, what is new in colour, the last one "stop".

    All panels show the atoms where the finished molecule has them. A step is compared with the one
    before by its structure; where that is not contained in it, as after a removal, nothing is
    coloured.

    Args:
        path: a file that ends in .png or .svg.
        molecules: at least one, as they grow, SMILES or RDKit molecules.
        captions: one a step and one for "stop"; without, the steps are numbered.
        columns: how many panels a row has at most; rows are made equally long.

    Returns:
        The path of the picture.

    Raises:
        ValueError, ModuleNotFoundError: as `draw_molecules`.
    """
    rdkit("pictures of molecules")
    found = as_molecules(molecules)
    require(found, "molecules", "must hold at least one", "none")
    names = [*(f"step {i}" for i in range(1, len(found) + 1)), "stop"]
    notes = _captions(captions, names)
    matches = [_match(*pair) for pair in pairwise(found)]
    new = [_others(found[0], ()), *map(_others, found[1:], matches)]
    placed = _placed(found, matches)
    panels = [_Panel(*each) for each in zip(placed, notes, new, strict=False)]
    return _write(path, [*panels, _Panel(placed[-1], notes[-1])], columns)


def _match(earlier: Any, later: Any) -> tuple[int, ...]:
    """Where the atoms of a molecule are in the next; what is new hangs on one bond if it can."""
    matches = later.GetSubstructMatches(earlier, maxMatches=1000)

    def num_cut(match: tuple[int, ...]) -> int:
        kept = set(match)
        ends = ((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in later.GetBonds())
        return sum((one in kept) != (other in kept) for one, other in ends)

    return min(matches, key=num_cut, default=())


def _others(molecule: Any, match: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(range(molecule.GetNumAtoms())) - set(match)))


def _laid_out(molecule: Any) -> Any:
    """A copy for drawing: with 2-D coordinates, single and double bonds in rings."""
    drawing = part("Chem.Draw.rdMolDraw2D", "pictures of molecules")
    copy = drawing.PrepareMolForDrawing(molecule, addChiralHs=False, forceCoords=True)
    part("Chem.rdDepictor", "pictures of molecules").StraightenDepiction(
        copy, minimizeRotation=True
    )
    return copy


def _placed(molecules: list[Any], matches: list[tuple[int, ...]]) -> list[Any]:
    """Copies for drawing, each as far as possible where the last one has its atoms."""
    chem, drawing = rdkit("pictures"), part("Chem.Draw.rdMolDraw2D", "pictures of molecules")
    placed = [_laid_out(molecules[-1])]
    for molecule, match in zip(molecules[-2::-1], matches[::-1], strict=True):
        if match:
            where = placed[0].GetConformer()
            copy, conformer = chem.Mol(molecule), chem.Conformer(molecule.GetNumAtoms())
            copy.RemoveAllConformers()
            conformer.Set3D(False)
            for atom, later in enumerate(match):
                conformer.SetAtomPosition(atom, where.GetAtomPosition(later))
            copy.AddConformer(conformer)
            placed.insert(0, drawing.PrepareMolForDrawing(copy, addChiralHs=False))
        else:
            placed.insert(0, _laid_out(molecule))
    return _framed(placed)


def _framed(molecules: list[Any]) -> list[Any]:
    """With two invisible atoms each in the corners of what all of them cover together."""
    chem, geometry = rdkit("pictures"), part("Geometry", "pictures of molecules")
    positions = [each.GetConformer().GetPositions() for each in molecules]
    # Labels and colours go beyond the atoms, and are not to move the frame.
    low = [min(float(p[:, axis].min()) for p in positions) - FRAME for axis in (0, 1)]
    high = [max(float(p[:, axis].max()) for p in positions) + FRAME for axis in (0, 1)]
    framed = []
    for molecule in molecules:
        editable = chem.RWMol(molecule)
        for corner in (low, high):
            atom = editable.AddAtom(chem.Atom(0))
            editable.GetAtomWithIdx(atom).SetProp("_displayLabel", " ")
            where = geometry.Point3D(*corner, 0.0)
            editable.GetConformer().SetAtomPosition(atom, where)
        framed.append(editable.GetMol())
    return framed


def _captions(given: Sequence[str] | None, otherwise: list[str]) -> list[str]:
    if given is None:
        return otherwise
    captions = [str(each) for each in given]
    if isinstance(given, str) or len(captions) != len(otherwise):
        raise ArgumentError("captions", f"must be {len(otherwise)} texts, got {given!r}")
    return captions


def _write(path: str | Path, panels: list[_Panel], columns: int) -> Path:
    """Draw the panels into a file of the format that its suffix says."""
    path, columns = Path(path), whole("columns", columns, 1)
    require(panels, "molecules", "must hold at least one", "none")
    canvas, scale = _canvas(path)
    rows = math.ceil(len(panels) / columns)
    columns = math.ceil(len(panels) / rows)
    captions = [_lines(each.caption) for each in panels]
    below = LINE * max(map(len, captions)) + LINE
    above = _height([each.molecule for each in panels])
    width, height = PANEL * scale, (above + below) * scale
    drawer = canvas(width * columns, height * rows, width, height)
    _set_style(drawer.drawOptions(), scale, below / (above + below))
    _draw_molecules(drawer, panels)
    for i, lines in enumerate(captions):
        row, column = divmod(i, columns)
        _write_lines(drawer, lines, (column + 0.5) * width, row * height + above * scale, scale)
    drawer.FinishDrawing()
    content = drawer.GetDrawingText()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _canvas(path: Path) -> tuple[Any, int]:
    """What draws into a file of this name, and how many of its pixels make one of ours."""
    drawing = part("Chem.Draw.rdMolDraw2D", "pictures of molecules")
    canvases = {".svg": (drawing.MolDraw2DSVG, 1)}
    if hasattr(drawing, "MolDraw2DCairo"):  # RDKit may be built without
        canvases[".png"] = drawing.MolDraw2DCairo, PNG_SCALE
    if path.suffix.lower() not in canvases:
        known = " or ".join(sorted(canvases))
        raise ArgumentError("path", f"must end in {known}, got {path.name!r}")
    return canvases[path.suffix.lower()]


def _height(molecules: list[Any]) -> int:
    """Of a panel, without its caption: what the tallest molecule takes at the common scale."""
    sizes = [np.ptp(each.GetConformer().GetPositions()[:, :2], axis=0) for each in molecules]
    width, height = np.maximum(np.max(sizes, axis=0), 1e-3)
    inside = PANEL - MARGIN
    pixels = min(GREATEST_BOND / BOND, inside / width, inside / height)
    return max(round(height * pixels) + MARGIN, PANEL // 3)


def _lines(caption: str) -> list[str]:
    return [part for line in caption.splitlines() for part in wrap(line, LETTERS)]


def _set_style(options: Any, scale: int, share_below: float) -> None:
    options.prepareMolsBeforeDrawing = False
    options.fixedBondLength = GREATEST_BOND * scale
    options.bondLineWidth = 1.6 * scale
    options.minFontSize = 9 * scale
    options.maxFontSize = 16 * scale
    options.legendFraction = share_below
    options.padding = MARGIN / PANEL / 2
    options.standardColoursForHighlightedAtoms = True
    options.setHighlightColour(NEW)
    options.highlightRadius = 0.4
    options.highlightBondWidthMultiplier = 14
    options.includeMetadata = False


def _draw_molecules(drawer: Any, panels: list[_Panel]) -> None:
    bonds = [
        [
            bond.GetIdx()
            for bond in each.molecule.GetBonds()
            if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= set(each.new)
        ]
        for each in panels
    ]
    drawer.DrawMolecules(
        [each.molecule for each in panels],
        # RDKit writes lines over each other: it only leaves room for them.
        legends=[" "] * len(panels),
        highlightAtoms=[list(each.new) for each in panels],
        highlightBonds=bonds,
    )


def _write_lines(drawer: Any, lines: list[str], x: float, y: float, scale: int) -> None:
    """Below y, centred at x, in pixels of the file."""
    geometry = part("Geometry", "pictures of molecules")
    drawer.SetFontSize(FONT * scale)
    drawer.SetColour(INK)
    for i, line in enumerate(lines):
        at = geometry.Point2D(x, y + (i + 0.5) * LINE * scale)
        drawer.DrawString(line, at, 0, True)
