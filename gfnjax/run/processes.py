"""What several processes of one JAX program say to each other; one that is alone says nothing.

All of it must be called by all processes, in the same order.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from gfnjax.run.checkpoint import CheckpointError
from gfnjax.run.config import UsageError

T = TypeVar("T")
FEWEST_BYTES = 64
# What is said in the same words in all processes, where it is wrong in one.
KNOWN = {kind.__name__: kind for kind in (UsageError, CheckpointError)}


class ProcessError(RuntimeError):
    """Another process has failed, or is gone."""


def are_several() -> bool:
    """Whether there is any other one."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is process 0, which alone writes and shows what is one for all."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """What each process has, process by process; plain values, for JSON.

    Raises:
        ProcessError: if one of them is gone.
    """
    if not are_several():
        return [value]
    own = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = _allgather(np.int32(own.size))
    # Few sizes, for each is compiled.
    room = max(FEWEST_BYTES, 1 << int(lengths.max() - 1).bit_length())
    rows = _allgather(np.pad(own, (0, room - own.size)))
    pairs = zip(rows, lengths, strict=True)
    return [json.loads(row[:length].tobytes()) for row, length in pairs]


def together(work: Callable[[], T]) -> T:
    """`work()`, each its own; where it fails in one, it fails in all.

    Raises:
        UsageError, CheckpointError: as in the process where it has failed.
        ProcessError: for any other failure of another process.
    """
    if not are_several():
        return work()
    found: Any = None
    error = None
    try:
        found = work()
    except Exception as caught:
        error = caught
    said = gather(None if error is None else _said(error))
    if error is not None:
        raise error
    for number, failure in enumerate(said):
        if failure is not None:
            raise _failed(number, *failure)
    return found


def first(work: Callable[[], T]) -> T:
    """`work()` of process 0 alone, and what it returns, in all; a plain value, for JSON.

    Raises:
        UsageError, CheckpointError, ProcessError: as `together`.
    """
    found = together(lambda: work() if is_first() else None)
    return gather(found)[0]


def check_same(**values: Any) -> None:
    """Refuse processes that were not given the same: `check_same(sweep=description)`.

    Raises:
        UsageError: naming the first that differs from process 0, and in what.
    """
    if not are_several():
        return
    counts = np.bincount([device.process_index for device in jax.devices()]).tolist()
    if len(set(counts)) > 1:
        raise UsageError(f"all processes must have the same number of devices, got {counts}")
    own = {"version of gfnjax": version("gfnjax"), "version of jax": jax.__version__}
    own |= {name: _digest(value) for name, value in values.items()}
    found = gather(own)
    for number, other in enumerate(found):
        for name, value in found[0].items():
            if other.get(name) != value:
                problem = f"process {number} was given another {name} than process 0"
                raise UsageError(f"{problem}: they must be started with the same")


@contextmanager
def shared_work() -> Iterator[None]:
    """What no process can do alone.

    Raises:
        ProcessError: where it fails, of which the reason is most often that one is gone.
    """
    try:
        yield
    except tuple(KNOWN.values()):
        raise
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # JAX has both
        if not are_several():
            raise
        reason = str(error).splitlines()[0]
        problem = f"another process has failed or cannot be reached ({reason})"
        raise ProcessError(f"{problem}: start all of them again to go on") from error


def _allgather(value: Any) -> np.ndarray:
    with shared_work():
        return np.asarray(multihost_utils.process_allgather(value))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _said(error: Exception) -> tuple[str, str]:
    kind = next((name for name, kind in KNOWN.items() if isinstance(error, kind)), "")
    return kind, str(error) if kind else f"{type(error).__name__}: {error}"


def _failed(number: int, kind: str, message: str) -> Exception:
    text = f"process {number}: {message}"
    return KNOWN[kind](text) if kind in KNOWN else ProcessError(text)
