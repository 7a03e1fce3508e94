"""An environment whose reward is raised to a power, which may be swept and scheduled."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from gfnjax.envs.base import Environment, State, object_partial_reward_of, object_reward_of
from gfnjax.errors import ArgumentError
from gfnjax.numbers import POSITIVE, check_number, scheduled
from gfnjax.types import Array, Number, Trajectory

# Of the inner environment alone: copies of it, and what is known of its own distribution.
NOT_SHARED = {"replace", "at", "target", "render_target"}


@struct.dataclass
class Tempered:
    """An environment with log R_beta(x) = beta log R(x); made by `tempered`.

    Attributes:
        env: the rules and the reward R.
        reward_exponent: beta, a float, a `[]` array or a schedule of the step.
    """

    env: Any
    reward_exponent: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in NOT_SHARED or name == "env":
            raise AttributeError(f"{type(self).__name__} has no {name}: ask its env")
        return getattr(self.env, name)

    def log_reward(self, state: State) -> Array:
        return self._exponent() * object_reward_of(self.env, state)

    def _exponent(self) -> Array:
        beta = self.reward_exponent
        with jax.numpy_dtype_promotion("standard"):  # which schedules take for granted
            value = beta(jnp.zeros((), jnp.int32)) if callable(beta) else beta
        return jnp.asarray(value, jnp.result_type(float))


class _Value:
    def log_partial_reward(self: Any, state: State) -> Array:
        return self._exponent() * object_partial_reward_of(self.env, state)


class _Path:
    def log_path_rewards(self: Any, trajectories: Trajectory) -> Array:
        return self._exponent() * self.env.log_path_rewards(trajectories)


REWARDS = {"log_partial_reward": _Value, "log_path_rewards": _Path}


@lru_cache(maxsize=64)
def _kind(cls: type) -> Any:
    """The class that can do what `cls` can: abilities are those of a class."""
    own = {"log_reward", *REWARDS} | NOT_SHARED
    shared = [name for name in dir(cls) if not name.startswith("_") and name not in own]
    members: dict[str, Any] = {name: _passed_on(name) for name in shared}
    members["__reduce__"] = lambda self: (tempered, (self.env, self.reward_exponent))
    rewards = tuple(kind for name, kind in REWARDS.items() if hasattr(cls, name))
    return struct.dataclass(type(f"Tempered{cls.__name__}", (*rewards, Tempered), members))


def _passed_on(name: str) -> property:
    return property(lambda self: getattr(self.env, name))


def with_exponent(env: Any, reward_exponent: Array | None) -> Any:
    """What `tempered` has made with the exponent in force; any other environment, without one."""
    return env if reward_exponent is None else type(env)(env.env, reward_exponent)


def exponent_of(env: Any) -> Any:
    """The exponent that `tempered` has given to an environment; None for any other."""
    return env.reward_exponent if isinstance(env, Tempered) else None


def exponent_in_force(env: Any) -> Array:
    """`[]` the exponent that `tempered` has given to an environment, of a schedule where it starts;
    1 for any other."""
    if isinstance(env, Tempered):
        return env._exponent()
    return jnp.ones((), jnp.result_type(float))


def tempered(env: Environment, reward_exponent: Number | Callable[[Array], Array]) -> Tempered:
    """The same rules with log R_beta(x) = beta log R(x): above 1 sharpens the target.

    Partial rewards are multiplied alike. The exponent is a number like a learning rate:

        tempered(env, 2.0)                                    # vmap over it, or override it by
        gfn.init(key, Hyperparameters.only(reward_exponent=betas[i]))
        tempered(env, optax.linear_schedule(1.0, 8.0, 2_000))    # anneal it as training goes

    A schedule counts as where it starts, but in training and for `gfn.at(state)`, whose `env` and
    `model` have the exponent in force. Trajectories and metrics tell log R_beta.

    Args:
        env: any environment; a conditional one too.
        reward_exponent: beta, positive.

    Raises:
        ArgumentError: for a number that is not positive, or what is no environment.
    """
    if isinstance(env, type) or not hasattr(type(env), "log_reward"):
        raise ArgumentError("env", f"must be an environment such as Hypergrid(), got {env!r}")
    check_number("reward_exponent", reward_exponent, *POSITIVE)
    return _kind(type(env))(env, scheduled(reward_exponent))
