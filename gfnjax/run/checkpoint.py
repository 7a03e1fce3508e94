"""Checkpoints of a training state: one file each, written atomically, checked when read.

A file is, in this order, a line naming the format; a line with the SHA-256 and the length of the
description; the description, JSON that names each array with its dtype and shape; the bytes of
the arrays, one after the other; and a line with the SHA-256 of description and arrays. Arrays
pass through one at a time, so that neither writing nor reading holds a second copy of the state.
Nothing in a file is executed on reading.

One process keeps this format, although there are libraries for it: it needs none of them, every
bit is covered by a checksum that reading verifies, and a damaged file is refused by name, with the
last good one in its place. A file has one writer; several processes, each of which has a part of
the state, write what `gfnjax.run.sweeps.shards` describes.
"""

import hashlib
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.training import RunState
from gfnjax.types import PyTree

HEADER = b"gfnjax checkpoint 2\n"
OLD_HEADER = b"gfnjax checkpoint 1\n"
DIGEST_SIZE = 2 * hashlib.sha256().digest_size + 1
KEEP = 3

Leaves = list[tuple[str, Any]]


class CheckpointError(ValueError):
    """A checkpoint is damaged, missing, or belongs to another run."""


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint was refused and an older one used."""


def save(directory: Path, state: RunState, keep: int = KEEP) -> Path:
    """Store `state` under its step in `directory`, and drop all but the newest `keep` files."""
    path = _path(directory, int(state.step))
    write(path, state)
    unfinished = directory.glob(".*.partial")  # left by a process that was killed
    for old in (*_files(directory)[:-keep], *unfinished):
        old.unlink(missing_ok=True)
    return path


def load_latest(directory: Path, template: RunState) -> tuple[RunState, Path]:
    """The newest good checkpoint of a directory, and its file.

    Args:
        directory: where `save` has put them.
        template: a state of the same structure, shapes and dtypes, such as `gfn.init(key)`.

    Raises:
        CheckpointError: when there is no checkpoint, or no good one.
    """
    return first_good(directory, reversed(_files(directory)), lambda path: read(path, template))


def first_good(
    directory: Path, paths: Iterable[Path], read: Callable[[Path], Any]
) -> tuple[Any, Path]:
    """What `read` makes of the first path that it does not refuse; warns of those before it.

    Raises:
        CheckpointError: when there is no checkpoint, or no good one.
    """
    refused = []
    for path in paths:
        try:
            state = read(path)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            message = f"refused a checkpoint: {reason}; going back to {path.name}"
            warnings.warn(message, DamagedCheckpointWarning, stacklevel=3)
        return state, path
    if refused:
        raise CheckpointError(f"no good checkpoint in {directory}: {'; '.join(refused)}")
    raise CheckpointError(f"no checkpoint in {directory}")


def load_step(directory: Path, step: int, template: RunState) -> RunState:
    """The checkpoint of one step; `template` as in `load_latest`.

    Raises:
        CheckpointError: if there is none of that step, or it is not good.
    """
    path = _path(directory, step)
    if not path.exists():
        known = ", ".join(str(int(file.stem.removeprefix("step-"))) for file in _files(directory))
        raise CheckpointError(
            f"step must be one of {known or 'none'}, the checkpoints in {directory}, got {step}"
        )
    return read(path, template)


def write(path: Path, state: RunState) -> None:
    """Store a state; a crash at any moment leaves the old file or the new one, never a part."""
    leaves = named_leaves(state)
    description = json.dumps(describe(leaves)).encode()
    digest = hashlib.sha256(description)
    with _replacing(path) as file:
        file.write(HEADER + b"%s %d\n" % (digest.hexdigest().encode(), len(description)))
        file.write(description)
        for _, leaf in leaves:
            content = _bytes_of(_host_copy(leaf))
            digest.update(content)
            file.write(content)
        file.write(digest.hexdigest().encode() + b"\n")


def read(path: Path, template: RunState) -> RunState:
    """The state in a file, bit for bit as it was saved.

    Args:
        path: of the file.
        template: a state of the same structure, shapes and dtypes; arrays or their shapes.

    Raises:
        CheckpointError: if the file is damaged or its content does not fit `template`.
    """
    try:
        with open(path, "rb") as file:
            return _read(path, file, template)
    except OSError as error:  # such as one that a run under way has just dropped
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _read(path: Path, file: IO[bytes], template: RunState) -> RunState:
    damaged = CheckpointError(f"{path} is damaged (its checksum does not match)")
    description = _read_description(path, file, damaged)
    digest = hashlib.sha256(description)
    leaves = named_leaves(template)
    check_fit(path, json.loads(description), describe(leaves))

    def next_leaf(like: Any) -> jax.Array:
        # Memory of its own: JAX copies later than it says, or takes it over.
        content = np.empty(_num_bytes(like), np.uint8)
        if file.readinto(content.data) != content.size:  # pyrefly: ignore[missing-attribute]
            raise damaged
        digest.update(content.data)
        shape, dtype = _form(like)
        return to_device(content.view(dtype).reshape(shape), like)

    values = [next_leaf(like) for _, like in leaves]
    if file.read() != digest.hexdigest().encode() + b"\n":
        raise damaged
    return jax.tree.structure(template).unflatten(values)


def _read_description(path: Path, file: IO[bytes], damaged: CheckpointError) -> bytes:
    header = file.read(len(HEADER))
    if header == OLD_HEADER:
        raise CheckpointError(
            f"{path} was written by an older version, in a format that is no longer read: go on "
            "with that version, or start the run anew"
        )
    if header != HEADER:
        raise CheckpointError(f"{path} is not a checkpoint of this version")
    expected, _, length = file.readline(DIGEST_SIZE + 20).partition(b" ")
    rest = os.fstat(file.fileno()).st_size - file.tell()
    if not length.strip().isdigit() or int(length) > rest:
        raise damaged
    description = file.read(int(length))
    if hashlib.sha256(description).hexdigest().encode() != expected:
        raise damaged
    return description


@contextmanager
def _replacing(path: Path, mark: str = "") -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path`, on disk and complete, or never does."""
    temporary = path.with_name(f".{path.name}{mark}.partial")
    with open(temporary, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def replace_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is complete, on disk, or not there at all; the last one wins."""
    with _replacing(path, f".{os.getpid()}") as file:
        file.write(content)


def _path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:09d}.ckpt"


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.ckpt"))


def is_key(x: Any) -> bool:
    """Whether a leaf is made of PRNG keys, stored as the words they consist of."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def named_leaves(state: PyTree) -> Leaves:
    """The leaves of a state with their paths."""
    return [(jax.tree_util.keystr(k), x) for k, x in jax.tree.leaves_with_path(state)]


def _form(leaf: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of a leaf on the host; keys are the words they consist of."""
    if is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return leaf.shape, np.dtype(leaf.dtype)


def _num_bytes(leaf: Any) -> int:
    shape, dtype = _form(leaf)
    return math.prod(shape) * dtype.itemsize


def describe(leaves: Leaves) -> dict[str, Any]:
    """What leaves must agree in with those that are read, for JSON."""
    rows = [[name, str(x.dtype), list(_form(x)[0])] for name, x in leaves]
    return {"byte_order": sys.byteorder, "leaves": rows}


def _host_copy(leaf: Any) -> np.ndarray:
    """A leaf as NumPy, of which only the caller knows: arrays remember what they were read as."""
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array):
        leaf = leaf.addressable_data(0) if leaf.is_fully_replicated else jnp.copy(leaf)
    return np.ascontiguousarray(leaf)


def _bytes_of(host: np.ndarray) -> memoryview:
    """The memory of a contiguous array, not a copy."""
    return host.reshape(-1).view(np.uint8).data


def to_device(host: np.ndarray, like: Any) -> jax.Array:
    """A leaf from what is on the host; words become keys again."""
    value = jnp.asarray(host)
    return jax.random.wrap_key_data(value, impl=_impl_of(like)) if is_key(like) else value


def _impl_of(like: Any) -> Any:
    """The implementation of keys of which there may be the shape and dtype alone."""
    found = []
    jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), like)
    return found[0]


def check_fit(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse what has been described otherwise.

    Raises:
        CheckpointError: naming the first difference.
    """
    if found["byte_order"] != expected["byte_order"]:
        raise CheckpointError(
            f"{path} was written on a {found['byte_order']}-endian machine, this one is "
            f"{expected['byte_order']}-endian"
        )
    values, wanted = (
        {name: f"{dtype}{shape}" for name, dtype, shape in x["leaves"]} for x in (found, expected)
    )
    for name in sorted(values.keys() | wanted.keys()):
        if values.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{path} belongs to another run: {name} must be "
                f"{wanted.get(name, 'absent')}, got {values.get(name, 'nothing')}"
            )
    if found != expected:
        raise CheckpointError(f"{path} belongs to another run: its arrays are in another order")
