"""One batch of trajectories spread over several devices: the mesh axis that is called "batch".

The axis is ambient, as in JAX itself: inside of a `jax.shard_map` over a mesh with such an axis,
with `check_vma=False`, or of a `jax.vmap` with that `axis_name`, every batch `[B, ...]` is held in
parts `[b, ...]`, one on each device. Everywhere else the functions here change nothing: the one
device has it all. Numbers of trajectories in arguments are those of the whole batch.

What is random is drawn as for the whole batch, and each device takes its rows, so that the result
does not depend on the number of devices. Device d of n has rows d, d + n, d + 2n, ... : parts that
are concatenated or shortened on each device then make up what the whole ones would, row for row.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.errors import ArgumentError
from gfnjax.state import TrainState
from gfnjax.types import Array, PyTree

BATCH = "batch"


def num_parts() -> int:
    """Over how many devices a batch is spread: 1 where no axis says so."""
    try:
        return lax.axis_size(BATCH)
    except NameError:
        return 1


def part_of(name: str, count: int, subject: str = "") -> int:
    """How many of `count` rows each device has.

    Args:
        name: the argument that `count` comes from.
        count: rows of the whole batch.
        subject: what to say of it in an error, instead of its name.

    Raises:
        ValueError: unless `count` is a multiple of the number of devices.
    """
    parts = num_parts()
    if count % parts:
        problem = f"must be a multiple of the {parts} devices its batch is spread over"
        raise ArgumentError(name, f"{problem}, got {count}", subject=subject)
    return count // parts


def whole(count: int) -> int:
    """How many rows there are on all devices, of `count` rows on each."""
    return count * num_parts()


def rows(tree: PyTree, axis: int = 0) -> PyTree:
    """This device's rows of arrays that have been drawn for the whole batch.

    Args:
        tree: arrays with B rows along `axis`, the same on all devices.
        axis: along which the trajectories of the batch are.

    Returns:
        Arrays with b = B / `num_parts()` rows.
    """
    parts = num_parts()
    if parts == 1:
        return tree

    def take(x: Array) -> Array:
        count = part_of("batch_size", x.shape[axis])
        apart = x.reshape(*x.shape[:axis], count, parts, *x.shape[axis + 1 :])
        return lax.dynamic_index_in_dim(apart, lax.axis_index(BATCH), axis + 1, keepdims=False)

    return jax.tree.map(take, tree)


def own_key(key: Array) -> Array:
    """A key of this device's own, for draws that are no rows of one for the whole batch.

    From a memory that the device alone has, for instance. It consumes `key`.
    """
    return key if num_parts() == 1 else jax.random.fold_in(key, lax.axis_index(BATCH))


def total(tree: PyTree) -> PyTree:
    """Sums of arrays over the devices, all of one dtype by one all-reduce.

    For what all devices make the same use of, such as the sums that a loss is a quotient of: a
    gradient passes unchanged. The gradients of a loss of such sums are each device's contribution
    to that of the whole batch; their `total` is that gradient.
    """
    return tree if num_parts() == 1 else _total(tree)


def share(tree: PyTree) -> PyTree:
    """What arrays of this device contribute to their mean over the devices, a `total` of shares."""
    parts = num_parts()
    return tree if parts == 1 else jax.tree.map(lambda x: x / parts, tree)


def mean(x: Array) -> Array:
    """`[]` the mean over the whole batch of `x` `[b]`, for use in each of its trajectories.

    Unlike those of a `total`, such uses differ from device to device: so do the gradients, which
    are summed on the way back.
    """
    return x.mean() if num_parts() == 1 else _everywhere(share(x.mean()))


def log_power_mean(log_x: Array, power: Any) -> Array:
    """`[]` (1 / power) log mean x^power over the whole batch of log x `[b]`; mean log x at power 0.

    Continuous in `power`, which may be traced. Without gradient.
    """
    log_x = lax.stop_gradient(log_x)
    power = jnp.asarray(power, log_x.dtype)
    centre = mean(log_x)
    y = power * (log_x - centre)
    top, size = largest(y.max()), largest(jnp.abs(y).max())
    # Of small numbers a difference of logarithms would lose what the division brings back.
    near = jnp.log1p(mean(jnp.expm1(jnp.clip(y, -1.0, 1.0))))
    excess = jnp.where(size < 0.5, near, top + jnp.log(mean(jnp.exp(y - top))))
    zero = power == 0
    return centre + jnp.where(zero, 0.0, excess / jnp.where(zero, 1.0, power))


def largest(x: Array) -> Array:
    """The elementwise maximum over the devices. Without gradient where there are several."""
    return x if num_parts() == 1 else lax.pmax(lax.stop_gradient(x), BATCH)


def following(x: Array) -> Array:
    """`[b]` what `x` `[b]` is in the next trajectory of the whole batch, the first after the last.

    Differentiable.
    """
    parts = num_parts()
    if parts == 1:
        return jnp.roll(x, -1)
    # Row i is on device i % parts: the next one has the same place on the next device, but for
    # those of the last device, which are followed by the next place of the first.
    found = lax.ppermute(x, BATCH, [((d + 1) % parts, d) for d in range(parts)])
    return jnp.where(lax.axis_index(BATCH) == parts - 1, jnp.roll(found, -1), found)


def divided(state: PyTree) -> PyTree:
    """Which leaves of a training state differ from device to device: bools in its structure.

    Those of `TrainState.memory` and `TrainState.observed`, wherever in `state` there is a
    `TrainState`. All others are the same on all devices.
    """

    def mark(node: Any) -> Any:
        if not isinstance(node, TrainState):
            return False
        same = jax.tree.map(lambda _: False, node)
        memory, observed = jax.tree.map(lambda _: True, (node.memory, node.observed))
        return same._replace(memory=memory, observed=observed)

    return jax.tree.map(mark, state, is_leaf=lambda node: isinstance(node, TrainState))


def refuse(what: str, argument: str, remedy: str = "") -> None:
    """Raise an `ArgumentError` where there are several devices: `what` cannot be spread."""
    if num_parts() > 1:
        problem = f"cannot spread a batch over the {num_parts()} devices of a mesh axis {BATCH!r}"
        raise ArgumentError(argument, problem, remedy or "give that axis one device", what)


def _sum(tree: PyTree) -> PyTree:
    """`lax.psum` of a tree, one vector a dtype: each array on its own would be a message."""
    leaves, structure = jax.tree.flatten(tree)
    sums = list(leaves)
    for dtype in dict.fromkeys(x.dtype for x in leaves):
        places = [i for i, x in enumerate(leaves) if x.dtype == dtype]
        vector = lax.psum(jnp.concatenate([leaves[i].reshape(-1) for i in places]), BATCH)
        start = 0
        for i in places:
            stop = start + leaves[i].size
            sums[i] = vector[start:stop].reshape(leaves[i].shape)
            start = stop
    return structure.unflatten(sums)


_total = jax.custom_vjp(_sum)
_total.defvjp(lambda tree: (_sum(tree), None), lambda _, cotangents: (cotangents,))

_everywhere = jax.custom_vjp(_sum)
_everywhere.defvjp(lambda tree: (_sum(tree), None), lambda _, cotangents: (_sum(cotangents),))
