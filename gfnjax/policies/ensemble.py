"""An ensemble of forward policies on one trunk, for Thompson sampling."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from gfnjax import masking, rollout, scoring
from gfnjax.envs.base import Environment, State
from gfnjax.objectives.base import Objective, Regression, loss_and_errors
from gfnjax.policies.backward import BackwardPolicy
from gfnjax.policies.base import Policy, Sizes
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.tabular import tabular_policy
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


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


MEMBERS = PolicyOutput(forward_logits=0, backward_logits=None, log_flow=None)  # pyrefly: ignore


def sample_ensemble(
    env: Environment,
    policy: EnsemblePolicy,
    params: PyTree,
    behaviour: Callable[[State, PolicyOutput], Array],
    key: Array,
    member_key: Array,
    batch_size: int,
    window: rollout.Window | None = None,
) -> tuple[Trajectory, PolicyOutput]:
    """Trajectories `[B, ...]`, each built by one member drawn uniformly.

    Args:
        env: the environment.
        policy: the policy.
        params: of the policy.
        behaviour: a state and what the member says there to `[num_actions]` logits that act.
        key: of the rollout.
        member_key: of who acts in which trajectory.
        batch_size: number of trajectories B.
        window: as in `sampling.sample_forward`; each window has a member of its own.

    Returns:
        Trajectories `[B, ...]`, and `EnsemblePolicy.heads` in all their states `[B, T + 1, ...]`.
    """
    members = jax.random.randint(member_key, (batch_size,), 0, policy.num_members)

    def act(row: tuple[State, Array]) -> tuple[Array, PolicyOutput]:
        state, member = row
        heads = policy.heads(params, env, state)
        logits = heads.forward_logits[member]
        return behaviour(state, heads._replace(forward_logits=logits)), heads

    def act_all(memory: PyTree, t: Array, state: State, token: Array, live: Array) -> PyTree:
        return memory, *rollout.act_live(act, (state, members), live)

    return rollout.rollout(env, act_all, (), key, batch_size, window)


def score_ensemble(
    env: Environment,
    policy: EnsemblePolicy,
    backward: BackwardPolicy,
    params: PyTree,
    trajectories: Trajectory,
    *,
    log_z: Array | float = 0.0,
    chunk_size: int | None = None,
    outputs: PolicyOutput | None = None,
    needs: frozenset[str] = frozenset(),
) -> Scores:
    """`scoring.score` for each member, at the cost of one pass through the trunk.

    Args:
        env: the environment.
        policy: the policy.
        backward: the backward policy.
        params: of the policy; scores are differentiable in them.
        trajectories: `[B, ...]`.
        log_z: `[]` learned log Z, copied into the scores.
        chunk_size: as in `scoring.score`.
        outputs: `[B, T + 1, ...]` heads that a rollout of the same parameters has computed.
        needs: as in `scoring.score`.

    Returns:
        Scores `[K, B, ...]`.
    """
    read = jax.vmap(partial(scoring.read, needs=needs), (None, MEMBERS, None))
    model = env, backward, params, trajectories
    rows = scoring.read_visits(*model, policy.heads, read, chunk_size=chunk_size, outputs=outputs)
    rows = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), rows)
    return jax.vmap(lambda rows: scoring.assemble(env, trajectories, rows, log_z, needs))(rows)


def mean_loss(
    policy: EnsemblePolicy,
    objective: Objective,
    regression: Regression,
    scores: Scores,
    key: Array | None,
) -> tuple[Array, Array]:
    """The mean over members of their losses on scores `[K, B, ...]`.

    Args:
        policy: says how often a member learns from a trajectory.
        objective: the objective.
        regression: g.
        scores: of each member.
        key: of the bootstrap; without one every member learns from every trajectory.

    Returns:
        The loss `[]`, and `[B]` the mean over all members of what a trajectory costs them.
    """
    keep = jnp.ones(scores.log_reward.shape, bool)
    if key is not None and policy.keep < 1:
        keep = jax.random.bernoulli(key, policy.keep, keep.shape)
    judge = partial(loss_and_errors, objective, regression)
    losses, errors = jax.vmap(judge)(scores, keep)
    return losses.mean(), errors.mean(axis=0)
