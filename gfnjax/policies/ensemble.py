"""An ensemble of forward policies on one trunk, for Thompson sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from gfnjax import masking
from gfnjax.envs.base import Environment, State
from gfnjax.policies.base import Policy, Sizes
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.tabular import tabular_policy
from gfnjax.types import Array, PolicyOutput, PyTree


@dataclass(frozen=True)
class EnsemblePolicy:
    """P_F(a | s) = 1/K sum_k softmax(logits_k(s))_a over the valid actions, of K members.

    Members share everything but their forward logits: the trunk, the backward logits, the flow.
    While a `GFlowNet` explores, each trajectory is built by one member drawn at random; every
    member is trained on all trajectories, as if it were the policy. Where members disagree, on
    what has rarely been seen, that makes trajectories that are bold and consistent. What is
    sampled, scored and evaluated without exploration is the mixture above (Rector-Brooks et al.,
    Thompson sampling for GFlowNets, 2306.17693).

    Attributes:
        network: a policy with `num_members * num_actions` forward logits, member by member.
        num_members: K, at least 1.
        keep: probability with which a member learns from a trajectory (the bootstrap). Below 1
            members see different data and differ for longer; members that start out equal, such
            as those of a table, otherwise stay equal.

    Raises:
        ValueError: if a number is out of range.
    """

    network: Policy
    num_members: int
    keep: float = 1.0

    def __post_init__(self) -> None:
        if self.num_members < 1:
            raise ValueError(f"num_members must be at least 1, got {self.num_members}")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be in (0, 1], got {self.keep}")

    @property
    def made_for(self) -> Sizes:
        return self.network.made_for

    def init(self, key: Array, observation: PyTree) -> PyTree:
        return self.network.init(key, observation)

    def observe(self, env: Environment, state: State) -> PyTree:
        return self.network.observe(env, state)

    def heads(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state with the forward logits of all members, `[K, num_actions]`."""
        output = self.network.evaluate(params, env, state)
        shape = self.num_members, env.num_actions
        if output.forward_logits.shape != (math.prod(shape),):
            raise ValueError(
                f"network must return {shape[0]} x {shape[1]} forward logits, num_members x "
                f"num_actions, got shape {output.forward_logits.shape}"
            )
        return output._replace(forward_logits=output.forward_logits.reshape(shape))

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state; the forward logits are log P_F of the mixture."""
        heads = self.heads(params, env, state)
        log_pf = masking.log_softmax(heads.forward_logits, env.forward_mask(state)[None])
        mixture = jax.nn.logsumexp(log_pf, axis=0) - math.log(self.num_members)
        return heads._replace(forward_logits=mixture)


def ensemble_mlp_policy(
    env: Environment,
    num_members: int,
    hidden_sizes: Sequence[int] = (256, 256),
    activation: str = "gelu",
    keep: float = 1.0,
) -> EnsemblePolicy:
    """`mlp_policy` with `num_members` forward heads.

    Raises:
        ValueError: as `mlp_policy` and `EnsemblePolicy` do.
    """
    network = mlp_policy(env, hidden_sizes, activation, num_members)
    return EnsemblePolicy(network, num_members, keep)


def ensemble_tabular_policy(
    env: Environment, num_members: int, keep: float = 0.5
) -> EnsemblePolicy:
    """`tabular_policy` with `num_members` tables of forward logits, all zero at first.

    Raises:
        TypeError, ValueError: as `tabular_policy` and `EnsemblePolicy` do.
    """
    return EnsemblePolicy(tabular_policy(env, num_members), num_members, keep)
