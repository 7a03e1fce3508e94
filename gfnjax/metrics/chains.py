"""Absorbing Markov chains: how often each state is visited before a walk ends.

The number of visits v solves v = e + v Q, with e where walks start and Q(s, s') the probability
of the step s -> s'; v = e (I - Q)^{-1}. Up to `DENSE` states that is one factorisation. Beyond,
the mass still under way is pushed on until less than `TOLERANCE` of it is left, and what is left
bounds what each of the absorbing states lacks.
"""

import jax.numpy as jnp
from jax import lax

from gfnjax.types import Array

DENSE = 5_000
# Of the mass, in single and in double precision.
TOLERANCE = {4: 1e-6, 8: 1e-13}
MAX_PUSHES = 20_000


def expected_visits(start: Array, origins: Array, arriving: Array) -> Array:
    """v(s') = e(s') + sum_k arriving(s', k) v(origins(s', k)), solved for v.

    Args:
        start: `[N]` e, where walks start.
        origins: `[N, K]` int32, where the k-th edge into each state comes from.
        arriving: `[N, K]` probability that a walk leaves its origin by that edge; 0 for no edge.
            What leads nowhere ends there.

    Returns:
        `[N]` visits, not negative.
    """
    solve = solved if start.size <= DENSE else pushed
    return solve(start, origins, arriving)


def solved(start: Array, origins: Array, arriving: Array) -> Array:
    """`expected_visits` by a dense solve: O(N^3) work, O(N^2) memory."""
    size = start.size
    row = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32)[:, None], origins.shape)
    steps = jnp.zeros((size, size), start.dtype).at[row, origins].add(arriving)
    return jnp.maximum(jnp.linalg.solve(jnp.eye(size, dtype=start.dtype) - steps, start), 0.0)


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
