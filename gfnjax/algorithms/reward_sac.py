"""Soft actor-critic on the reward, for discrete actions."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking, registry
from gfnjax.algorithms.returns import Return, check_return, entropy, with_return
from gfnjax.envs.base import Environment, source_state
from gfnjax.numbers import INSIDE_UNIT, POSITIVE, check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.policies.base import Policy
from gfnjax.policies.mlp import mlp_policy
from gfnjax.shapes import check_one
from gfnjax.types import Array, PyTree, Residuals, Scores, Trajectory


class CriticParams(NamedTuple):
    """`critics`: parameters of both critics, stacked `[2, ...]`; `log_temperature`: `[]`."""

    critics: PyTree
    log_temperature: Array


class Critique(NamedTuple):
    """What the critics say along one trajectory.

    Attributes:
        values: `[2, T + 1, num_actions]` Q of every action in every state.
        taken: `[2, T]` Q of the actions taken.
        log_temperature: `[]`.
    """

    values: Array
    taken: Array
    log_temperature: Array


@registry.objective("sac", summary="baseline: soft actor-critic on log R alone", target_rate=0.05)
@dataclass(frozen=True)
class RewardSAC(Objective):
    """Soft actor-critic (Haarnoja et al., 1801.01290; discrete actions: 1910.07207).

    With alpha the temperature, Q = min(Q_1, Q_2) and V' the value of the target network,

        Q_i(s_t, a_t) -> V'(s_{t+1}), the return where s_{t+1} is terminal,
        V(s_t)        -> U_t = sum_a pi(a | s_t) (Q(s_t, a) - alpha log pi(a | s_t)),
        pi            maximises U_t.

    The flow head is V, the policy's forward head pi; the critics are networks of the objective's
    own. Sums over actions are exact. Off-policy: any sampler goes with it; needs a `target_rate`,
    about 0.05. At alpha = 1 on log R its policy ends in x with probability proportional to R(x)
    times the number of ways to build x: what a GFlowNet corrects for.

    Attributes:
        temperature: alpha, positive; where it starts if it is learned.
        target_entropy: learn alpha so that the entropy of pi is this share, in (0, 1), of that of a
            uniform choice among the allowed actions; None keeps alpha.
        returns: what is maximised in expectation, "log_reward" or "reward".
        critic: a policy whose forward logits are Q; None for `mlp_policy(env)`.

    Raises:
        ValueError: for an argument out of range.
    """

    # The batch's mean of log R + sum log P_B - sum log P_F bounds log Z from below, for any policy.
    log_z: ClassVar[LogZ] = "batch"
    trains_backward: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"target", "log_policy"})
    temperature: float = 0.2
    target_entropy: float | None = None
    returns: Return = "log_reward"
    critic: Policy | None = None

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, *POSITIVE)
        if self.target_entropy is not None:
            valid = INSIDE_UNIT[0], "be in (0, 1) or None"
            check_number("target_entropy", self.target_entropy, *valid)
        check_return(self.returns)

    def init(self, key: Array, env: Environment) -> CriticParams:
        critic = self._critic(env)
        observation = critic.observe(env, source_state(env))
        critics = jax.vmap(lambda key: critic.init(key, observation))(jax.random.split(key))
        return CriticParams(critics, self._log_temperature())

    def trained(self, params: CriticParams) -> CriticParams:
        learned: Any = self.target_entropy is not None
        return CriticParams(True, learned)

    def assist(
        self, params: CriticParams, env: Environment, path: Trajectory, key: Array | None
    ) -> Critique:
        def judge(critic: PyTree, state: PyTree) -> Array:
            return self._critic(env).evaluate(critic, env, state).forward_logits

        values = jax.vmap(jax.vmap(judge, (None, 0)), (0, None))(params.critics, path.states)
        actions = jnp.broadcast_to(path.actions, (2, *path.actions.shape))
        taken = masking.select(values[:, :-1], actions)
        # A temperature that is not learned is the one in force, whatever it was at the start.
        learned = self.target_entropy is not None
        return Critique(
            values, taken, params.log_temperature if learned else self._log_temperature()
        )

    def adapt(self, scores: Scores) -> Scores:
        return with_return(scores, self.returns)

    def first_log_z(self, scores: Scores) -> Array:
        check_one(scores)
        return jnp.zeros_like(scores.log_reward)  # the flow head is a value, and no log flow

    def residuals(self, scores: Scores) -> Residuals:
        """Errors of Q_1, Q_2 and V, one of each a transition: `[3 T]`."""
        check_one(scores)
        assert scores.target is not None  # promised by `needs`
        critics = scores.auxiliary.taken - lax.stop_gradient(scores.target.log_flow[1:])[None]
        value = scores.log_flow[:-1] - lax.stop_gradient(self._soft_value(scores))
        errors = jnp.concatenate([critics, value[None]])
        mask = jnp.broadcast_to(scores.mask, errors.shape)
        values = jnp.where(mask, errors, 0.0).reshape(-1)
        return Residuals(values, mask.reshape(-1).astype(values.dtype))

    def extra_loss(self, scores: Scores) -> Array:
        """Minus sum_t U_t, and log alpha (H - target entropy) where alpha is learned."""
        check_one(scores)
        loss = -jnp.where(scores.mask, self._soft_value(scores), 0.0).sum()
        if self.target_entropy is None:
            return loss
        assert scores.log_policy is not None  # promised by `needs`
        log_policy = lax.stop_gradient(scores.log_policy[:-1])
        allowed = (log_policy > masking.FILL / 2).sum(axis=-1).astype(log_policy.dtype)
        excess = entropy(log_policy) - self.target_entropy * jnp.log(jnp.maximum(allowed, 1.0))
        excess = jnp.where(scores.mask, excess, 0.0).sum()
        return loss + scores.auxiliary.log_temperature * excess

    def _soft_value(self, scores: Scores) -> Array:
        """U_t `[T]`, differentiable in the policy only."""
        assert scores.log_policy is not None  # promised by `needs`
        log_policy = scores.log_policy[:-1]
        critique = lax.stop_gradient(scores.auxiliary)
        worst = critique.values[:, :-1].min(axis=0)
        temperature = jnp.exp(critique.log_temperature)
        return (jnp.exp(log_policy) * worst).sum(axis=-1) + temperature * entropy(log_policy)

    def _log_temperature(self) -> Array:
        return jnp.log(jnp.asarray(self.temperature, jnp.result_type(float)))

    def _critic(self, env: Environment) -> Policy:
        return mlp_policy(env) if self.critic is None else self.critic
