"""Small networks of an objective's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax.errors import ArgumentError
from gfnjax.types import Array, PyTree


class FeedForward(nn.Module):
    """`[n] -> [num_outputs]` with ReLU between the layers; `zero` starts it at zero everywhere."""

    hidden_sizes: tuple[int, ...]
    num_outputs: int
    zero: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dtype = jnp.result_type(float)
        for width in self.hidden_sizes:
            x = nn.relu(nn.Dense(width, dtype=dtype, param_dtype=dtype)(x))
        kernel = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        return nn.Dense(self.num_outputs, dtype=dtype, param_dtype=dtype, kernel_init=kernel)(x)


def flatten(observation: PyTree) -> Array:
    """The leaves of one observation in a row: `[n]` floats."""
    dtype = jnp.result_type(float)
    return jnp.concatenate([jnp.ravel(x).astype(dtype) for x in jax.tree.leaves(observation)])


def check_sizes(hidden_sizes: tuple[int, ...]) -> None:
    """Raise a `ValueError` if a width is not positive."""
    if any(width < 1 for width in hidden_sizes):
        raise ArgumentError("hidden_sizes", f"must be positive widths, got {hidden_sizes}")
