"""Where flows start: log F(s) is what the network says plus a constant that is never trained."""

import jax
import jax.numpy as jnp

from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Array, Number, Scores


def from_start(
    scores: Scores, start: Array | None, value_scale: Number | None = None, drawn: bool = False
) -> Scores:
    """Scores of one trajectory with the flows of the network shifted to where they started.

    Flows that are read off the forward logits, `value_scale` times `log_value`, are shifted alike;
    what is known is not: log R at the terminal state and, where s_1 is `drawn`, log Z at s_0.
    """
    check_one(scores)
    scale = 1.0 if value_scale is None else value_scale
    if drawn:
        shifted = from_start(scores, start, value_scale)
        assert scores.from_source is not None  # there where s_1 is drawn
        first = scores.from_source & (jnp.arange(scores.log_flow.size, dtype=jnp.int32) == 0)
        flow, value = jnp.where(first, scores.log_z, shifted.log_flow), shifted.log_value
        value = None if value is None else jnp.where(first, scores.log_z / scale, value)
        return shifted._replace(log_flow=flow, log_value=value)
    if start is None:
        return scores
    visited = jnp.pad(scores.mask, (1, 0), constant_values=True)
    shift = jnp.where(visited & ~terminal_step(scores), jax.lax.stop_gradient(start), 0.0)
    value = scores.log_value
    if value is not None:
        value = value + shift / scale
    return scores._replace(log_flow=scores.log_flow + shift, log_value=value)
