"""Checkpoints of a training state: one file each, written atomically, checked when read.

A file is a line naming the format, a line with the SHA-256 of the rest, and the state as
MessagePack. Nothing in it is executed on reading.
"""

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from gfnjax.training import RunState
from gfnjax.types import PyTree

HEADER = b"gfnjax checkpoint 1\n"
DIGEST_SIZE = 2 * hashlib.sha256().digest_size + 1
KEEP = 3


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
    refused = []
    for path in reversed(_files(directory)):
        try:
            state = read(path, template)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            message = f"refused a checkpoint: {reason}; going back to {path.name}"
            warnings.warn(message, DamagedCheckpointWarning, stacklevel=2)
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
    payload = serialization.msgpack_serialize(serialization.to_state_dict(_to_host(state)))
    digest = hashlib.sha256(payload).hexdigest().encode() + b"\n"
    replace_atomically(path, HEADER + digest + payload)


def read(path: Path, template: RunState) -> RunState:
    """The state in a file, bit for bit as it was saved.

    Raises:
        CheckpointError: if the file is damaged or its content does not fit `template`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:  # such as one that a run under way has just dropped
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    digest, payload = content[len(HEADER) :][:DIGEST_SIZE], content[len(HEADER) + DIGEST_SIZE :]
    if not content.startswith(HEADER):
        raise CheckpointError(f"{path} is not a checkpoint of this version")
    if digest != hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise CheckpointError(f"{path} is damaged (its checksum does not match)")
    host = _to_host(template)
    values: Any = serialization.msgpack_restore(payload)
    _check_fit(path, values, serialization.to_state_dict(host))
    return jax.tree.map(_to_device, serialization.from_state_dict(host, values), template)


def replace_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is complete, on disk, or not there at all."""
    temporary = path.with_name(f".{path.name}.partial")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:09d}.ckpt"


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.ckpt"))


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _to_host(state: PyTree) -> PyTree:
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if _is_key(x) else x), state)


def _to_device(x: np.ndarray, like: jax.Array) -> jax.Array:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(x), impl=jax.random.key_impl(like))
    return jnp.asarray(x)


def _check_fit(path: Path, values: PyTree, template: PyTree) -> None:
    found, expected = (
        {jax.tree_util.keystr(k): f"{x.dtype}{list(x.shape)}" for k, x in leaves}
        for leaves in map(jax.tree.leaves_with_path, (values, template))
    )
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise CheckpointError(
                f"{path} belongs to another run: {name} must be "
                f"{expected.get(name, 'absent')}, got {found.get(name, 'nothing')}"
            )
