"""LED-GFN: forward-looking flows whose partial rewards are learned."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import registry
from gfnjax.envs.base import Environment, source_state
from gfnjax.numbers import check_number
from gfnjax.objectives.base import LogZ, Objective, require_flows
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.networks import FeedForward, check_sizes, flatten
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Array, PyTree, Residuals, Scores, Trajectory


class Decomposition(NamedTuple):
    """What the potential says of one trajectory.

    Attributes:
        increments: `[T]` phi(s_t -> s_{t+1}) in nats, zero after the end.
        kept: `[T]` bool, the live transitions that its fit sees.
    """

    increments: Array
    kept: Array


@dataclass(frozen=True)
class LEDGFN(Objective):
    """`base` on log F(s_t) = log F~(s_t) + sum_{k<t} phi(s_k -> s_{k+1}), and log R at the end.

    The potential phi, a network of two observations, is fitted so that its sum over a trajectory
    is log R, each transition getting its share (Jang et al., 2310.03301): with C kept of the L
    transitions, by the square of

        (1 / C) sum of phi over those kept - (1 / L) log R.

    The flows see phi without gradient. What is preserved: the terminal state is anchored at log R,
    so the increments of a trajectory cancel in the sum of its residuals, which is the
    trajectory-balance residual with log Z = log F(s_0) whatever phi may be; zero loss on all
    trajectories means P(x) = R(x) / Z. What is not: that zero can be reached. The sum of phi up to
    the last state before the end must not depend on the path there, which its fit does not
    ensure; until it holds, the optimum is a compromise between paths. Zero phi, as at
    the start, is `base`.

    Attributes:
        base: the objective to look forward with: DetailedBalance() or SubTrajectoryBalance().
        dropout: probability that a transition is left out of the fit, in [0, 1); in training only.
        hidden_sizes: widths of the potential's network.

    Raises:
        ValueError: if `base` does not balance flows from state to state, or a number is out of
            range.
    """

    log_z: ClassVar[LogZ] = "flow"
    base: Objective = DetailedBalance()
    dropout: float = 0.1
    hidden_sizes: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        require_flows(self.base)
        check_number("dropout", self.dropout, (lambda x: 0 <= x < 1), "be in [0, 1)")
        check_sizes(self.hidden_sizes)

    @property
    def needs(self) -> frozenset[str]:  # pyrefly: ignore[bad-override]
        return self.base.needs

    @property
    def bootstraps(self) -> bool:
        return self.base.bootstraps

    @property
    def network(self) -> Any:
        """phi, from the observations of two states in a row."""
        return FeedForward(tuple(self.hidden_sizes), 1, zero=True)

    def init(self, key: Array, env: Environment) -> PyTree:
        seen = flatten(env.observe(source_state(env)))
        return self.network.init(key, jnp.concatenate([seen, seen]))

    def assist(
        self, params: PyTree, env: Environment, path: Trajectory, key: Array | None
    ) -> Decomposition:
        seen = jax.vmap(lambda state: flatten(env.observe(state)))(path.states)
        pairs = jnp.concatenate([seen[:-1], seen[1:]], axis=1)
        phi = jax.vmap(self.network.apply, (None, 0))(params, pairs)[:, 0]
        live = jnp.arange(phi.size, dtype=jnp.int32) < path.length
        kept = live
        if key is not None:
            kept &= jax.random.bernoulli(key, 1 - self.dropout, live.shape)
        return Decomposition(jnp.where(live, phi, 0.0), kept)

    def adapt(self, scores: Scores) -> Scores:
        check_one(scores)
        increments = lax.stop_gradient(scores.auxiliary.increments)
        so_far = jnp.pad(jnp.cumsum(increments), (1, 0))
        live = jnp.pad(scores.mask, (1, 0), constant_values=True) & ~terminal_step(scores)
        flow = scores.log_flow + jnp.where(live, so_far, 0.0)
        return self.base.adapt(scores._replace(log_flow=flow))

    def residuals(self, scores: Scores) -> Residuals:
        return self.base.residuals(scores)

    def log_scale(self, scores: Scores) -> Array:
        return self.base.log_scale(scores)

    def extra_loss(self, scores: Scores) -> Array:
        check_one(scores)
        increments, kept = scores.auxiliary
        count = kept.sum().astype(increments.dtype)
        mean = jnp.where(kept, increments, 0.0).sum() / jnp.maximum(count, 1)
        length = jnp.maximum(scores.length, 1).astype(increments.dtype)
        return jnp.where(count > 0, (mean - scores.log_reward / length) ** 2, 0.0)


@registry.objective("led-db")
@dataclass(frozen=True)
class LearnedDecompositionDB:
    """detailed balance with a learned potential"""

    dropout: float = 0.1
    """probability that a transition is left out of the fit of the potential"""
    potential_sizes: tuple[int, ...] = (64, 64)
    """widths of the potential's network"""

    def make(self) -> LEDGFN:
        return LEDGFN(DetailedBalance(), self.dropout, self.potential_sizes)


@registry.objective("led-subtb")
@dataclass(frozen=True)
class LearnedDecompositionSubTB(LearnedDecompositionDB):
    """sub-trajectory balance with a learned potential"""

    lambda_: float = 0.9
    """what a pair of states weighs, relative to one that is a step closer"""

    def make(self) -> LEDGFN:
        return LEDGFN(SubTrajectoryBalance(self.lambda_), self.dropout, self.potential_sizes)
