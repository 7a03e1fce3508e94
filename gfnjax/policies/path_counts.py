"""The maximum-entropy backward policy where paths cannot be counted: the counts are learned."""

import jax
import jax.numpy as jnp

from gfnjax import scoring, spread
from gfnjax.envs.base import Environment
from gfnjax.policies.backward import LearnedBackward, TrainedBackward
from gfnjax.pytree import pytree
from gfnjax.types import Array, PyTree, Trajectory


@pytree
class LearnedMaximumEntropyBackward(TrainedBackward):
    """Minimise the mean over transitions of (l(s_t) - l(s_{t+1}) - log P_B(s_t | s_{t+1}))^2.

    l is the network's log flow, with l(s_0) = 0 imposed. Where every residual is zero,
    exp l(s') = sum over parents of exp l(s): l(s) = log n(s), the number of paths from s_0 to s,
    and P_B(s | s') = n(s) / n(s'), as in `MaximumEntropyBackward` (Mohammadpour et al.,
    2312.14331). The batch must come by every edge, so it takes some exploration.
    """

    def loss(
        self, params: PyTree, env: Environment, trajectories: Trajectory, chunk_size: int
    ) -> Array:
        model = env, self.policy, LearnedBackward(), params
        needs = frozenset({"raw_flow"})
        scores = scoring.score(*model, trajectories, chunk_size=chunk_size, needs=needs)
        assert scores.raw_flow is not None
        undoable = jax.vmap(jax.vmap(env.backward_mask))(trajectories.states).any(axis=-1)
        log_count = jnp.where(undoable, scores.raw_flow, 0.0)
        residual = log_count[:, :-1] - log_count[:, 1:] - scores.log_pb
        live = scores.mask.astype(residual.dtype)
        count = spread.share(jnp.maximum(spread.total(live.sum()), 1))
        return (live * residual**2).sum() / count
