"""One log reward from several and a condition: callable pytrees `(log_rewards, condition) -> []`.

`log_rewards` `[m]` holds log R_1 .. log R_m of one object in nats, `condition` `[k]` what was
drawn for its trajectory.
"""

import jax.numpy as jnp
from flax import struct
from jax.scipy.special import logsumexp

from gfnjax.shapes import check_alike, check_shape
from gfnjax.types import Array


@struct.dataclass
class Temperature:
    """log R_beta = beta log R, with beta the condition: above 1 sharpens the target."""

    def __call__(self, log_rewards: Array, condition: Array) -> Array:
        check_shape("log_rewards", log_rewards, (1,), "[m]")
        check_shape("condition", condition, (1,), "[k]")
        return condition[0] * log_rewards[0]


@struct.dataclass
class WeightedSum:
    """log R_w = exponent * log sum_i w_i R_i (Jain et al., 2210.12765).

    Its maxima lie on the convex part of the Pareto front.
    """

    exponent: float = 1.0

    def __call__(self, log_rewards: Array, condition: Array) -> Array:
        check_alike(1, log_rewards=log_rewards, condition=condition)
        log_weights = jnp.log(jnp.maximum(condition, jnp.finfo(condition.dtype).tiny))
        return self.exponent * logsumexp(log_weights + log_rewards)


@struct.dataclass
class WeightedProduct:
    """log R_w = exponent * sum_i w_i log R_i: an object must be good at all that is weighed."""

    exponent: float = 1.0

    def __call__(self, log_rewards: Array, condition: Array) -> Array:
        check_alike(1, log_rewards=log_rewards, condition=condition)
        return self.exponent * (condition * log_rewards).sum()
