"""Problems of any size, for how costs grow. All by trajectory balance; batch 16 but where it grows.

batch     the 20^4 grid of `grid-tb`, MLP 256-256
horizon   bits appended one by one (`FixedSequence` of two letters): always as many steps as
          bits, 2 actions, MLP 64-64. Its input, a look-up a bit, grows with the length
side      of the grid in 2 dimensions, MLP 256-256. An untrained policy stops early: what is
          measured is the price of a horizon that is not used
actions   up to 4 items, then stop (`Items`), MLP 64-64, whose ends grow along
members   of a sweep over keys on the 8 x 8 grid, MLP 32-32, in one compiled program, divided among
          the devices there are: operations this small keep no more than one core busy
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, PartitionSpec

import gfnjax
from benchmarks.items import Items
from benchmarks.tasks import gflownet
from gfnjax import GFlowNet


class MembersState(NamedTuple):
    """The states of all members, `[members, ...]` each, and the `step` that all are at."""

    members: Any
    step: jax.Array


@struct.dataclass
class Members:
    """As many runs of one description from keys of their own, as one that can be trained."""

    gfn: GFlowNet
    num_members: int = struct.field(pytree_node=False)

    def init(self, key: jax.Array) -> MembersState:
        keys = jax.random.split(key, self.num_members)
        return MembersState(jax.vmap(self.gfn.init)(keys), jnp.zeros((), jnp.int32))

    def step(self, state: MembersState) -> tuple[MembersState, Any]:
        members, info = _divided(jax.vmap(self.gfn.step), self.num_members)(state.members)
        return MembersState(members, state.step + 1), jax.tree.map(jnp.mean, info)


def _divided(step: Callable, num_members: int) -> Callable:
    """`step` of `[members, ...]`, those of each device in loops of their own."""
    devices = jax.devices()[: math.gcd(num_members, jax.device_count())]
    if len(devices) == 1:
        return step
    mesh, of_members = Mesh(devices, ("members",)), PartitionSpec("members")
    # Loops start from constants, which are the same everywhere: not checked.
    specs = {"in_specs": of_members, "out_specs": of_members, "check_vma": False}
    return jax.shard_map(step, mesh=mesh, **specs)


def describe(env: Any, *widths: int, **options: Any) -> GFlowNet:
    policy = gfnjax.mlp_policy(env, widths, "relu")
    return GFlowNet(env, policy, gfnjax.TrajectoryBalance(), log_z_init=0.0, **options)


def _ones(tokens: jax.Array) -> jax.Array:
    return (tokens == 1).mean(dtype=jnp.float32)


def _bits(length: int) -> GFlowNet:
    env = gfnjax.envs.FixedSequence(length, 2, _ones)
    return describe(env, 64, 64, backward=gfnjax.UniformBackward())


def _actions(count: int) -> GFlowNet:
    return describe(Items(count - 1, 4), 64, 64, backward=gfnjax.UniformBackward())


GROWTHS: dict[str, tuple[tuple[int, ...], Callable[[int], GFlowNet | Members]]] = {
    "batch": (
        tuple(4**i for i in range(2, 8)),
        lambda size: gflownet("grid-tb", batch_size=size),
    ),
    "horizon": ((20, 50, 100, 200, 500), _bits),
    "side": (
        (8, 16, 32, 64),
        lambda side: describe(gfnjax.Hypergrid(2, side), 256, 256),
    ),
    "actions": ((5, 50, 500, 5_000, 50_000), _actions),
    "members": (
        tuple(2**i for i in range(7)),
        lambda count: Members(describe(gfnjax.Hypergrid(2, 8), 32, 32), count),
    ),
}
