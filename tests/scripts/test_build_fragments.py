"""The script that builds the tables of the published fragments."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from gfnjax.chemistry import tables
from gfnjax.chemistry.vocabulary import PUBLISHED, read_vocabulary
from gfnjax.data import published

PATH = Path(__file__).resolve().parents[2] / "scripts" / "build_fragments.py"


@pytest.mark.skipif(
    "GFNJAX_DATA" not in os.environ or not published.available(PUBLISHED),
    reason=f"set GFNJAX_DATA to a directory that holds {PUBLISHED}",
)
def test_the_file_is_what_the_script_builds():
    pytest.importorskip("rdkit")
    spec = importlib.util.spec_from_file_location("build_fragments", PATH)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    built = script.arrays(read_vocabulary(Path(os.environ["GFNJAX_DATA"]) / PUBLISHED))
    stored = tables.published_tables()
    assert built.keys() == stored.keys()
    for name, array in built.items():
        np.testing.assert_array_equal(array, stored[name], name)
        assert array.dtype == stored[name].dtype, name
    # Arrays of numbers; text is checksums alone.
    assert {name for name, array in stored.items() if array.dtype.kind not in "ib"} == {
        "digest",
        "entries_digest",
    }
