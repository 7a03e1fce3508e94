"""How a broken promise is found, compared and said."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import Environment, canonical_of
from gfnjax.types import Array, PyTree


class ConformanceError(AssertionError):
    """An environment breaks its contract; the message says where and how."""


def require(condition: Any, message: str) -> None:
    """Raise a `ConformanceError` with that message unless all of `condition` holds."""
    if not np.all(np.asarray(condition)):
        raise ConformanceError(message)


def each(fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """`fn` on a batch, compiled, results on the host: a check's time is all compilation."""
    compiled = jax.jit(jax.vmap(fn))
    return lambda *batch: jax.device_get(compiled(*batch))


def equal(a: PyTree, b: PyTree) -> Array:
    """`[]` True where two states are equal, floats to 1e-6."""

    def alike(x: Array, y: Array) -> Array:
        x, y = jnp.asarray(x), jnp.asarray(y)
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        return (jnp.isclose(x, y, 1e-5, 1e-6) if floating else x == y).all()

    return jnp.stack(jax.tree.leaves(jax.tree.map(alike, a, b))).all()


def same(env: Environment, a: PyTree, b: PyTree) -> Array:
    """`[]` True where two states are the same object."""
    return equal(canonical_of(env, a), canonical_of(env, b))


def agree(a: PyTree, b: PyTree) -> bool:
    """`equal` on the host."""

    def alike(x: Any, y: Any) -> bool:
        return (
            np.allclose(x, y, 1e-5, 1e-6)
            if np.asarray(x).dtype.kind == "f"
            else np.array_equal(x, y)
        )

    return all(jax.tree.leaves(jax.tree.map(alike, a, b)))


def first(bad: Any, states: PyTree) -> str:
    """The first state that `bad` marks, for a message."""
    where = int(np.argmax(np.asarray(bad)))
    return str(jax.tree.map(lambda x: np.asarray(x[where]), states))
