"""Pictures of molecules: files of the right kind and size, in which something is drawn."""

import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip("rdkit")

from PIL import Image
from rdkit import Chem

from gfnjax.plot import molecules as pictures

SMILES = ["CCO", "c1ccccc1", "C", "[Na+].[Cl-]", "C[C@H](N)C(=O)O"]
GROWTH = ["c1ccccc1", "c1ccccc1CC", "c1ccccc1CCN1CCOCC1"]
ORANGE = np.array([255, 212, 161])


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def panels(image, rows, columns):
    height, width, _ = image.shape
    parts = image.reshape(rows, height // rows, columns, width // columns, 3)
    return parts.transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1, width // columns, 3)


def is_coloured(panel):
    return bool((np.abs(panel - ORANGE).max(axis=-1) < 6).sum() > 50)


def has_ink(panel):
    return bool((panel < 128).any())


def test_a_grid(tmp_path):
    path = tmp_path / "grid.png"
    assert pictures.draw_molecules(path, SMILES, [f"R = {i}" for i in range(5)], 3) == path
    image = pixels(path)
    assert image.shape[1] == 3 * 2 * pictures.PANEL
    parts = panels(image, 2, 3)
    assert [has_ink(part) for part in parts] == [True] * 5 + [False]
    assert not any(map(is_coloured, parts))
    # Nothing is cut off: no ink at the edges of a panel, where a caption or atom might be.
    for part in parts:
        edges = part[0], part[-1], part[:, 0], part[:, -1]
        assert all((edge > 250).all() for edge in edges)


def test_rows_are_equally_long(tmp_path):
    path = pictures.draw_molecules(tmp_path / "grid.png", ["CCO"] * 5)
    assert pixels(path).shape[1] == 3 * 2 * pictures.PANEL
    path = pictures.draw_molecules(tmp_path / "grid.png", ["CCO"])
    assert pixels(path).shape[1] == 2 * pictures.PANEL


def test_captions_take_lines(tmp_path):
    heights = []
    for caption in ("", "one", "one\ntwo", "a caption that is too long to be written in one line"):
        heights.append(pixels(pictures.draw_molecules(tmp_path / "a.png", ["CCO"], [caption])))
    sizes = [len(image) // 2 for image in heights]
    assert np.diff(sizes).tolist() == [pictures.LINE, pictures.LINE, 0]
    below = [image[-2 * pictures.LINE * 2 :] for image in heights]
    assert [has_ink(part) for part in below] == [False, True, True, True]


def test_molecules_stay_as_they_are(tmp_path):
    molecules = [Chem.MolFromSmiles(each) for each in SMILES]
    pictures.draw_molecules(tmp_path / "a.png", molecules)
    pictures.draw_growth(tmp_path / "b.png", molecules)
    assert [each.GetNumConformers() for each in molecules] == [0] * 5
    assert [Chem.MolToSmiles(each) for each in molecules] == [Chem.CanonSmiles(s) for s in SMILES]


def test_growth_colours_what_is_new(tmp_path):
    path = pictures.draw_growth(tmp_path / "growth.png", GROWTH)
    parts = panels(pixels(path), 1, 4)
    assert [is_coloured(part) for part in parts] == [True, True, True, False]
    # The first ring stays in its place: its ink of the first panel is in the last one as well.
    first, last = ((part < 100).all(axis=-1)[: -2 * pictures.LINE * 2] for part in parts[[0, 3]])
    assert (last & first).sum() > 0.6 * first.sum()


def test_what_is_new_hangs_on_one_bond():
    earlier, later = (Chem.MolFromSmiles(each) for each in ("CCC", "CCCCC"))
    match = pictures._match(earlier, later)
    assert sorted(match) in ([0, 1, 2], [2, 3, 4])
    assert pictures._match(Chem.MolFromSmiles("CN"), later) == ()


def test_growth_after_a_removal(tmp_path):
    path = pictures.draw_growth(tmp_path / "a.png", ["c1ccccc1CC", "c1ccccc1", "C1CC1"])
    assert len(panels(pixels(path), 1, 4)) == 4
    path = pictures.draw_growth(tmp_path / "a.png", ["C"], ["first", "stop: R = 1"])
    assert pixels(path).shape[1] == 2 * 2 * pictures.PANEL


@pytest.mark.parametrize("draw", [pictures.draw_molecules, pictures.draw_growth])
def test_svg(draw, tmp_path):
    path = draw(str(tmp_path / "drawn.SVG"), GROWTH)
    root = ElementTree.parse(path).getroot()
    assert root.tag.endswith("svg")
    columns = 3 if draw is pictures.draw_molecules else 4
    assert float(root.get("width").removesuffix("px")) == columns * pictures.PANEL
    assert sum(each.tag.endswith("path") for each in root.iter()) > 30


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"^path must end in .png or .svg, got 'a.jpg'$"):
        pictures.draw_molecules(tmp_path / "a.jpg", ["C"])
    with pytest.raises(ValueError, match=r"^captions must be 2 texts, got \['a'\]$"):
        pictures.draw_molecules(tmp_path / "a.png", ["C", "O"], ["a"])
    with pytest.raises(ValueError, match=r"^captions must be 3 texts"):
        pictures.draw_growth(tmp_path / "a.png", ["C", "CO"], ["a", "b"])
    for draw in (pictures.draw_molecules, pictures.draw_growth):
        with pytest.raises(ValueError, match=r"^molecules must hold at least one, got none$"):
            draw(tmp_path / "a.png", [])
    with pytest.raises(ValueError, match=r"^columns must be at least 1, got 0$"):
        pictures.draw_molecules(tmp_path / "a.png", ["C"], columns=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [pictures.draw_molecules, pictures.draw_growth])
def test_without_rdkit(draw, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ModuleNotFoundError, match=r"^pictures of molecules needs? RDKit: install"):
        draw(tmp_path / "a.png", SMILES)
