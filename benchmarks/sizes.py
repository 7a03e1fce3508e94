"""Problems of any size, for how costs grow. All by trajectory balance; batch 16 but where it grows.

batch     the 20^4 grid of `grid-tb`, MLP 256-256
horizon   bits appended one by one (`FixedSequence` of two letters): always as many steps as
          bits, 2 actions, MLP 64-64. Its input, a look-up a bit, grows with the length
side      of the grid in 2 dimensions, MLP 256-256. An untrained policy stops early: what is
          measured is the price of a horizon that is not used
actions   up to 4 items, then stop (`Items`), MLP 64-64, whose ends grow along
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import gfnjax
from benchmarks.items import Items
from benchmarks.tasks import gflownet
from gfnjax import GFlowNet


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


GROWTHS: dict[str, tuple[tuple[int, ...], Callable[[int], GFlowNet]]] = {
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
}
