"""Arrays out of a pickle that somebody published, without running what else it may hold."""

import gzip
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# All that a pickle may ask for: what a NumPy array of numbers is put together from. Older versions
# of NumPy wrote another module.
_MAKES_ARRAYS = {
    (module, "_reconstruct"): np.zeros(0).__reduce__()[0]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
} | {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}


class _ArraysAlone(pickle.Unpickler):
    """Knows arrays, lists and dicts, and refuses to import anything else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _MAKES_ARRAYS[module_name, global_name]
        except KeyError:
            problem = f"{module_name}.{global_name} is no array of numbers"
            raise pickle.UnpicklingError(problem) from None


def read_arrays(path: Path) -> list[np.ndarray]:
    """The list of arrays of numbers in a pickle under gzip.

    Raises:
        ValueError: if it is none, or holds anything else; nothing of it has been run.
    """
    try:
        with gzip.open(path) as file:
            found = _ArraysAlone(file).load()
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged, or holds more than plain arrays: {error}") from error
    numbers = [isinstance(x, np.ndarray) and x.dtype.kind in "fiub" for x in found]
    if not isinstance(found, list) or not all(numbers):
        raise ValueError(f"{path} is damaged, or holds more than plain arrays")
    return found


def write_named(names: Sequence[str | None], source: Path, target: Path) -> None:
    """The arrays of a pickle, in order, under names in an `.npz` file; those without are left out.

    Raises:
        ValueError: as `read_arrays`, or if there are not as many.
    """
    arrays = read_arrays(source)
    if len(arrays) != len(names):
        raise ValueError(f"{source} must hold {len(names)} arrays, got {len(arrays)}")
    named: dict[str, Any] = {
        name: x for name, x in zip(names, arrays, strict=True) if name is not None
    }
    # Written elsewhere first: whoever is interrupted leaves no half of a file behind.
    written = target.with_name(f"{target.stem}.{os.getpid()}.npz")
    np.savez(written, **named)
    os.replace(written, target)
