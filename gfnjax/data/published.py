"""Data files that are not part of the package: arrays and JSON, found on disk or downloaded.

A file is looked for in the directory that `GFNJAX_DATA` names, then in the user's cache
directory; where it has a public source of its own it is then downloaded into that cache and its
checksum compared. The one pickle among these is read as plain arrays (`pickled_arrays`) and kept as
such; no other is ever opened.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfnjax.data.files import read_text
from gfnjax.data.pickled_arrays import write_named
from gfnjax.errors import ArgumentError

ENVIRONMENT_VARIABLE = "GFNJAX_DATA"


class DataFile(NamedTuple):
    """A known file: what it holds, who published it, and its public address where it has one.

    `pickled` are names of the arrays in a published pickle, in order, None for those nobody needs.
    """

    contents: str
    source: str
    url: str | None = None
    sha256: str | None = None
    pickled: tuple[str | None, ...] = ()


_MOLECULES = "https://raw.githubusercontent.com/GFNOrg/gflownet/45dd2f90dbd4f433718eddde573010b225585a4c/mols/data"
_SEH_WEIGHTS = (
    *("lin0.weight", "lin0.bias", "conv.root", "conv.bias"),
    *(f"conv.edge_mlp.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")),
    *(f"gru.{part}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
    *(None, None, None, None),  # of a head that says which fragment comes next
    *(f"set2set.lstm.{part}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
    *("lin3.weight", "lin3.bias"),
)
_ALIGNMENT = "an object from species names to aligned sequences of equal length"

FILES: dict[str, DataFile] = {
    "qm9_small.npz": DataFile(
        "array `score` [11, 11, 11, 11, 11] float32, entry [i, j, k, l, m] the score of the "
        "molecule of blocks i, j, k, l, m",
        "datasets/qm9str/block_qm9str_v1_s5.pkl of maxwshen/gflownet on GitHub, a dictionary from "
        "strings over 0123456789a to scores",
    ),
    "amp/proxy_weights.npz": DataFile(
        "the weights of the AMP proxy network, an array a parameter",
        "proxy/weights/amp of d-tiapkin/gfnx on GitHub",
    ),
    "amp/golden_logits.npz": DataFile(
        "arrays `tokens` [128, 60] int8 and `logit` [128] float32 of the AMP proxy network",
        "the network of amp/proxy_weights.npz",
    ),
    "seh/proxy_weights.npz": DataFile(
        "the weights of the sEH proxy network, an array a parameter",
        "mols/data/pretrained_proxy/best_params.pkl.gz of GFNOrg/gflownet on GitHub",
        f"{_MOLECULES}/pretrained_proxy/best_params.pkl.gz",
        "f76ab480b62e23dda04fd45fefe0e7ae2374b3f8c3f18fb7e00651cad05b9e1f",
        _SEH_WEIGHTS,
    ),
    "seh/golden_scores.npz": DataFile(
        "arrays `blocks`, `bonds`, `stems` and `score` of 475 molecules",
        "d-tiapkin/gflownet-rl on GitHub",
    ),
    "seh/blocks_pdb_105.json": DataFile(
        "the fragments: objects `block_name`, `block_smi` and `block_r`",
        "mols/data/blocks_PDB_105.json of GFNOrg/gflownet on GitHub",
        f"{_MOLECULES}/blocks_PDB_105.json",
        "0fcc09130c2e03046ecf3ccc6cb5f903abdb912a541b3f9f2d4578ab01453b88",
    ),
} | {
    f"phylo/DS{i}.json": DataFile(
        _ALIGNMENT,
        f"dataset/benchmark_datasets/DS{i}.pickle of zmy1116/phylogfn on GitHub",
    )
    for i in range(1, 9)
}


def load(name: str) -> Any:
    """The contents of a data file.

    Args:
        name: one of `FILES`, such as "qm9_small.npz".

    Returns:
        A dict of NumPy arrays for an `.npz` file, the parsed value for a `.json` file.

    Raises:
        ValueError: for an unknown name, a damaged file or a download with a wrong checksum.
        FileNotFoundError: if the file is neither on disk nor to be had; the message says where it
            is expected and what it must hold.
    """
    path = locate(name)
    try:
        if path.suffix == ".json":
            return json.loads(read_text(path))
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:
        raise ValueError(f"{path} is damaged, or holds more than plain arrays: {error}") from error


def locate(name: str) -> Path:
    """The path of a data file, downloaded first where it must and can be. Raises as `load`."""
    found = _find(name)
    if found is not None:
        return found
    url = FILES[name].url
    if url is None:
        raise FileNotFoundError(_missing(name))
    return _download(name, url)


def available(name: str) -> bool:
    """Whether `name` is on disk, so that `load` needs no network. Raises for unknown names."""
    return _find(name) is not None


def cache_directory() -> Path:
    """Where downloads are kept: the operating system's cache directory of this user."""
    return Path(_pooch().os_cache("gfnjax"))


def _pooch() -> Any:
    """The package, whose progress bars warn in every notebook that cannot show them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import pooch
    return pooch


def _find(name: str) -> Path | None:
    if name not in FILES:
        raise ArgumentError("name", f"must be one of {', '.join(FILES)}, got {name!r}")
    directories = [cache_directory()]
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            raise FileNotFoundError(f"{ENVIRONMENT_VARIABLE} must name a directory, got {chosen!r}")
        directories.insert(0, Path(chosen))
    paths = (directory / name for directory in directories)
    return next((path for path in paths if path.is_file()), None)


def _download(name: str, url: str) -> Path:
    entry, target = FILES[name], cache_directory() / name
    as_published = url.rpartition("/")[2] if entry.pickled else target.name
    given = {"fname": as_published, "path": target.parent}
    try:
        found = Path(_pooch().retrieve(url, f"sha256:{entry.sha256}", **given))
    except OSError as error:
        message = f"{_missing(name)} The download from {url} failed: {error}"
        raise FileNotFoundError(message) from error
    if entry.pickled:
        write_named(entry.pickled, found, target)
        found.unlink()
    return target


def _missing(name: str) -> str:
    entry, directory = FILES[name], os.environ.get(ENVIRONMENT_VARIABLE)
    places = [f"{ENVIRONMENT_VARIABLE} ({directory or 'not set'})", str(cache_directory())]
    return (
        f"{name} was not found in {' or in '.join(places)}. Set {ENVIRONMENT_VARIABLE} to a "
        f"directory that holds {name}: {entry.contents}. Made from {entry.source}."
    )
