"""A reward that is learned, and the sampler that learns with it."""

from dataclasses import dataclass

import jax
import numpy as np

from gfnjax.algorithms.ebgfn import EnergyGFlowNet, EnergyState
from gfnjax.rewards.ising import IsingReward, neg_log_rmse
from gfnjax.run.evaluation.base import NUM_SAMPLES, Distributions, Views, drawn
from gfnjax.run.evaluation.samples import SampledEvaluator
from gfnjax.training import RunInfo


@dataclass(frozen=True)
class EnergyEvaluator:
    """The sampler against the reward learned so far, and that reward against the truth.

    Adds to `SampledEvaluator`: the last chunk's mean `acceptance` and `contrast`, and
    `neg_log_rmse` of the couplings. Pictures show data for the target.
    """

    model: EnergyGFlowNet
    num_samples: int = NUM_SAMPLES

    def evaluate(self, state: EnergyState, info: RunInfo | None) -> dict[str, float]:
        found = self._sampler(state).evaluate(state.gfn, info)
        if info is not None:
            found |= {k: float(getattr(info, k).mean()) for k in ("acceptance", "contrast")}
        if isinstance(self.model.truth, IsingReward):
            error = neg_log_rmse(state.reward.couplings, self.model.truth.couplings)
            found["neg_log_rmse"] = float(error)
        return found

    def distributions(self, state: EnergyState) -> Distributions:
        samples = self._sampler(state).distributions(state.gfn)
        data = jax.tree.map(np.asarray, self.model.data)
        states = jax.tree.map(lambda x, y: np.concatenate([x, y]), samples.states, data)
        num_data = jax.tree.leaves(data)[0].shape[0]
        nothing = np.zeros_like(samples.learned)
        return Distributions(
            states,
            np.concatenate([samples.learned, np.zeros(num_data)]),
            np.concatenate([nothing, np.full(num_data, 1 / num_data)]),
        )

    def views(self, state: EnergyState) -> Views | None:
        views = drawn(self.model.gfn.env, self.distributions(state))
        if views is None or not isinstance(self.model.truth, IsingReward):
            return views
        target = self.model.truth.panel(), *(views.target or ())
        return Views((state.reward.panel(), *views.learned), target)

    def _sampler(self, state: EnergyState) -> SampledEvaluator:
        return SampledEvaluator(self.model.sampler(state), num_samples=self.num_samples)
