"""Published pickles: arrays come out as they are, anything else is refused before it runs."""

import gzip
import os
import pickle

import numpy as np
import pytest

from gfnjax.data.pickled_arrays import read_arrays, write_named

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([True, False])]


class Harmful:
    """Unpickled by what is installed, it would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def write(path, value, protocol=4):
    with gzip.open(path, "wb") as file:
        pickle.dump(value, file, protocol)
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_come_out_as_they_are(protocol, tmp_path):
    found = read_arrays(write(tmp_path / "list.pkl.gz", ARRAYS, protocol))
    assert [x.dtype for x in found] == [np.float32, bool]
    for one, other in zip(found, ARRAYS, strict=True):
        np.testing.assert_array_equal(one, other)


def test_older_names_of_the_module_are_known(tmp_path):
    text = pickle.dumps(ARRAYS, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in text
    (tmp_path / "old.pkl.gz").write_bytes(gzip.compress(text))
    np.testing.assert_array_equal(read_arrays(tmp_path / "old.pkl.gz")[0], ARRAYS[0])


@pytest.mark.parametrize(
    "value",
    [[Harmful()], [*ARRAYS, "text"], {"a": ARRAYS[0]}, [np.array([Harmful()], object)], []],
    ids=["code", "text", "dict", "objects", "nothing"],
)
def test_anything_else_is_refused_and_not_run(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "value.pkl.gz", value)
    if value:
        with pytest.raises(ValueError, match=r"value\.pkl\.gz is damaged, or holds more than"):
            read_arrays(path)
    else:
        assert read_arrays(path) == []
    assert not (tmp_path / "harm").exists()


def test_what_is_no_pickle_is_refused(tmp_path):
    (tmp_path / "a.pkl.gz").write_bytes(b"no gzip")
    (tmp_path / "b.pkl.gz").write_bytes(gzip.compress(pickle.dumps(ARRAYS, 4)[:-9]))
    for name in ("a.pkl.gz", "b.pkl.gz"):
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            read_arrays(tmp_path / name)


def test_they_are_kept_under_names(tmp_path):
    path, target = write(tmp_path / "list.pkl.gz", ARRAYS), tmp_path / "named.npz"
    write_named(["first", None], path, target)
    with np.load(target, allow_pickle=False) as found:
        assert found.files == ["first"]
        np.testing.assert_array_equal(found["first"], ARRAYS[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["list.pkl.gz", "named.npz"]
    with pytest.raises(ValueError, match="must hold 1 arrays, got 2"):
        write_named(["first"], path, target)
