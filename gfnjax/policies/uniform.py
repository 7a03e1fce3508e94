"""The uniform policy: nothing to learn, and what a baseline proposes with."""

import flax.linen as nn
import jax.numpy as jnp

from gfnjax.envs.base import Environment
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.types import Array, PolicyOutput


class UniformLogits(nn.Module):
    """Zero logits and unit flow, whatever the observation; no parameters."""

    num_actions: int
    num_backward_actions: int

    def __call__(self, observation: Array) -> PolicyOutput:
        dtype = jnp.result_type(float)
        sizes = (self.num_actions,), (self.num_backward_actions,), ()
        return PolicyOutput(*(jnp.zeros(size, dtype) for size in sizes))


def uniform_policy(env: Environment) -> Policy:
    """P_F and P_B uniform over the allowed actions of `env`."""
    module = UniformLogits(env.num_actions, env.num_backward_actions)
    return from_flax(module, made_for=sizes_of(env, "num_actions", "num_backward_actions"))
