"""Estimates from samples, where there are too many objects to list."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import Composite, Measurable, State, is_acyclic
from gfnjax.envs.drawing import KnownTarget, Target
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics import sampled
from gfnjax.model import Model
from gfnjax.rollout import terminal_states
from gfnjax.run.evaluation.base import (
    NUM_SAMPLES,
    PART_BATCHES,
    Distributions,
    EvaluationKeys,
    Views,
    drawn,
    estimated_log_z,
    evaluation_keys,
    seen_in_training,
    target_model,
)
from gfnjax.state import Params, TrainState
from gfnjax.training import RunInfo
from gfnjax.types import Array, Trajectory


@dataclass(frozen=True)
class SampledEvaluator:
    """Estimates from trajectories of the current policy, with a key that follows from the state.

    `elbo` <= log Z; `importance_log_z` is the logarithm of an unbiased estimate of Z, and
    `effective_share` the share of the samples that counts in it;
    `log_reward` and `length` are means; whatever the environment measures comes with them. Where
    the truth is known: `true_log_z`, `log_z_error`, `part_error`, as in `ExactEvaluator`, and what
    that says of samples. Where there are cycles `cut` is the share of trajectories that `max_steps`
    has cut, of which nothing else is told; `expected_length` is E[n] of the others. See
    `gfnjax.metrics.sampled`. Evaluators of one state with different `number`s draw independently.
    """

    gfn: GFlowNet
    known: Target | None = None
    number: int = 0
    num_samples: int = NUM_SAMPLES

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        log_z = float(estimated_log_z(self.gfn, state, info))
        values = _sampled_metrics(
            target_model(self.gfn), state.params, self._keys(state).metrics, self.num_samples
        )
        found = {**{k: float(x) for k, x in values.items()}, "log_z": log_z}
        found |= seen_in_training(self.gfn, state)
        if self.known is not None:
            truth = self.known.log_z
            found |= {"true_log_z": truth, "log_z_error": abs(log_z - truth)}
            if self.known.parts is not None:
                found["part_error"] = float(np.abs(self._parts(state) - self.known.parts).max())
            if self.known.judge is not None:
                drawn = self._distributions(state, self._keys(state).parts)
                found |= self.known.judge(drawn.states, drawn.learned)
        return found

    def distributions(self, state: TrainState) -> Distributions:
        return self._distributions(state, self._keys(state).picture)

    def _distributions(self, state: TrainState, key: Array) -> Distributions:
        """Samples; those of trajectories that were cut are no objects and have weight 0."""
        states, ended = _sample(target_model(self.gfn), state.params, key, self.num_samples)
        weights = np.asarray(ended, np.float64) / max(int(ended.sum()), 1)
        return Distributions(jax.tree.map(np.asarray, states), weights, None)

    def views(self, state: TrainState) -> Views | None:
        views = drawn(self.gfn.env, self.distributions(state))
        if views is None or not isinstance(self.gfn.env, KnownTarget):
            return views
        return views._replace(target=self.gfn.env.render_target())

    def _keys(self, state: TrainState) -> EvaluationKeys:
        return evaluation_keys(state, self.number)

    def _parts(self, state: TrainState) -> np.ndarray:
        """`[...]` how often each part occurs."""
        keys = jax.random.split(self._keys(state).parts, PART_BATCHES)
        given = target_model(self.gfn), state.params
        found = [_part_frequencies(*given, key, self.num_samples) for key in keys]
        return np.mean(found, axis=0)


@partial(jax.jit, static_argnames="num_samples")
def _part_frequencies(model: Model, params: Params, key: Array, num_samples: int) -> Array:
    assert isinstance(model.env, Composite)
    states, ended = _sample(model, params, key, num_samples)
    parts = jax.vmap(model.env.parts)(states)
    if not is_acyclic(model.env):
        share = ended.astype(jnp.result_type(float)) / jnp.maximum(ended.sum(), 1)
        return jnp.tensordot(share, parts.astype(share.dtype), axes=1)
    return parts.astype(jnp.result_type(float)).mean(axis=0)


@partial(jax.jit, static_argnames="num_samples")
def _sampled_metrics(
    model: Model, params: Params, key: Array, num_samples: int
) -> dict[str, Array]:
    trajectories = model.sample(params, key, num_samples)
    log_weights = sampled.log_weights(model, params, trajectories)
    env, cut = model.env, {}
    if not is_acyclic(env):
        assert trajectories.cut is not None  # which rollouts tell
        trajectories, cut = _uncut(trajectories), {"cut": trajectories.cut}
    own = env.measure(terminal_states(trajectories)) if isinstance(env, Measurable) else {}
    length = trajectories.length.astype(log_weights.dtype).mean()
    if cut:
        cut = {"cut": cut["cut"].astype(length.dtype).mean(), "expected_length": length - 1}
    return {
        **own,
        "elbo": sampled.mean_log_weight(model, log_weights),
        "importance_log_z": sampled.importance_log_z(log_weights),
        "effective_share": sampled.effective_sample_size(log_weights),
        "log_reward": trajectories.log_reward.mean(),
        "length": length,
        **cut,
    }


def _uncut(trajectories: Trajectory) -> Trajectory:
    """The complete ones of `[B, ...]`, from the first again up to B; all cut if all of them are."""
    assert trajectories.cut is not None
    order = jnp.argsort(trajectories.cut, stable=True).astype(jnp.int32)
    count = jnp.maximum((~trajectories.cut).sum(dtype=jnp.int32), 1)
    chosen = order[jnp.arange(order.size, dtype=jnp.int32) % count]
    return jax.tree.map(lambda x: x[chosen], trajectories)


@partial(jax.jit, static_argnames="num_samples")
def _sample(model: Model, params: Params, key: Array, num_samples: int) -> tuple[State, Array]:
    """Last states, and whether each is terminal."""
    states = terminal_states(model.sample(params, key, num_samples))
    return states, jax.vmap(model.env.is_terminal)(states)
