"""Equality, hashes and pickles of descriptions that hold arrays and functions."""

import dataclasses
import types
from functools import partial
from typing import Any

import jax
import numpy as np


class Comparable:
    """`==` gives one bool, equal things have equal hashes, and `pickle` takes functions along.

    Arrays are equal if shape, dtype and all numbers are; functions, such as schedules, if their
    code and what they have captured are. A lambda is pickled by value, through cloudpickle.
    """

    def __eq__(self, other: object) -> bool:
        return same(self, other)

    def __hash__(self) -> int:
        # Arrays have no hash: types and plain numbers must do.
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore
        return hash((type(self), *(x if isinstance(x, int | float) else type(x) for x in values)))

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle

        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore
        return _restore, (type(self), cloudpickle.dumps(values))


def classes(tree: Any) -> tuple[type, ...]:
    """The classes of all nodes of a pytree, for what is compiled to tell them apart.

    JAX 0.10 takes the structures of two dataclasses for equal if their fields are, and with a
    probability of about 1 in 128 runs what it has compiled for the one on the other.
    """
    level = jax.tree_util.default_registry.flatten_one_level(tree)
    if level is None:  # a leaf
        return ()
    return type(tree), *(kind for child in level[0] for kind in classes(child))


def _restore(kind: type, content: bytes) -> Any:
    import cloudpickle

    return kind(**cloudpickle.loads(content))


def same(a: Any, b: Any, seen: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Whether two values are equal all the way down."""
    if a is b or (id(a), id(b)) in seen:  # what refers to itself is compared once
        return True
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if type(a) is not type(b):
        return False
    below = partial(_all_same, seen=seen | {(id(a), id(b))})
    if isinstance(a, jax.Array | np.ndarray):
        return _same_arrays(a, b)
    if isinstance(a, types.FunctionType):
        return a.__code__ == b.__code__ and below(_captured(a), _captured(b))
    if isinstance(a, types.MethodType):
        return below((a.__func__, a.__self__), (b.__func__, b.__self__))
    if isinstance(a, partial):
        return below((a.func, a.args, a.keywords), (b.func, b.args, b.keywords))
    if isinstance(a, dict):
        return a.keys() == b.keys() and below(list(a.values()), [b[key] for key in a])
    if isinstance(a, tuple | list):
        return below(a, b)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        names = [field.name for field in dataclasses.fields(a) if field.compare]
        return below([getattr(a, n) for n in names], [getattr(b, n) for n in names])
    try:
        return bool(a == b)
    except Exception:  # an equality that gives no bool
        return False


def _all_same(a: Any, b: Any, seen: frozenset[tuple[int, int]]) -> bool:
    return len(a) == len(b) and all(same(x, y, seen) for x, y in zip(a, b, strict=True))


def _same_arrays(a: Any, b: Any) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    a, b = np.asarray(a), np.asarray(b)
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _captured(function: types.FunctionType) -> tuple[Any, ...]:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return function.__module__, function.__defaults__, function.__kwdefaults__, cells
