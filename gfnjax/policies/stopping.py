"""Flows read off the stop action, where every state may stop: detailed balance without F.

A state s that may stop has a terminal copy with reward R(s), so that F(s) P_F(stop | s) = R(s).
With this flow detailed balance becomes its modified form, whose only unknown is P_F,

    log R(s') + log P_B(s | s') + log P_F(stop | s)
        = log R(s) + log P_F(s' | s) + log P_F(stop | s')

(Deleu et al., 2202.13903), and other objectives of flows change in the same way.
"""

from functools import lru_cache
from typing import Any

import jax.numpy as jnp

from gfnjax import masking
from gfnjax.envs.base import Environment, PartialReward, State
from gfnjax.policies.base import Policy
from gfnjax.types import Array, PolicyOutput, PyTree


def flow_from_stop(policy: Policy, env: Environment) -> Policy:
    """The same policy with log F(s) = log R(s) - log P_F(stop | s) in place of its own flow.

    Args:
        policy: what to wrap; its `log_flow` is not used.
        env: every non-terminal state must allow the last action, "stop", and its partial reward
            must be the reward of stopping there.

    Raises:
        TypeError: if `env` has no partial reward.
    """
    if not isinstance(env, PartialReward):
        raise TypeError(
            f"flow_from_stop needs an environment with log_partial_reward, got {type(env).__name__}"
        )
    return _flow_from_stop(policy)


@lru_cache(maxsize=256)
def _flow_from_stop(policy: Policy) -> Policy:
    def init(key: Array, observation: PyTree) -> PyTree:
        return policy.init(key, observation[0])

    def apply(params: PyTree, observation: PyTree) -> PolicyOutput:
        seen, log_reward, mask = observation
        output = policy.apply(params, seen)
        log_stop = masking.log_softmax(output.forward_logits, mask)[-1]
        return output._replace(log_flow=log_reward - jnp.where(mask[-1], log_stop, 0.0))

    def observe(env: Any, state: State) -> PyTree:
        return (
            policy.observe(env, state),
            env.log_partial_reward(state),
            env.forward_mask(state),
        )

    return Policy(init, apply, observe)
