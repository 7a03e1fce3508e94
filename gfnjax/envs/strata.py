"""Strata: objects in K classes, each learned by a GFlowNet of its own, all of them by one network.

With k(x) the stratum of an object, by its size say or by its distance from a reference, and

    q(k | x) = (1 - floor) [k = k(x)] + floor / K,

the k-th component has the reward R_k(x) = R(x) q(k | x), with log Z_k and policies of its own:

    log Z_k + sum log P_F^k - log R - log q(k | x) - sum log P_B^k = 0.

As the q of an object add up to 1, sum_k R_k = R and sum_k Z_k = Z: components drawn in proportion
to Z_k sample R / Z exactly, for every floor (`gfnjax.algorithms.mixtures`). The floor is there
because each component can build every object of the rules: with floor 0 log R_k is -inf outside of
the stratum, which no balance of logarithms can learn from. It costs the share floor (K - 1) / K of
a component's objects; it should be small, and not so small that log R_k falls out of reach of a
network: log (floor / K) is -7.6 for the default and K = 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import is_known, whole
from gfnjax.envs.base import Environment, State, source_state
from gfnjax.envs.condition_distributions import choice
from gfnjax.envs.conditional import Conditional, conditional
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.types import Array


@pytree
class Strata(Comparable):
    """log R_k(x) = log R(x) + log q(k | x), the condition k one-hot; an `ObjectReward`.

    Attributes:
        stratum: callable pytree, a terminal state to the number `[]` of its stratum, 0 to K - 1;
            what is outside counts as the first or the last.
        floor: in (0, 1), the share of q that all strata have of all objects.
        num_strata: K, at least 2.

    Raises:
        ValueError: for a number out of range.
    """

    stratum: Callable[[State], Array]
    floor: float = 1e-3
    num_strata: int = static(default=2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_strata", whole("num_strata", self.num_strata, least=2))
        object.__setattr__(self, "stratum", as_node(self.stratum))
        if is_known(self.floor) and not 0 < self.floor < 1:
            problem = f"must be in (0, 1), got {self.floor}"
            raise ArgumentError("floor", problem, "at 0 log R is -inf outside of a stratum")

    def of_object(self, log_rewards: Array, condition: Array, state: State) -> Array:
        return log_rewards[0] + self.log_share(condition, state)

    def log_share(self, condition: Array, state: State) -> Array:
        """`[]` log q(k | x) of a terminal state."""
        number = jnp.asarray(self.stratum(state)).astype(jnp.int32)
        inside = condition[jnp.clip(number, 0, self.num_strata - 1)]
        floor = jnp.asarray(self.floor, condition.dtype)
        return jnp.log((1 - floor) * inside + floor / self.num_strata)

    def __call__(self, log_rewards: Array, condition: Array) -> Array:
        raise TypeError("strata are those of objects: use of_object")


def stratified(
    env: Environment,
    stratum: Callable[[State], Any],
    num_strata: int,
    *,
    floor: float = 1e-3,
) -> Conditional:
    """`env` with a stratum for a condition, drawn uniformly; `env.at(one_hot)` is one component.

        env = stratified(Hypergrid(2, 8), lambda s: s.position.sum() >= 7, 2)

    Partial rewards are those of the rules alone, and are not passed on. Objectives are those of
    conditional environments, with log Z_k = log F(s_0, k), such as `TrajectoryBalance("flow")`.

    Args:
        env: the rules and the reward R.
        stratum: a terminal state of `env` to a number `[]`, 0 to K - 1, or a bool for two strata.
        num_strata: K.
        floor: of q(k | x), in (0, 1).

    Raises:
        TypeError, ValueError: for numbers out of range, or what `conditional` refuses.
    """
    if not callable(stratum):
        raise ArgumentError("stratum", f"must be a function of a terminal state, got {stratum!r}")
    given = jax.eval_shape(stratum, source_state(env))
    if jnp.issubdtype(jnp.result_type(given), jnp.inexact):
        problem = f"must give whole numbers or bools, got {jnp.result_type(given)}"
        raise ArgumentError("stratum", problem, "use a comparison, or .astype(int)")
    strata = Strata(stratum, floor, num_strata)
    return conditional(env, choice(np.eye(strata.num_strata)), strata)
