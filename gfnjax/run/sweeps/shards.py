"""Checkpoints of several processes: each writes its part of the states, by Orbax.

A checkpoint is a folder `step-<step>.orbax`, which has its name once all processes are done. It
holds the leaves of the states, keys as the words they consist of, for all slots of the round, and
beside them what a single file would say of them: their names and forms, the step, the status of
each member, and a checksum of each slot, for Orbax has none of its own. Reading needs neither the
devices nor the number of processes that wrote it; each process reads it all.
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
    to_device,
)
from gfnjax.sweeps.placement import RUN, Layout
from gfnjax.types import PyTree

SUFFIX = ".orbax"


def write(path: Path, states: PyTree, layout: Layout, about: dict[str, Any]) -> None:
    """Store the states of all slots; called by all processes, done when it returns.

    Args:
        path: of the folder, on a file system that all processes share.
        states: `[S, ...]`, each row on the device that trains it.
        layout: of the slots.
        about: plain values, for JSON.
    """
    import orbax.checkpoint as ocp

    leaves = {f"{i:05d}": _words(x) for i, x in enumerate(jax.tree.leaves(states)) if x.size}
    text = json.dumps({**about, "slots": describe(named_leaves(states))})
    tree = {
        "states": leaves,
        "checksums": _checksums(list(leaves.values()), layout),
        "about": np.frombuffer(text.encode(), np.uint8),
    }
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(tree), force=True)


def read(path: Path, template: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """The states of the members, and what was said about them.

    Args:
        path: of the folder.
        template: `[n, ...]` states, or their shapes, of at most as many members as slots.

    Raises:
        CheckpointError: if the folder is damaged or does not fit `template`.
    """
    tree = _tree(path)
    try:
        about = json.loads(tree["about"].tobytes())
        rows = [tree["states"][name] for name in sorted(tree["states"])]
        sums = _sums_of(rows, len(tree["checksums"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not np.array_equal(sums, tree["checksums"]):
        raise CheckpointError(f"{path} is damaged (its checksum does not match)")
    leaves = named_leaves(template)
    num_members = leaves[0][1].shape[0]
    check_fit(path, _of_members(about.pop("slots"), num_members), describe(leaves))
    filled = iter(rows)
    values = [_leaf(next(filled)[:num_members], x) if x.size else _empty(x) for _, x in leaves]
    return jax.tree.structure(template).unflatten(values), about


def _tree(path: Path) -> dict[str, Any]:
    """All arrays of a folder as NumPy, by this process alone: it waits for no other."""
    import orbax.checkpoint as ocp

    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"read-{own}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    try:
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
            found = checkpointer.metadata(path.absolute()).item_metadata.tree
            kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), found)
            args = ocp.args.PyTreeRestore(restore_args=kinds)
            return checkpointer.restore(path.absolute(), args=args)
    except Exception as error:  # whatever Orbax makes of a damaged file
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise CheckpointError(f"{path} is damaged ({reason})") from error


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


def _checksums(leaves: list[jax.Array], layout: Layout) -> jax.Array:
    """`[S]` of all slots, each computed where the slot is."""
    sums = np.zeros(layout.num_slots, np.uint32)
    for leaf in leaves:
        # Devices that share a batch have the same rows.
        shards = {shard.index[0].start or 0: shard for shard in leaf.addressable_shards}
        for start, shard in shards.items():
            rows = np.asarray(shard.data)
            own = sums[start : start + len(rows)]
            own[:] = [zlib.crc32(x.tobytes(), y) for x, y in zip(rows, own.tolist(), strict=True)]
    shape, sharding = (layout.num_slots,), layout.sharding(RUN)
    return jax.make_array_from_callback(shape, sharding, lambda index: sums[index])


def _sums_of(leaves: list[np.ndarray], num_slots: int) -> np.ndarray:
    sums = np.zeros(num_slots, np.uint32)
    for rows in leaves:
        sums[:] = [zlib.crc32(x.tobytes(), y) for x, y in zip(rows, sums.tolist(), strict=True)]
    return sums
