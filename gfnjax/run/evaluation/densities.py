"""Points of R^d, where exact samples of the target are to be had."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gfnjax.envs.base import Euclidean
from gfnjax.envs.tempered import exponent_of
from gfnjax.errors import MissingExtraError
from gfnjax.metrics import densities, sampled
from gfnjax.model import Model
from gfnjax.rewards.densities import KnownDensity, Modal
from gfnjax.run.evaluation.base import target_model
from gfnjax.run.evaluation.samples import SampledEvaluator
from gfnjax.state import Params, TrainState
from gfnjax.training import RunInfo
from gfnjax.types import Array

# An exact distance between more takes long.
MOST_POINTS = 1_000


def is_known(env: Any) -> bool:
    """Whether objects are points, and the target, R itself, can be drawn from."""
    reward = getattr(env, "reward", None)
    if not (isinstance(env, Euclidean) and isinstance(reward, KnownDensity)):
        return False
    return exponent_of(env) is None and env.target() is not None  # pyrefly: ignore


@dataclass(frozen=True)
class DensityEvaluator(SampledEvaluator):
    """Adds to `SampledEvaluator` what takes exact samples.

    `eubo` >= log Z; with POT `wasserstein`, of at most 1,000 samples, beside `wasserstein_floor`,
    that of two exact samples; `num_modes` where they are known.
    """

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        found = super().evaluate(state, info)
        reward: Any = getattr(self.gfn.env, "reward", None)
        if isinstance(reward, Modal):
            found["num_modes"] = float(len(reward.shares))
        keys = jax.random.split(self._keys(state).parts, 4)
        model = target_model(self.gfn)
        points = [reward.sample(key, self.num_samples) for key in keys[:2]]
        found["eubo"] = float(_eubo(model, state.params, keys[2], points[0]))
        objects = self.distributions(state).states
        learned = np.asarray(jax.vmap(model.env.point)(objects))  # pyrefly: ignore
        count = min(self.num_samples, MOST_POINTS)
        given = [np.asarray(x)[:count] for x in (learned, *points)]
        try:
            found["wasserstein"] = densities.wasserstein(given[0], given[1])
            found["wasserstein_floor"] = densities.wasserstein(given[2], given[1])
        except MissingExtraError:
            pass  # an extra; the report names it
        return found


@jax.jit
def _eubo(model: Model, params: Params, key: Array, points: Array) -> Array:
    env: Any = model.env
    return sampled.eubo(model, params, key, jax.vmap(env.at_point)(points))
