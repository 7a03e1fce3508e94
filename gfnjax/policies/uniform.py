"""The uniform policy: nothing to learn, and what a baseline proposes with."""

import flax.linen as nn
import jax.numpy as jnp

from gfnjax.actions import Actions, Categorical, actions_of, backward_actions_of
from gfnjax.envs.base import Environment
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.types import Array, PolicyOutput


class Undecided(nn.Module):
    """Neutral parameters and unit flow, whatever the observation; nothing to train."""

    actions: Actions
    backward_actions: Actions

    def __call__(self, observation: Array) -> PolicyOutput:
        unit = jnp.zeros((), jnp.result_type(float))
        return PolicyOutput(self.actions.neutral(), self.backward_actions.neutral(), unit)


def uniform_policy(env: Environment) -> Policy:
    """P_F and P_B uniform over the allowed actions of `env`."""
    kinds = actions_of(env), backward_actions_of(env)
    numbered = all(isinstance(kind, Categorical) for kind in kinds)
    made_for = sizes_of(env, "num_actions", "num_backward_actions") if numbered else ()
    return from_flax(Undecided(*kinds), made_for=made_for)
