"""Absorbing Markov chains: how often each state is visited before a walk ends.

The number of visits v solves v = e + v Q, with e where walks start and Q(s, s') the probability
of the step s -> s'; v = e (I - Q)^{-1}. Up to `DENSE` states that is one factorisation, in double
precision: in single precision 1 - Q(s, s) and the other steps of s leave nothing of a stop with a
probability of 1e-7. Beyond, the mass still under way is pushed on until less than `TOLERANCE` of it
is left, and what is left bounds what each of the absorbing states lacks.
"""

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array

DENSE = 5_000
# Of the mass, in single and in double precision.
TOLERANCE = {4: 1e-6, 8: 1e-13}
MAX_PUSHES = 20_000
# Of the mass, what may come to no end or twice in a solve whose numbers mean anything.
MAX_LOST = 1e-3


def expected_visits(
    start: Array, origins: Array, arriving: Array, out: Array | None = None
) -> Array:
    """v(s') = e(s') + sum_k arriving(s', k) v(origins(s', k)), solved for v.

    Args:
        start: `[N]` e, where walks start.
        origins: `[N, K]` int32, where the k-th edge into each state comes from.
        arriving: `[N, K]` probability that a walk leaves its origin by that edge; 0 for no edge.
            Those of an origin and `out` add up to 1, or to 0 where walks end.
        out: `[N]` probability that a walk ends once it leaves, by an edge that is not there.

    Returns:
        `[N]` visits, not negative.
    """
    if start.size > DENSE:
        return pushed(start, origins, arriving)
    return solved(start, origins, arriving, jnp.zeros_like(start) if out is None else out)


def solved(start: Array, origins: Array, arriving: Array, out: Array) -> Array:
    """`expected_visits` by a dense solve: O(N^3) work, O(N^2) memory.

    All NaN where walks are so long (a stop of 1e-13) that double precision is not enough either.
    """
    size = start.size
    state = jnp.arange(size, dtype=jnp.int32)
    row = jnp.broadcast_to(state[:, None], origins.shape)
    with jax.enable_x64(True):
        mass, out = start.astype(jnp.float64), out.astype(jnp.float64)
        others = jnp.where(origins == row, jnp.float64(0), arriving.astype(jnp.float64))
        steps = jnp.zeros((size, size), jnp.float64).at[row, origins].add(others)
        # 1 - Q(s, s) without a difference: what leaves a state, stops included, for another one.
        leaving = steps.sum(axis=0) + out
        out = jnp.where(leaving == 0, jnp.float64(1), out)
        diagonal = jnp.where(leaving == 0, jnp.float64(1), leaving)
        system = jnp.where(state[:, None] == state[None], diagonal[None], -steps)
        visits = jnp.maximum(jnp.linalg.solve(system, mass), jnp.float64(0))
        lost = jnp.abs((out * visits).sum() - mass.sum())
        known = lost <= MAX_LOST * mass.sum()
        return jnp.where(known, visits, jnp.float64(jnp.nan)).astype(start.dtype)


def pushed(start: Array, origins: Array, arriving: Array) -> Array:
    """`expected_visits` by following the mass, from below: O(N K) work a step of the walk."""
    tolerance = TOLERANCE[start.dtype.itemsize] * start.sum()

    def push(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, moving, visits = carry
        moving = (arriving * moving[origins]).sum(axis=1)
        return count + 1, moving, visits + moving

    def under_way(carry: tuple[Array, Array, Array]) -> Array:
        return (carry[0] < MAX_PUSHES) & (carry[1].sum() > tolerance)

    return lax.while_loop(under_way, push, (jnp.zeros((), jnp.int32), start, start))[2]
