"""What an evaluator is, and what all of them need."""

from dataclasses import replace
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import State
from gfnjax.envs.drawing import Panel, Renderable
from gfnjax.gflownet import GFlowNet
from gfnjax.model import Model
from gfnjax.samplers import ModeCount
from gfnjax.state import TrainState, step_keys
from gfnjax.training import RunInfo, RunState
from gfnjax.types import Array

NUM_SAMPLES = 2_000
# A probability estimated from 6,000 samples is off by .0065 at most, one standard error. More of
# them took longer than to train in between.
PART_BATCHES = 3
BATCH_ESTIMATES = 100


class Distributions(NamedTuple):
    """Terminal states `[n, ...]`, their weights `[n]` under the policy and under R / Z.

    `target` is None where it cannot be computed; `states` are then samples of the policy.
    """

    states: State
    learned: np.ndarray
    target: np.ndarray | None


class Views(NamedTuple):
    """What there is to see of the learned distribution, and of the target if known."""

    learned: tuple[Panel, ...]
    target: tuple[Panel, ...] | None


class Evaluator(Protocol):
    """Measures the state of a run."""

    def evaluate(self, state: RunState, info: RunInfo | None) -> dict[str, float]:
        """Metrics by name; `info` `[n]` is that of the last chunk, where there was one."""
        ...

    def distributions(self, state: RunState) -> Distributions:
        """Objects, and how likely they are."""
        ...

    def views(self, state: RunState) -> Views | None:
        """What a picture shows; None where the environment cannot be drawn."""
        ...


def drawn(env: object, found: Distributions) -> Views | None:
    """What a `Renderable` environment shows of distributions; None for any other."""
    if not isinstance(env, Renderable):
        return None
    learned = env.render(found.states, found.learned)
    target = None if found.target is None else env.render(found.states, found.target)
    return Views(learned, target)


class EvaluationKeys(NamedTuple):
    """All randomness of an evaluation: of the metrics, of the parts, of a picture."""

    metrics: Array
    parts: Array
    picture: Array


def evaluation_keys(state: RunState, number: int = 0) -> EvaluationKeys:
    """Those that follow from the state; evaluations of one state differ by their `number`."""
    key = jax.random.fold_in(step_keys(state.key, state.step).evaluation, number)
    return EvaluationKeys(*jax.random.split(key, len(EvaluationKeys._fields)))


def target_model(gfn: GFlowNet) -> Model:
    """The model with a prior only where that is a factor of the target, prior(x) R(x) / Z."""
    model = gfn.model
    return model if gfn.objective.relative_to_prior else replace(model, prior=None)


def seen_in_training(gfn: GFlowNet, state: TrainState) -> dict[str, float]:
    """`modes_seen`, if the sampler counts them: modes that training has come near to so far."""
    if not isinstance(gfn.sampler, ModeCount):
        return {}
    return {"modes_seen": float(state.memory.seen.sum())}


def estimated_log_z(gfn: GFlowNet, state: TrainState, info: RunInfo | None) -> Array:
    """The objective's own estimate; NaN where batches make it and there was none yet."""
    params = state.params
    if gfn.objective.log_z in ("batch", "pair", "group") and info is not None:
        return jnp.asarray(info.log_z[-BATCH_ESTIMATES:].mean(), params.log_z.dtype)
    return gfn.at(state).log_z(params)
