"""Markov chains: what they visit, beside the target."""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from gfnjax.algorithms.markov_chains import ChainState, MarkovChains
from gfnjax.envs.base import Composite, Enumerable, Measurable
from gfnjax.envs.drawing import KnownTarget, Target
from gfnjax.metrics import sampled
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.rollout import terminal_states
from gfnjax.run.evaluation.base import (
    NUM_SAMPLES,
    Distributions,
    Views,
    drawn,
    evaluation_keys,
)
from gfnjax.training import RunInfo
from gfnjax.types import Array, Trajectory

# Times as many objects where they are compared with a target.
COMPARED = 10


@dataclass(frozen=True)
class ChainEvaluator:
    """Objects that the chains visit from here on, without learning; correlated in each chain.

    `log_reward` and `length` are means. With a state graph: `sampled_tv`, the total variation of
    the frequencies of these objects, and `noise_floor`, what as many independent draws from the
    target would show. With a known target: `part_error`. Chains have no `log_z`: it is NaN.
    """

    chains: MarkovChains
    graph: StateGraph | None = None
    known: Target | None = None

    def evaluate(self, state: ChainState, info: RunInfo | None) -> dict[str, float]:
        visited = self._visit(state, evaluation_keys(state).metrics)
        values = dict(_visited_metrics(self.chains, state, visited, self.graph))
        found = {**{k: float(x) for k, x in values.items()}, "log_z": float("nan")}
        if self.known is not None:
            found["true_log_z"] = self.known.log_z
            if self.known.parts is not None:
                found["part_error"] = float(np.abs(self._parts(visited) - self.known.parts).max())
        if info is not None:
            found["acceptance"] = float(info.acceptance.mean())
        return found

    def distributions(self, state: ChainState) -> Distributions:
        visited = self._visit(state, evaluation_keys(state).picture)
        states = jax.tree.map(np.asarray, terminal_states(visited))
        weights = np.full(self.num_samples, 1 / self.num_samples)
        return Distributions(states, weights, None)

    def views(self, state: ChainState) -> Views | None:
        env = self.chains.env
        views = drawn(env, self.distributions(state))
        if views is None or not isinstance(env, KnownTarget):
            return views
        return views._replace(target=env.render_target())

    @property
    def num_samples(self) -> int:
        """Objects visited; more where that shows how close their frequencies come to the target."""
        return NUM_SAMPLES * (1 if self.graph is None and self.known is None else COMPARED)

    def _visit(self, state: ChainState, key: Array) -> Trajectory:
        return _visit(self.chains, state, key, self.num_samples)

    def _parts(self, visited: Trajectory) -> np.ndarray:
        env = self.chains.env
        assert isinstance(env, Composite)
        parts = jax.vmap(env.parts)(terminal_states(visited))
        return np.asarray(parts, float).mean(axis=0)


@partial(jax.jit, static_argnames="num_samples")
def _visit(chains: MarkovChains, state: ChainState, key: Array, num_samples: int) -> Trajectory:
    return chains.sample(state, key, num_samples)


@jax.jit
def _visited_metrics(
    chains: MarkovChains, state: ChainState, visited: Trajectory, graph: StateGraph | None
) -> dict[str, Array]:
    env = chains.proposal.env
    objects = terminal_states(visited)
    found = env.measure(objects) if isinstance(env, Measurable) else {}
    if graph is not None:
        assert isinstance(env, Enumerable)
        distance = sampled.empirical_total_variation(env, graph, objects)
        found |= {"sampled_tv": distance.total_variation, "noise_floor": distance.noise_floor}
    return {
        **found,
        "log_reward": visited.log_reward.mean(),
        "length": visited.length.astype(visited.log_reward.dtype).mean(),
    }
