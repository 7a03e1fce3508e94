"""Rewards written in NumPy, called on the host once a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from gfnjax.errors import ArgumentError
from gfnjax.types import Array


@struct.dataclass
class HostReward:
    """log R(x) of a state by a function that JAX does not see; build one with `host`.

    A pytree without leaves. Its gradient is zero.

    Attributes:
        fn: the function of a batch; another function is another program.
    """

    fn: Callable[..., Any] = struct.field(pytree_node=False)

    def __call__(self, *state: Any) -> Array:
        """`[]` log R from what an environment gives its reward: arrays, and Python numbers."""
        leaves, structure = jax.tree.flatten(state)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (jax.Array, np.ndarray))]
        arrays = [jnp.asarray(leaves[i]) for i in places]
        ranks = [array.ndim for array in arrays]
        dtype = jnp.result_type(float)

        def call(*batches: Any) -> np.ndarray:
            # Every vmap has put an axis in front, of all the arrays alike.
            shape = batches[0].shape[: batches[0].ndim - ranks[0]] if batches else ()
            num_states = int(np.prod(shape))
            if num_states == 0:
                return np.zeros(shape, dtype)
            given = list(leaves)
            for i, rank, batch in zip(places, ranks, batches, strict=True):
                own = batch.shape[batch.ndim - rank :]
                given[i] = np.array(batch).reshape(num_states, *own)
            values = _evaluate(self.fn, structure.unflatten(given), num_states, dtype)
            return values.reshape(shape)

        result = jax.ShapeDtypeStruct((), dtype)
        arrays = lax.stop_gradient(arrays)
        return jax.pure_callback(call, result, *arrays, vmap_method="broadcast_all")


def host(fn: Callable[..., Any]) -> HostReward:
    """A reward from `fn(batch) -> [B]` log R in nats, written in NumPy or anything but JAX.

    `fn` takes what the environment's reward takes, with a batch axis in front of every array:
    `Hypergrid` calls `reward(position, side)` on one state, so `fn(position, side)` gets `[B,
    num_dims]` int32 and a Python int. All vmaps together make one call, of writable arrays. It has
    to be pure, and to answer for unfinished states as well (tokens that are not yet written, say):
    exact metrics, `check_environment` and partial rewards ask for them, and any finite number will
    do where the reward is never read.

    A call costs some tenths of a millisecond on a CPU, and on other devices the way to the host
    and back; no device computes meanwhile. A reward that JAX can trace is always faster.

    An exception of `fn`, and values that are no `[B]` real numbers, are NaN or +inf, stop the
    computation with a `jax.errors.JaxRuntimeError` that names `fn`.

    Raises:
        TypeError: if `fn` cannot be called or hashed.
    """
    if not callable(fn):
        raise ArgumentError("fn", f"must be a function of a batch of states, got {fn!r}")
    try:
        hash(fn)
    except TypeError as error:
        raise ArgumentError("fn", f"must be hashable, as functions are, got {_name(fn)}") from error
    return HostReward(fn)


def _evaluate(fn: Callable[..., Any], batch: Any, num_states: int, dtype: Any) -> np.ndarray:
    """`[num_states]` checked values of `fn`."""
    try:
        values = np.asarray(fn(*batch))
    except Exception as error:
        raise RuntimeError(
            f"gfnjax.rewards.host: {_name(fn)} failed: {type(error).__name__}: {error}"
        ) from error
    if values.dtype.kind not in "fiu":
        raise TypeError(
            f"gfnjax.rewards.host: {_name(fn)} must return real numbers, got {values.dtype}"
        )
    if values.shape != (num_states,):
        raise ValueError(
            f"gfnjax.rewards.host: {_name(fn)} must return log R of shape ({num_states},), one "
            f"for each state of the batch, got {values.shape}"
        )
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    bad = np.isnan(values) | (values == np.inf)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"gfnjax.rewards.host: {_name(fn)} must return finite log R, got {values[first]} for "
            f"{int(bad.sum())} of {num_states} states, the first of them number {first}"
        )
    return values


def _name(fn: Any) -> str:
    fn = getattr(fn, "func", fn)  # of a partial function
    return getattr(fn, "__qualname__", None) or type(fn).__name__
