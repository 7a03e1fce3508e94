"""The gallery: a section and a picture of every environment, of runs that can be made."""

import importlib.util
import pkgutil
import re

import numpy as np
import pytest
from pages import ROOT
from PIL import Image

import gfnjax.run
from gfnjax import registry

PAGE = (ROOT / "docs" / "gallery.md").read_text()
PICTURES = {path.stem: path for path in (ROOT / "docs" / "gallery").iterdir()}
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n### ")[1:]}
NAMES = [e.name for e in registry.entries("environment") if e.module.startswith("gfnjax.")]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_environment_has_a_section_and_a_picture_and_nothing_is_left_over(script):
    assert len(NAMES) >= 24
    assert sorted(SECTIONS) == sorted(PICTURES) == sorted(script.RUNS) == sorted(NAMES)
    linked = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert sorted(linked) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_section_has_all_that_a_reader_looks_for(name):
    section = SECTIONS[name]
    assert re.search(rf"^!\[[^]]+\]\(gallery/{name}\.png\)$", section, re.MULTILINE)
    assert f"`gfnjax train {name}" in section
    assert "T = " in section or "cut at" in section
    assert "Exact" in section
    found = re.findall(r"`(gfnjax[\w.]*)\.(\w+)\(", section)
    assert found
    assert all(callable(pkgutil.resolve_name(":".join(path))) for path in found)


def test_pictures_are_small():
    sizes = {name: path.stat().st_size for name, path in PICTURES.items()}
    assert max(sizes.values()) <= 60_000, max(sizes, key=sizes.get)
    assert sum(sizes.values()) <= 1_200_000
    for path in PICTURES.values():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 300 < image.width <= 1_000


def test_a_picture_is_made_small(script, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 1_500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    script.small(tmp_path / "large.png", tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as image:
        assert image.size == (1_000, 40)
        assert len(image.getcolors()) <= 128


def test_few_pixels_of_a_colour_keep_it(script):
    picture = np.full((40, 40, 3), 255, np.uint8)
    picture[:, :20] = np.random.default_rng(0).integers(0, 255, (40, 20, 3))
    picture[39, 39] = orange = [0xD1, 0x60, 0x3D]
    made = np.asarray(script.with_palette(Image.fromarray(picture), 12).convert("RGB"))
    assert made[39, 39].tolist() == orange
    assert made[0, 39].tolist() == [255] * 3


@pytest.mark.parametrize("name", NAMES)
def test_the_runs_of_the_script_can_be_described(name, script):
    config = gfnjax.run.configure(name, **script.RUNS[name].settings)
    assert config.environment == name
    assert config.training.steps <= 10_000
