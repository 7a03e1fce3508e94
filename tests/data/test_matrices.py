import sys

import numpy as np
import pytest

from gfnjax.data import absolute, read_matrix, read_sequences
from gfnjax.data.files import read_text

ROWS = np.array([[1.0, -2.0], [0.5, 3e4], [0.0, 7.0]])


def test_a_matrix_in_three_kinds_of_file(tmp_path):
    np.save(tmp_path / "m.npy", ROWS)
    np.savez(tmp_path / "m.npz", anything=ROWS)
    (tmp_path / "m.csv").write_text("1,-2\n.5,3e4\n\n0,7\n")
    (tmp_path / "named.csv").write_text("first,second\n1,-2\n.5,3e4\n0,7\n")
    for name in ("m.npy", "m.npz", "m.csv", "named.csv"):
        np.testing.assert_array_equal(read_matrix(tmp_path / name), ROWS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "1,2\n3\n", "line 2 must have 2 cells as the first has, got 1"),
        ("m.csv", "1,2\n3,x\n", "line 2, column 2 must be a number, got 'x'"),
        ("m.csv", "1,\n2,3\n", "line 1, column 2 is missing: drop or impute .* got ''"),
        ("m.csv", "a,b\n", "must hold numbers, got none"),
        ("m.npy", "text", "m.npy is damaged, or holds more than plain arrays"),
        ("m.npz", "text", "m.npz is damaged, or holds more than plain arrays"),
        ("m.xlsx", "1,2", r"data must be a \.npy, \.npz, \.csv, .* file, got .*m\.xlsx"),
    ],
)
def test_files_that_hold_no_matrix(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_matrix(tmp_path / name)


def test_arrays_that_are_no_matrix(tmp_path):
    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    with pytest.raises(ValueError, match=r"two\.npz: must hold one array, got a, b"):
        read_matrix(tmp_path / "two.npz")
    np.save(tmp_path / "vector.npy", ROWS[0])
    with pytest.raises(ValueError, match=r"must hold a matrix, .* got shape \(2,\)"):
        read_matrix(tmp_path / "vector.npy")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="more than plain arrays"):
        read_matrix(tmp_path / "object.npy")


@pytest.mark.parametrize("kind", [complex, bool, "U3", "datetime64[D]", [("a", float)]])
def test_arrays_of_something_else_than_real_numbers(tmp_path, kind):
    np.save(tmp_path / "m.npy", np.zeros((3, 2), kind))
    with pytest.raises(ValueError, match=r"m\.npy: must hold real numbers, got "):
        read_matrix(tmp_path / "m.npy")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_parquet_where_a_library_reads_it(tmp_path, monkeypatch, library):
    frames = pytest.importorskip(library)
    if library == "pandas":
        pytest.importorskip("pyarrow")
        monkeypatch.setitem(sys.modules, "polars", None)
        # An index that is not 0, 1, 2, ... is kept in the file.
        frame = frames.DataFrame(ROWS, columns=["a", "b"], index=[4, 5, 9])
        frame.to_parquet(tmp_path / "m.parquet")
        frames.DataFrame({"a": ["x", "y"]}).to_parquet(tmp_path / "text.parquet")
    else:
        frames.DataFrame(ROWS, schema=["a", "b"]).write_parquet(tmp_path / "m.parquet")
        frames.DataFrame({"a": ["x", "y"]}).write_parquet(tmp_path / "text.parquet")
    np.testing.assert_array_equal(read_matrix(tmp_path / "m.parquet"), ROWS)
    with pytest.raises(ValueError, match="column 'a' must hold real numbers, got "):
        read_matrix(tmp_path / "text.parquet")
    (tmp_path / "bad.parquet").write_text("PAR1")
    with pytest.raises(ValueError, match="is damaged, or no Parquet file"):
        read_matrix(tmp_path / "bad.parquet")


def test_parquet_without_a_library_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    for library in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'gfnjax\[data\]'"):
        read_matrix(tmp_path / "m.parquet")


def test_text_in_any_unicode_encoding_and_no_other(tmp_path):
    path = tmp_path / "t.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        path.write_text("é,1\n", encoding=encoding)
        assert read_text(path) == "é,1\n"
    for encoding, message in (("latin-1", "save it as UTF-8"), ("utf-16-le", "zero bytes|UTF-8")):
        path.write_text("é,1\n", encoding=encoding)
        with pytest.raises(ValueError, match=message):
            read_text(path)


def test_missing_files_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (read_matrix, read_sequences):
        with pytest.raises(FileNotFoundError, match=r"no such file: nowhere\.npy"):
            read("nowhere.npy")
    assert absolute(None) is None
    assert absolute("m.npy") == str(tmp_path / "m.npy")
    assert absolute(absolute("m.npy")) == absolute("m.npy")
