"""The compiled programs of a sweep: all members start, and all take some steps.

Members are divided among the devices of the `run` axis, each of which goes through its own: no
device waits for another. On the `batch` axis devices share each batch of a run.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from gfnjax import spread, training
from gfnjax.pytree import unchecked
from gfnjax.sweeps.placement import BATCH, RUN, Layout
from gfnjax.sweeps.stack import Stack
from gfnjax.training import RunInfo, RunState
from gfnjax.types import Array, PyTree

OWN = PartitionSpec(RUN)


def start(described: Stack, keys: Array, layout: Layout) -> RunState:
    """`[S, ...]` the states at step 0 from keys `[S]`, of all slots."""
    return _start(described, keys, layout)


def advance(
    described: Stack, states: RunState, num_steps: Array, layout: Layout, capacity: int
) -> tuple[RunState, RunInfo, Array, Array]:
    """`num_steps` `[S]` <= `capacity` steps of each member, from `states`, which are gone then.

    A step that is not finite is taken back, and that member stops there; no other one sees it.

    Returns:
        States `[S, ...]`; infos `[S, capacity]`; `[S]` steps tried; `[S]` whether all were finite.
    """
    return _advance(described, states, num_steps, layout, capacity)


@partial(jax.jit, static_argnames="layout")
def _start(described: Stack, keys: Array, layout: Layout) -> RunState:
    def one(gfn: Any, key: Array) -> RunState:
        return _told_apart(gfn.init(key), layout)

    state = jax.eval_shape(lambda stack: _example(stack).init(jax.random.key(0)), described)
    return _on_devices(one, described, layout, specs(state, layout), OWN)(described, keys)


@partial(jax.jit, static_argnames=("layout", "capacity"), donate_argnames="states")
def _advance(
    described: Stack, states: RunState, num_steps: Array, layout: Layout, capacity: int
) -> tuple[RunState, RunInfo, Array, Array]:
    def one(gfn: Any, state: RunState, num_steps: Array) -> Any:
        state = _own_part(state, layout)
        state, *found = training.advance(gfn, state, num_steps, capacity)
        return _told_apart(state, layout), *found

    kept = specs(states, layout)
    found = kept, OWN, OWN, OWN
    return _on_devices(one, described, layout, found, kept, OWN)(described, states, num_steps)


def specs(states: PyTree, layout: Layout) -> PyTree:
    """Over which axes the leaves of states are divided.

    What each device of a batch has for itself, of a replay buffer for instance, is `[S, K, ...]`
    for K devices; all else they have in common.
    """

    def spec(divided: bool) -> PartitionSpec:
        return PartitionSpec(RUN, BATCH) if divided and layout.num_parts > 1 else OWN

    return jax.tree.map(spec, spread.divided(states))


def _told_apart(state: RunState, layout: Layout) -> RunState:
    """With an axis for the devices of the batch, where each has something for itself."""
    if layout.num_parts == 1:
        return state
    return jax.tree.map(lambda d, x: x[None] if d else x, spread.divided(state), state)


def _own_part(state: RunState, layout: Layout) -> RunState:
    """Without that axis."""
    if layout.num_parts == 1:
        return state
    return jax.tree.map(lambda d, x: x[0] if d else x, spread.divided(state), state)


def _example(described: Stack) -> Any:
    """The description of some member."""
    return described.with_own([None if x is None else x[0] for x in described.varied])


def shapes(described: Stack, layout: Layout) -> Stack:
    """The shapes of descriptions of all slots of a layout; shared numbers stay."""

    def of_slots(x: Any) -> jax.ShapeDtypeStruct:
        shape, weak = (layout.num_slots, *x.shape[1:]), getattr(x, "weak_type", False)
        return _shape(jax.ShapeDtypeStruct(shape, x.dtype, weak_type=weak), layout, RUN)

    varied = [None if x is None else of_slots(x) for x in described.varied]
    return dataclasses.replace(described, varied=varied)


def lower(described: Stack, layout: Layout, capacity: int) -> Any:
    """`advance` before it is compiled, from the `shapes` of descriptions."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), layout.num_slots))
    states = jax.eval_shape(partial(_start, layout=layout), described, keys)
    states = jax.tree.map(lambda x, spec: _shape(x, layout, *spec), states, specs(states, layout))
    num_steps = _shape(jax.ShapeDtypeStruct((layout.num_slots,), jnp.int32), layout, RUN)
    return _advance.lower(described, states, num_steps, layout, capacity)


def _shape(x: Any, layout: Layout, *axes: str) -> jax.ShapeDtypeStruct:
    weak = getattr(x, "weak_type", False)
    sharding = layout.sharding(*axes)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding, weak_type=weak)


def _on_devices(
    one: Callable[..., Any], described: Stack, layout: Layout, out_specs: Any, *in_specs: Any
) -> Callable[..., Any]:
    """`one(gfn, *args)` for all members, from args `[S, ...]`, each on the device it is on."""

    def local(described: Stack, *args: Any) -> Any:
        def member(own: tuple[list[Any], Any]) -> Any:
            return one(described.with_own(own[0]), *own[1])

        return _each(member, (described.varied, args), layout.at_once)

    stacks = unchecked(Stack, shared=PartitionSpec(), varied=OWN, structure=described.structure)
    # Loops start from constants, which are the same everywhere: not checked.
    options: Any = {"mesh": layout.mesh, "out_specs": out_specs, "check_vma": False}
    return jax.shard_map(local, in_specs=(stacks, *in_specs), **options)


def _each(one: Callable[[PyTree], PyTree], rows: PyTree, at_once: int) -> PyTree:
    """`one(row)` for rows `[n, ...]`, so many in one operation."""
    count = jax.tree.leaves(rows)[0].shape[0]
    if at_once >= count:
        return jax.vmap(one)(rows) if count > 1 else _added(one(_first(rows)))
    if at_once == 1:
        return lax.map(one, rows)
    blocks = jax.tree.map(lambda x: x.reshape(-1, at_once, *x.shape[1:]), rows)
    found = lax.map(jax.vmap(one), blocks)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)


def _first(rows: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x[0], rows)


def _added(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x[None], tree)
