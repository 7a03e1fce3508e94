"""Scaled dot-product attention of one sequence, fast where heads are many and small.

Matrix products over thousands of small matrices are fast on CPU only where neither factor is
transposed. Derivatives are full of transposes, so they are written out here, with every transpose
made before its product.
"""

import jax
import jax.numpy as jnp

from gfnjax import masking
from gfnjax.types import Array


def attend(query: Array, key: Array, value: Array, mask: Array, num_heads: int) -> Array:
    """softmax(Q K^T / sqrt(d)) V in each head, and the heads side by side.

    Args:
        query: `[T, width]`; heads of d = width / num_heads numbers, side by side.
        key: `[S, width]`.
        value: `[S, width]`.
        mask: `[T, S]`, or any shape that broadcasts to it: row t looks where it is True.
        num_heads: a divisor of the width.

    Returns:
        `[T, width]`. Differentiable in reverse mode, once, in the first three.
    """

    def heads(x: Array) -> Array:
        return _made(jnp.moveaxis(x.reshape(len(x), num_heads, -1), 1, 0))

    scale = (query.shape[-1] // num_heads) ** -0.5
    attended = _attend(heads(query * scale), heads(key), heads(value), mask)
    return jnp.moveaxis(attended, 0, 1).reshape(query.shape)


@jax.custom_vjp
def _attend(query: Array, key: Array, value: Array, mask: Array) -> Array:
    return _forward(query, key, value, mask)[0]


def _forward(query: Array, key: Array, value: Array, mask: Array) -> tuple[Array, tuple]:
    weights = jax.nn.softmax(jnp.where(mask, query @ _transposed(key), masking.FILL))
    return weights @ value, (query, key, value, weights)


def _backward(residuals: tuple, gradient: Array) -> tuple[Array, Array, Array, None]:
    query, key, value, weights = residuals
    by_weights = gradient @ _transposed(value)
    total = (by_weights * weights).sum(axis=-1, keepdims=True)
    by_logits = weights * (by_weights - total)  # zero where masked: there weights are
    return (
        by_logits @ key,
        _transposed(by_logits) @ query,
        _transposed(weights) @ gradient,
        None,
    )


_attend.defvjp(_forward, _backward)


def _transposed(x: Array) -> Array:
    return _made(jnp.swapaxes(x, -1, -2))


def _made(x: Array) -> Array:
    """An array of its own: no product may take the transpose as part of its work."""
    return jax.lax.optimization_barrier(x)
