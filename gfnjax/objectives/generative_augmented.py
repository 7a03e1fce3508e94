"""GAFlowNet: flows with intrinsic rewards for states that are still new."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking, registry
from gfnjax.envs.base import Environment, source_state
from gfnjax.errors import ArgumentError
from gfnjax.numbers import check_number
from gfnjax.objectives.base import LogZ, Objective, require_flows
from gfnjax.objectives.detailed_balance import DetailedBalance
from gfnjax.objectives.networks import FeedForward, check_sizes, flatten
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one, check_shape
from gfnjax.types import Array, PyTree, Residuals, Scores, Trajectory


def augmented(scores: Scores, edge_reward: Array, terminal_reward: Array) -> Scores:
    """Scores with P_B + r(s -> s') / F(s') for P_B, and R + r(x) for R (Pan et al., 2210.03308).

    F(s) P_F(s' | s) = F(s') P_B(s | s') + r(s -> s'): as if an edge led out of the graph beside
    each one, that nobody takes.

    Args:
        scores: of one trajectory.
        edge_reward: `[T]`, not negative.
        terminal_reward: `[]`, not negative.

    Raises:
        ValueError: for scores of a batch, or shapes that do not agree.
    """
    check_one(scores)
    check_shape("edge_reward", edge_reward, scores.log_pf.shape, "[T]")
    check_shape("terminal_reward", terminal_reward, (), "[]")
    log_reward = jnp.logaddexp(scores.log_reward, _log(terminal_reward))
    log_flow = jnp.where(terminal_step(scores), log_reward, scores.log_flow)
    log_pb = jnp.logaddexp(scores.log_pb, _log(edge_reward) - log_flow[1:])
    log_pb = jnp.where(scores.mask, log_pb, 0.0)
    return scores._replace(log_reward=log_reward, log_flow=log_flow, log_pb=log_pb)


def _log(x: Array) -> Array:
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), masking.FILL)


@dataclass(frozen=True)
class GAFlowNet(Objective):
    """`base` on `augmented` scores, with rewards by random network distillation.

    The novelty of a state is the mean square by which a trained network misses the outputs of a
    random one that is never trained (1810.12894); it shrinks where training has been. An edge
    earns `edge_scale` times the novelty of the state it leads to, a terminal state
    `terminal_scale` times its own. The flows see novelty without gradient.

    The target is R only as far as the intrinsic rewards vanish: beside F they should be small by
    the end of training. With both scales at zero this is `base` exactly.

    Attributes:
        base: TrajectoryBalance(), DetailedBalance() or SubTrajectoryBalance().
        edge_scale: of the rewards of edges, in units of R (not relative to it); not negative.
        terminal_scale: of the rewards of terminal states, in units of R; not negative.
        num_features: outputs of the two networks.
        hidden_sizes: widths of the two networks.

    Raises:
        ValueError: if `base` does not balance flows along a trajectory, or a number is out of
            range.
    """

    base: Objective = TrajectoryBalance()
    edge_scale: float = 1.0
    terminal_scale: float = 1.0
    num_features: int = 16
    hidden_sizes: tuple[int, ...] = (64,)

    def __post_init__(self) -> None:
        require_flows(self.base, adapted=True)
        if "target" in self.base.needs:
            raise ArgumentError("base", f"must not need a target network, got {self.base!r}")
        for name in ("edge_scale", "terminal_scale"):
            valid = (lambda x: 0 <= x < math.inf), "not be negative"
            check_number(name, getattr(self, name), *valid)
        if self.num_features < 1:
            raise ArgumentError("num_features", f"must be at least 1, got {self.num_features}")
        check_sizes(self.hidden_sizes)

    @property
    def log_z(self) -> LogZ:  # pyrefly: ignore[bad-override]
        return self.base.log_z

    @property
    def needs(self) -> frozenset[str]:  # pyrefly: ignore[bad-override]
        return self.base.needs

    @property
    def incomplete(self) -> bool:  # pyrefly: ignore[bad-override]
        return self.base.incomplete

    @property
    def bootstraps(self) -> bool:
        return self.base.bootstraps

    @property
    def looks_forward(self) -> bool:
        return self.base.looks_forward

    @property
    def network(self) -> Any:
        """Both networks, from the observation of a state."""
        return FeedForward(tuple(self.hidden_sizes), self.num_features)

    def init(self, key: Array, env: Environment) -> PyTree:
        seen = flatten(env.observe(source_state(env)))
        random, predictor = jax.random.split(key)
        return {
            "random": self.network.init(random, seen),
            "predictor": self.network.init(predictor, seen),
        }

    def trained(self, params: PyTree) -> PyTree:
        return {"random": False, "predictor": True}

    def assist(
        self, params: PyTree, env: Environment, path: Trajectory, key: Array | None
    ) -> Array:
        """`[T + 1]` the novelty of the visited states, zero after the end."""

        def novelty(state: PyTree) -> Array:
            seen = flatten(env.observe(state))
            goal = lax.stop_gradient(self.network.apply(params["random"], seen))
            return ((self.network.apply(params["predictor"], seen) - goal) ** 2).mean()

        live = jnp.arange(path.actions.size + 1, dtype=jnp.int32) <= path.length
        return jnp.where(live, jax.vmap(novelty)(path.states), 0.0)

    def adapt(self, scores: Scores) -> Scores:
        return self.base.adapt(scores)

    def residuals(self, scores: Scores) -> Residuals:
        novelty = lax.stop_gradient(scores.auxiliary)
        at_the_end = jnp.where(terminal_step(scores), novelty, 0.0).sum()
        rewards = self.edge_scale * novelty[1:], self.terminal_scale * at_the_end
        return self.base.residuals(augmented(scores, *rewards))

    def log_scale(self, scores: Scores) -> Array:
        return self.base.log_scale(scores)

    def extra_loss(self, scores: Scores) -> Array:
        check_one(scores)
        count = (scores.length + 1).astype(scores.auxiliary.dtype)
        return scores.auxiliary.sum() / count


@registry.objective("ga-tb")
@dataclass(frozen=True)
class GAFlowNetTB:
    """trajectory balance with intrinsic rewards"""

    edge_scale: float = 1.0
    """of the rewards of edges, in units of R"""
    terminal_scale: float = 1.0
    """of the rewards of terminal states, in units of R"""
    num_features: int = 16
    """outputs of the two networks that novelty is measured with"""
    novelty_sizes: tuple[int, ...] = (64,)
    """their widths"""

    def make(self) -> GAFlowNet:
        return self._on(TrajectoryBalance())

    def _on(self, base: Objective) -> GAFlowNet:
        sizes = self.num_features, self.novelty_sizes
        return GAFlowNet(base, self.edge_scale, self.terminal_scale, *sizes)


@registry.objective("ga-db")
@dataclass(frozen=True)
class GAFlowNetDB(GAFlowNetTB):
    """detailed balance with intrinsic rewards"""

    def make(self) -> GAFlowNet:
        return self._on(DetailedBalance())
