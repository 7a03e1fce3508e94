"""Chips that are compiled for without being there: the TPU compiler needs none of them."""

import importlib.util
import math
import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from gfnjax.errors import ArgumentError, MissingExtraError

NAME = re.compile(r"(\w+):([1-9]\d*(?:x[1-9]\d*){1,2})")
# No TPU is looked for, nor its metadata asked for; nothing is left in the folder of logs.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
GIB = 2**30


class Kind(NamedTuple):
    """A kind of TPU.

    Attributes:
        accelerator: its name where types of accelerators are named, as in "v5litepod-8".
        counted: what the number of such a name counts of each chip: itself, or its two cores.
        memory: bytes that a program may have on a chip; the system keeps the rest for itself.
        options: what makes a device of a chip, instead of each of its cores.
    """

    accelerator: str
    counted: int
    memory: int
    options: dict[str, Any]


# Where a program does not fit, the compiler says how much would be there: these numbers.
KINDS = {
    "v4": Kind("v4", 2, int(30.75 * GIB), {"chip_config_name": "megacore"}),
    "v5e": Kind("v5litepod", 1, int(15.75 * GIB), {}),
    "v5p": Kind("v5p", 2, int(95.74 * GIB), {}),
    "v6e": Kind("v6e", 1, int(31.25 * GIB), {}),
}


class Chips(NamedTuple):
    """What is compiled for: `devices`, one a chip, and the bytes of `memory` of each."""

    devices: list[Any]
    memory: int


def set_environment(topology: str) -> None:
    """Let the compiler be found where there is no TPU; before JAX computes anything.

    Args:
        topology: as in `find`.

    Raises:
        ArgumentError, MissingExtraError: as `find`.
    """
    kind, shape = _read(topology)
    number = kind.counted * math.prod(shape)
    wanted = {**ENVIRONMENT, "TPU_ACCELERATOR_TYPE": f"{kind.accelerator}-{number}"}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def find(topology: str) -> Chips:
    """The chips of a topology.

    Args:
        topology: a kind of TPU, and how its chips are laid out: "v5e:2x4", "v5p:2x2x1".

    Raises:
        ArgumentError: for a topology that does not exist.
        MissingExtraError: without libtpu.
    """
    kind, shape = _read(topology)
    options = dict(kind.options)
    if math.prod(shape) <= 4:  # those of one host, which need not be all that it could have
        options["chips_per_host_bounds"] = (*shape, 1)[:3]
    try:
        found = topologies.get_topology_desc(topology, "tpu", **options)
    except jax.errors.JaxRuntimeError as error:
        problem = f"does not exist: {str(error).splitlines()[0]}"
        raise ArgumentError("topology", problem, subject=f"{{topology}} {topology}") from error
    return Chips(list(found.devices), kind.memory)


def _read(topology: str) -> tuple[Kind, tuple[int, ...]]:
    found = NAME.fullmatch(topology)
    if found is None or found[1] not in KINDS:
        problem = (
            f"must be a kind of TPU ({', '.join(KINDS)}) and how its chips are laid out, "
            f"such as v5e:2x4, got {topology!r}"
        )
        raise ArgumentError("topology", problem)
    if importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ:
        problem = 'the TPU compiler is not installed: pip install "gfnjax[tpu]"'
        raise MissingExtraError(problem, name="libtpu")
    return KINDS[found[1]], tuple(map(int, found[2].split("x")))
