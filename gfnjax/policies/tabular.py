"""One row of logits and one flow per state: the policy of exact tests and tiny problems."""

import flax.linen as nn
import jax.numpy as jnp

from gfnjax.envs.base import Enumerable, Environment, State, check_indexable
from gfnjax.errors import ArgumentError
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.types import Array, PolicyOutput


class Table(nn.Module):
    """Parameters `[num_states, ...]`, zero at first: uniform policies and unit flow."""

    num_states: int
    num_actions: int
    num_backward_actions: int

    @nn.compact
    def __call__(self, index: Array) -> PolicyOutput:
        def table(name: str, *shape: int) -> Array:
            zeros, dtype = nn.initializers.zeros, jnp.result_type(float)
            return self.param(name, zeros, (self.num_states, *shape), dtype)[index]

        return PolicyOutput(
            table("forward_logits", self.num_actions),
            table("backward_logits", self.num_backward_actions),
            table("log_flow"),
        )


def _state_index(env: Enumerable, state: State) -> Array:
    return env.state_index(state)


def tabular_policy(env: Environment, num_members: int = 1) -> Policy:
    """A table over the states of an `Enumerable` environment.

    `params["params"]` holds `forward_logits`, `backward_logits` and `log_flow`, a row a state.

    Args:
        env: gives the sizes.
        num_members: sets of forward logits, more than one for an `EnsemblePolicy`.

    Raises:
        TypeError: if `env` is not `Enumerable`.
        ValueError: if `env` has more states than int32 indices, or `num_members` is not positive.
    """
    if hasattr(type(env), "num_states"):
        check_indexable(env)
    if not isinstance(env, Enumerable):
        got = type(env).__name__
        raise ArgumentError(
            "env", f"needs an Enumerable environment, got {got}", subject="tabular_policy"
        )
    if num_members < 1:
        raise ArgumentError("num_members", f"must be at least 1, got {num_members}")
    table = Table(env.num_states, num_members * env.num_actions, env.num_backward_actions)
    made_for = sizes_of(env, "num_actions", "num_backward_actions", "num_states")
    return from_flax(table, _state_index, made_for)
