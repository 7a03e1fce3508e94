"""The reference: nothing is missing, and docstrings come through as they are meant."""

import importlib
import sys
from types import SimpleNamespace

import pytest
from pages import ROOT

sys.path.insert(0, str(ROOT / "docs" / "extensions"))
docstrings = importlib.import_module("docstrings")
links = importlib.import_module("links")
reference = importlib.import_module("reference")

IMPORTS = (ROOT / "docs" / "imports.md").read_text()


def test_all_modules_and_names_are_read():
    names = reference.listed(IMPORTS)
    assert len(names) == IMPORTS.count("\n## ")
    assert "GFlowNet" in names["gfnjax"]
    assert "additive_set" in names["gfnjax.envs"]


def test_every_name_has_one_home_and_a_place_on_each_page(tmp_path):
    (tmp_path / "imports.md").write_text(IMPORTS)
    reference.write(SimpleNamespace(srcdir=tmp_path))
    names = reference.listed(IMPORTS)
    pages = {m: (tmp_path / "reference" / f"{m}.rst").read_text() for m in names}
    entries = [
        line.split(":: ")[1]
        for page in pages.values()
        for line in page.splitlines()
        if line.startswith((".. autoclass", ".. autofunction"))
    ]
    assert len(entries) == len(set(entries))
    for module, offered in names.items():
        for name in offered:
            own = f"{module}.{name}" in entries
            assert own or f"`{name} <" in pages[module], f"{module}.{name}"
    assert "gfnjax.objectives.DetailedBalance" in entries
    assert "gfnjax.DetailedBalance" not in entries


def test_pages_that_are_no_longer_listed_go(tmp_path):
    (tmp_path / "imports.md").write_text("## `gfnjax.masking`\n\nMasked.\n\n`select`\n")
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "gfnjax.old.rst").touch()
    reference.write(SimpleNamespace(srcdir=tmp_path))
    assert not (tmp_path / "reference" / "gfnjax.old.rst").exists()


@pytest.mark.parametrize(
    ("name", "problem"), [("no_such_thing", "cannot be imported"), ("Undocumented", "docstring")]
)
def test_what_is_missing_fails_the_build(name, problem, tmp_path, monkeypatch):
    monkeypatch.setattr("gfnjax.masking.Undocumented", lambda: None, raising=False)
    (tmp_path / "imports.md").write_text(f"## `gfnjax.masking`\n\nMasked.\n\n`{name}`\n")
    with pytest.raises(ValueError, match=problem):
        reference.write(SimpleNamespace(srcdir=tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max |p - q| over x_", r"max \|p - q\| over x\_"),
        ("a * b, s_0 and P_F", r"a \* b, s_0 and P_F"),
        ("`[B, *]` of `Record`s", r"`[B, *]` of `Record`\ s"),
        ("Attributes:\n    lambda_: of |S|", "Attributes:\n    lambda\\_: of \\|S\\|"),
        (
            "As follows\n\n    |x| * y\n\nand |z|",
            "As follows\n\n::\n\n    |x| * y\n\n\nand \\|z\\|",
        ),
    ],
)
def test_docstrings_mean_what_they_say(text, expected):
    lines = text.split("\n")
    docstrings.process(None, "", "", None, None, lines)
    assert "\n".join(lines).rstrip("\n") == expected


def test_numbers_of_papers_become_links_but_not_in_code():
    paper = "[2302.01687](https://arxiv.org/abs/2302.01687)"
    text = "DB (2302.01687), `2302.01687`, 12302.01687, 2302.016871\n```\n2302.01687\n```\n"
    assert links.papers(text) == text.replace("(2302.01687)", f"({paper})")
    assert links.papers(paper) == paper
    linked = "Loss (`2302.01687 <https://arxiv.org/abs/2302.01687>`__), of"
    assert docstrings.escaped("Loss (2302.01687), of") == linked
