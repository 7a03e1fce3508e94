"""Checkpoints of several processes: each writes its part of the states, by Orbax.

A checkpoint is a folder `step-<step>.orbax` with the leaves of the states, keys as the words they
consist of, for all slots of the round. It counts once process 0 has put a seal on it: a file that
says what a single file would say of its content, and has a checksum of each file in the folder,
for Orbax has none of its own. Reading needs neither the devices nor the number of processes that
have written it; each process reads it all.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gfnjax.run.checkpoint import (
    CheckpointError,
    check_fit,
    describe,
    is_key,
    named_leaves,
    replace_atomically,
    to_device,
)
from gfnjax.run.processes import first, shared_work
from gfnjax.types import PyTree

SUFFIX = ".orbax"
SEAL = "gfnjax.json"
BLOCK = 1 << 24


def write(path: Path, states: PyTree, about: dict[str, Any]) -> None:
    """Store the states of all slots; called by all processes, done when it returns.

    Args:
        path: of the folder, on a file system that all processes share.
        states: `[S, ...]`, each row on the device that trains it.
        about: plain values, for JSON.
    """
    import orbax.checkpoint as ocp

    leaves = {f"{i:05d}": _words(x) for i, x in enumerate(jax.tree.leaves(states)) if x.size}
    with shared_work(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(leaves), force=True)
    slots = describe(named_leaves(states))
    first(lambda: _seal(path, {**about, "slots": slots, "files": _checksums(path)}))


def is_sealed(path: Path) -> bool:
    """Whether a folder was written to its end."""
    return (path / SEAL).is_file()


def read(path: Path, template: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """The states of the members, and what was said about them; waits for no other process.

    Args:
        path: of the folder.
        template: `[n, ...]` states, or their shapes, of at most as many members as slots.

    Raises:
        CheckpointError: if the folder is damaged or does not fit `template`.
    """
    try:
        about = json.loads((path / SEAL).read_text())
        whole = about["files"] == _checksums(path)
        slots = about["slots"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not whole:
        raise CheckpointError(f"{path} is damaged (its checksum does not match)")
    leaves = named_leaves(template)
    num_members = leaves[0][1].shape[0]
    check_fit(path, _of_members(slots, num_members), describe(leaves))
    stored = _arrays(path, [f"{i:05d}" for i, (_, x) in enumerate(leaves) if x.size])
    filled = iter(stored)
    values = [_leaf(next(filled)[:num_members], x) if x.size else _empty(x) for _, x in leaves]
    return jax.tree.structure(template).unflatten(values), about


def _arrays(path: Path, names: list[str]) -> list[np.ndarray]:
    import orbax.checkpoint as ocp

    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"read-{own}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    kinds = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
    try:
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
            args = ocp.args.PyTreeRestore(restore_args=kinds)
            found = checkpointer.restore(path.absolute(), args=args)
        return [found[name] for name in names]
    except Exception as error:  # Orbax does not say which
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{path} cannot be read: {reason}") from error


def _seal(path: Path, values: dict[str, Any]) -> None:
    replace_atomically(path / SEAL, json.dumps(values).encode())


def _checksums(path: Path) -> dict[str, list[int]]:
    """Size and checksum of each file in a folder, by its path in there."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != SEAL)
    return {file.relative_to(path).as_posix(): _checksum(file) for file in files}


def _checksum(path: Path) -> list[int]:
    total, size = 0, 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            total, size = zlib.crc32(block, total), size + len(block)
    return [size, total]


def _words(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _leaf(host: np.ndarray, like: Any) -> Any:
    return to_device(host, like) if is_key(like) else host


def _empty(like: Any) -> np.ndarray:
    """A leaf without an element, which Orbax refuses to store."""
    return np.zeros(like.shape, like.dtype)


def _of_members(slots: dict[str, Any], num_members: int) -> dict[str, Any]:
    """The description of slots as that of so many members, of which there are no more."""
    rows = [
        [name, dtype, [min(num_members, shape[0]), *shape[1:]]]
        for name, dtype, shape in slots["leaves"]
    ]
    return {**slots, "leaves": rows}
