"""Where the members of a sweep are computed: devices, how many at a time, their memory."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError
from gfnjax.spread import BATCH as BATCH
from gfnjax.tuning import tuning
from gfnjax.types import PyTree

RUN = "run"


@dataclass(frozen=True)
class Placement:
    """What a sweep may use.

    Attributes:
        num_devices: devices in all; those there are without.
        num_batch_devices: devices that share the batch of one run; its gradients are averaged.
        members_at_once: members that a device computes in one operation instead of one after
            another; what suits the machine without.
        memory: bytes a device may hold; what it reports without (a CPU reports nothing). What
            does not fit at once is trained in turn.

    Raises:
        ArgumentError: for numbers that are not positive, or more devices than there are.
    """

    num_devices: int | None = None
    num_batch_devices: int = 1
    members_at_once: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_devices", "num_batch_devices", "members_at_once", "memory"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, value, least=1))

    def devices(self, found: list[Any] | None = None) -> list[Any]:
        """Those in use, of all processes, or of others that are `found`, of no machine here.

        Raises:
            ArgumentError: for more than there are.
        """
        found = jax.devices() if found is None else found
        count = len(found) if self.num_devices is None else self.num_devices
        if count > len(found):
            hint = "" if found[0].platform != "cpu" else "; a CPU counts as one"
            problem = f"must be at most {len(found)}, the devices that JAX finds{hint}, got {count}"
            raise ArgumentError("num_devices", problem)
        parts = self.num_batch_devices
        if parts > count:
            problem = f"must be at most {count}, the devices in use, got {parts}"
            raise ArgumentError("num_batch_devices", problem)
        if jax.process_count() > 1:
            self._check_all_used(len(found))
        if count % parts and self.num_devices is not None:
            problem = f"must divide the {count} devices in use, got {parts}"
            raise ArgumentError("num_batch_devices", problem)
        return found[: count - count % parts]

    def budget(self, devices: list[Any]) -> int | None:
        """Bytes a device may hold; None where nobody says."""
        if self.memory is not None:
            return self.memory
        local = [d for d in devices if d.process_index == jax.process_index()]
        reported = [(d.memory_stats() or {}).get("bytes_limit") for d in local]
        known = [x for x in reported if x]
        # Of all processes, which must come to the same rounds; in MiB, for JAX counts in 32 bits.
        least = multihost_utils.process_allgather(np.int32(min(known, default=0) >> 20)).min()
        return int(0.9 * (int(least) << 20)) or None

    def _check_all_used(self, count: int) -> None:
        """Several processes have no other choice: none may be without a part."""
        if self.num_devices not in (None, count):
            problem = f"must be {count}, all devices of all processes, got {self.num_devices}"
            raise ArgumentError("num_devices", problem)
        if count % self.num_batch_devices:
            problem = f"must divide the {count} devices of all processes"
            raise ArgumentError("num_batch_devices", f"{problem}, got {self.num_batch_devices}")


@dataclass(frozen=True)
class Layout:
    """Members on a mesh.

    Attributes:
        mesh: devices by `run`, among which members are divided, and `batch`.
        num_slots: room for so many members, those that only fill it up included.
        at_once: members that a device computes in one operation.
    """

    mesh: Mesh
    num_slots: int
    at_once: int

    @property
    def num_parts(self) -> int:
        """Devices that share a batch."""
        return self.mesh.shape[BATCH]

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Of an array with these axes first."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))


def make_layout(
    placement: Placement, state: PyTree, num_members: int, devices: list[Any] | None = None
) -> Layout:
    """Room for members on the devices of a placement, on as few of them as finish as early.

    Args:
        placement: what may be used.
        state: of one member, arrays or their shapes.
        num_members: how many there are.
        devices: other devices than those of the placement, of a machine that is not here.
    """
    devices = placement.devices() if devices is None else devices
    parts = placement.num_batch_devices
    rows = min(len(devices) // parts, num_members)
    if jax.process_count() > 1:  # of which each must have a part in every program
        rows = len(devices) // parts
    each = -(-num_members // rows)
    turns = -(-each // (placement.members_at_once or _usual_at_once(state, each)))
    at_once = -(-each // turns)
    rows = rows if jax.process_count() > 1 else -(-num_members // (turns * at_once))
    mesh = Mesh(np.array(devices[: rows * parts]).reshape(rows, parts), (RUN, BATCH))
    return Layout(mesh, rows * turns * at_once, at_once)


def _usual_at_once(state: PyTree, num_members: int) -> int:
    most = tuning().numbers_at_once
    if most is None:
        return num_members
    numbers = sum(x.size for x in jax.tree.leaves(getattr(state, "params", state)))
    return max(min(most // max(numbers, 1), 8), 1)
