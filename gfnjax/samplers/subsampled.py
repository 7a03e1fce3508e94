"""Gradients of a few of the states that a batch has visited."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import spread
from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError
from gfnjax.model import Model
from gfnjax.objectives.base import Objective, name_of
from gfnjax.policies.base import Behaviour
from gfnjax.samplers.base import Batch, OnPolicy, Sampler, check_divides
from gfnjax.state import Params
from gfnjax.types import Array, PyTree


@dataclass(frozen=True)
class Subsampled:
    """The loss of whole trajectories; its gradient from `max_states` of the states they visit.

    With w_s = n / m for m of the n visited states, drawn without replacement, and 0 for others,

        sum_s w_s (dL / d scores of s) d scores of s

    is the gradient of L on average, for any objective L: values are known from the rollout, and
    only the states drawn are evaluated again. For long trajectories of large networks.

        Subsampled(256, Groups(8))

    Where a batch is spread over several devices each of them draws as many of its own. Further
    updates on one batch (`num_updates`) evaluate all of it.

    Attributes:
        max_states: m, of a batch.
        fresh: where trajectories come from, without replay or local search.

    Raises:
        ValueError: if `max_states` is not positive.
    """

    divides: ClassVar[bool] = True  # `init` asks whether those of `fresh` may be
    max_states: int
    fresh: Sampler = OnPolicy()

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_states", whole("max_states", self.max_states, 1))

    @property
    def draws_groups(self) -> bool:
        return getattr(self.fresh, "draws_groups", False)

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        self.fresh.check(model, objective, batch_size)
        if "log_policy" in objective.needs:
            problem = "draws states to differentiate, but this objective compares whole policies"
            raise ArgumentError("sampler", problem, "leave out Subsampled", name_of(objective))

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> PyTree:
        check_divides(self.fresh, batch_size)
        return self.fresh.init(model, params, key, batch_size)

    def draw(
        self,
        model: Model,
        params: Params,
        memory: PyTree,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, PyTree]:
        key, weight_key = jax.random.split(key)
        batch, memory = self.fresh.draw(model, params, memory, key, behaviour, batch_size)
        if batch.rows is None:
            problem = "needs batches whose scores the rollout has recorded"
            remedy = "use fresh trajectories, and no policy or objective that reads them as a whole"
            raise ArgumentError("sampler", problem, remedy, "Subsampled: {sampler}")
        shape = batch.rows.log_flow.shape[:2]
        noise = spread.rows(jax.random.uniform(weight_key, (batch_size, shape[1])))
        steps = jnp.arange(shape[1], dtype=jnp.int32)
        visited = steps[None] <= batch.trajectories.length[:, None]
        weight = self._weight(jnp.where(visited, noise, -1.0).reshape(-1)).reshape(shape)
        return batch._replace(rows=batch.rows._replace(weight=weight)), memory

    def _weight(self, noise: Array) -> Array:
        """`[n]` n / m for those drawn of the n that are not negative, 0 for the others."""
        least = lax.top_k(noise, min(self.max_states, noise.size))[0][-1]
        drawn = (noise >= least) & (noise >= 0)
        count, number = (x.sum(dtype=jnp.int32) for x in (noise >= 0, drawn))
        return jnp.where(drawn, count / jnp.maximum(number, 1), 0.0).astype(noise.dtype)

    def learn(self, model: Model, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        return self.fresh.learn(model, memory, batch, errors)
