"""The data loader: where it looks, what it refuses and what it says."""

import gzip
import hashlib
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pooch
import pytest

from gfnjax.data import published


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty GFNJAX_DATA and an empty cache."""
    chosen, cache = tmp_path / "chosen", tmp_path / "cache"
    chosen.mkdir()
    monkeypatch.setenv("GFNJAX_DATA", str(chosen))
    monkeypatch.setattr(published, "cache_directory", lambda: cache)
    return chosen, cache


def _write_scores(folder, value):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "qm9_small.npz", score=np.full((2, 2), value))


def test_the_chosen_directory_comes_before_the_cache(folders, monkeypatch):
    chosen, cache = folders
    _write_scores(cache, 1.0)
    assert published.load("qm9_small.npz")["score"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    _write_scores(chosen, 2.0)
    assert published.load("qm9_small.npz")["score"][0, 0] == 2.0
    monkeypatch.delenv("GFNJAX_DATA")
    assert published.load("qm9_small.npz")["score"][0, 0] == 1.0


def test_json_is_parsed(folders):
    (folders[0] / "phylo").mkdir()
    (folders[0] / "phylo" / "DS1.json").write_text(json.dumps({"a": "ACGT"}))
    assert published.load("phylo/DS1.json") == {"a": "ACGT"}


def test_an_unknown_name_lists_the_known_ones(folders):
    with pytest.raises(ValueError, match=r"name must be one of .*qm9_small\.npz.*, got 'qm10'"):
        published.load("qm10")
    with pytest.raises(ValueError, match="name must be one of"):
        published.available("../secret.npz")


def test_a_missing_file_says_where_and_what(folders):
    with pytest.raises(FileNotFoundError) as error:
        published.load("qm9_small.npz")
    message = str(error.value)
    assert all(str(folder) in message for folder in folders)
    for words in ("Set GFNJAX_DATA", "`score` [11, 11, 11, 11, 11]", "maxwshen/gflownet"):
        assert words in message
    assert not published.available("qm9_small.npz")


def test_a_directory_that_does_not_exist_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("GFNJAX_DATA", str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match=r"GFNJAX_DATA must name a directory, got .*typo"):
        published.load("qm9_small.npz")


def test_damaged_files_are_refused(folders):
    path = folders[0] / "qm9_small.npz"
    _write_scores(folders[0], 1.0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        published.load("qm9_small.npz")
    (folders[0] / "phylo").mkdir()
    (folders[0] / "phylo" / "DS1.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="is damaged"):
        published.load("phylo/DS1.json")


def test_pickled_objects_are_refused(folders):
    np.savez(folders[0] / "qm9_small.npz", score=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="more than plain arrays"):
        published.load("qm9_small.npz")


def test_a_download_is_checked_and_kept(folders, monkeypatch):
    body = b'{"block_name": {}}'
    entry = published.FILES["seh/blocks_pdb_105.json"]
    fetched = []

    def fetch(url, output_file, downloader):
        fetched.append(url)
        with open(output_file, "wb") as file:
            file.write(body)

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **kwargs: fetch)
    with pytest.raises(ValueError, match="hash"):
        published.load("seh/blocks_pdb_105.json")
    good = entry._replace(sha256=hashlib.sha256(body).hexdigest())
    monkeypatch.setitem(published.FILES, "seh/blocks_pdb_105.json", good)
    for _ in range(2):
        assert published.load("seh/blocks_pdb_105.json") == {"block_name": {}}
    assert fetched == [entry.url] * 2
    assert (folders[1] / "seh" / "blocks_pdb_105.json").read_bytes() == body


def test_a_published_pickle_is_kept_as_plain_arrays(folders, monkeypatch):
    _, cache = folders
    text = gzip.compress(pickle.dumps([np.arange(3.0), np.ones(2)], 4))

    def fetch(url, output_file, pooch):
        Path(output_file).write_bytes(text)

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **kwargs: fetch)
    name = "seh/proxy_weights.npz"
    digest = hashlib.sha256(text).hexdigest()
    entry = published.FILES[name]._replace(sha256=digest, pickled=("lin0.bias", None))
    monkeypatch.setitem(published.FILES, name, entry)
    found = published.load(name)
    assert list(found) == ["lin0.bias"]
    np.testing.assert_array_equal(found["lin0.bias"], np.arange(3.0))
    assert [path.name for path in (cache / "seh").iterdir()] == ["proxy_weights.npz"]


def test_names_of_the_weights_are_those_that_the_proxy_asks_for():
    names = [name for name in published.FILES["seh/proxy_weights.npz"].pickled if name]
    if published.available("seh/proxy_weights.npz"):
        assert names == list(published.load("seh/proxy_weights.npz"))


def test_being_offline_names_the_variable_and_the_address(folders, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(FileNotFoundError, match=r"Set GFNJAX_DATA.*https://.*no route to host"):
        published.load("seh/blocks_pdb_105.json")


def test_addresses_carry_checksums_and_names_suffixes():
    for name, entry in published.FILES.items():
        assert name.endswith((".npz", ".json"))
        assert (entry.url is None) == (entry.sha256 is None)
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
