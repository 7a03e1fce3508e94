import numpy as np
import pytest

from gfnjax.userdata import absolute, read_matrix, read_sequences

ROWS = np.array([[1.0, -2.0], [0.5, 3e4], [0.0, 7.0]])


def test_a_matrix_in_three_kinds_of_file(tmp_path):
    np.save(tmp_path / "m.npy", ROWS)
    np.savez(tmp_path / "m.npz", anything=ROWS)
    (tmp_path / "m.csv").write_text("1,-2\n.5,3e4\n\n0,7\n")
    (tmp_path / "named.csv").write_text("first,second\n1,-2\n.5,3e4\n0,7\n")
    for name in ("m.npy", "m.npz", "m.csv", "named.csv"):
        np.testing.assert_array_equal(read_matrix(tmp_path / name), ROWS)


def test_an_empty_cell_is_nan(tmp_path):
    (tmp_path / "m.csv").write_text("1,\n2,3\n")
    np.testing.assert_array_equal(read_matrix(tmp_path / "m.csv"), [[1, np.nan], [2, 3]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "1,2\n3\n", "line 2 must have 2 cells as the first has, got 1"),
        ("m.csv", "1,2\n3,x\n", "line 2 must hold numbers, got 'x'"),
        ("m.csv", "a,b\n", "must hold numbers, got none"),
        ("m.npy", "text", "m.npy is damaged, or holds more than plain arrays"),
        ("m.npz", "text", "m.npz is damaged, or holds more than plain arrays"),
        ("m.txt", "1,2", r"data must be a \.npy, \.npz, \.csv file, got .*m\.txt"),
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


def test_sequences(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"a": "AC", "b": "AG"}')
    assert read_sequences(path) == {"a": "AC", "b": "AG"}
    for content, message in (("[", "is not JSON"), ('["AC"]', "an object from species")):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_sequences(path)


def test_missing_files_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (read_matrix, read_sequences):
        with pytest.raises(FileNotFoundError, match=r"no such file: nowhere\.npy"):
            read("nowhere.npy")
    assert absolute(None) is None
    assert absolute("m.npy") == str(tmp_path / "m.npy")
    assert absolute(absolute("m.npy")) == absolute("m.npy")
