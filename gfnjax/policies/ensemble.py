"""An ensemble of forward policies on one trunk, for Thompson sampling."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gfnjax import masking, rollout, scoring, spread
from gfnjax.actions import require_categorical
from gfnjax.envs.base import Environment, State
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.policies.base import Policy, Sizes, record_by, rollout_of_states
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.tabular import tabular_policy
from gfnjax.pytree import pytree, static
from gfnjax.scoring import BackwardPolicy, Reading, Visit, VisitScores
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


@pytree
class EnsemblePolicy(Comparable):
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
    num_members: int = static()
    keep: float = static(default=1.0)

    def __post_init__(self) -> None:
        if self.num_members < 1:
            raise ArgumentError("num_members", f"must be at least 1, got {self.num_members}")
        if not 0 < self.keep <= 1:
            raise ArgumentError("keep", f"must be in (0, 1], got {self.keep}")

    @property
    def made_for(self) -> Sizes:
        return self.network.made_for

    @property
    def from_any_state(self) -> bool:
        return True

    def check(self, env: Environment) -> None:
        require_categorical(env, "an EnsemblePolicy")
        self.network.check(env)

    def init(self, key: Array, observation: PyTree) -> PyTree:
        return self.network.init(key, observation)

    def observe(self, env: Environment, state: State) -> PyTree:
        return self.network.observe(env, state)

    def heads(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state with the forward logits of all members, `[K, num_actions]`."""
        output = self.network.evaluate(params, env, state)
        shape = self.num_members, env.num_actions
        if output.forward_logits.shape != (math.prod(shape),):
            raise ArgumentError(
                "network",
                f"must return {shape[0]} x {shape[1]} forward logits, num_members x "
                f"num_actions, got shape {output.forward_logits.shape}",
            )
        return output._replace(forward_logits=output.forward_logits.reshape(shape))

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state; the forward logits are log P_F of the mixture."""
        heads = self.heads(params, env, state)
        log_pf = masking.log_softmax(heads.forward_logits, env.forward_mask(state)[None])
        mixture = jax.nn.logsumexp(log_pf, axis=0) - math.log(self.num_members)
        return heads._replace(forward_logits=mixture)

    def rollout(
        self,
        params: PyTree,
        env: Environment,
        key: Array,
        num_samples: int,
        act: Callable[[State, PolicyOutput], PyTree] | None = None,
        window: rollout.Window | None = None,
        reading: Reading | None = None,
        sources: State | None = None,
    ) -> tuple[Trajectory, VisitScores | None]:
        """Exploring, one member drawn uniformly acts in each trajectory, or in each window.

        What is recorded is then of each member, `[B, T + 1, K]`.
        """
        if act is None:
            given = params, env, key, num_samples, None, window, reading, sources
            return rollout_of_states(self, *given)
        key, member_key = jax.random.split(key)
        members = jax.random.randint(member_key, (num_samples,), 0, self.num_members)
        members = spread.rows(members)

        def decide(state: State, member: Array) -> rollout.Decision:
            heads = self.heads(params, env, state)
            logits = heads.forward_logits[member]
            acting = act(state, heads._replace(forward_logits=logits))
            return rollout.Decision(acting, None if reading is None else heads)

        def act_all(
            memory: PyTree, t: Array, turns: rollout.Turn, live: Array, finish: rollout.Finish
        ) -> Any:
            def one(row: tuple[rollout.Turn, Array]) -> Any:
                return finish(row[0], decide(row[0].state, row[1]))

            return memory, rollout.act_live(one, (turns, members), live)

        options = num_samples, window, record_by(reading, _read), sources
        return rollout.rollout(env, act_all, lambda states: (), key, *options)

    def score(
        self,
        params: PyTree,
        env: Environment,
        backward: BackwardPolicy,
        trajectories: Trajectory,
        **options: Any,
    ) -> Scores:
        """Of the mixture."""
        return scoring.score(env, self, backward, params, trajectories, **options)

    def score_members(
        self,
        params: PyTree,
        env: Environment,
        backward: BackwardPolicy,
        trajectories: Trajectory,
        *,
        log_z: Array | float = 0.0,
        chunk_size: int | None = None,
        rows: VisitScores | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> Scores:
        """Scores `[K, B, ...]` of each member, at the cost of one pass through the trunk.

        Arguments as in `scoring.score`, `rows` of each member.
        """
        model = env, self, backward, params, trajectories
        given = *model, _heads, _read, needs
        found = scoring.read_visits(*given, chunk_size=chunk_size, rows=rows)
        found = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), found)

        def assemble(rows: VisitScores) -> Scores:
            return scoring.assemble(env, backward, trajectories, rows, log_z, needs)

        return jax.vmap(assemble)(found)


MEMBERS = PolicyOutput(forward_logits=0, backward_logits=None, log_flow=None)  # pyrefly: ignore


def _heads(policy: EnsemblePolicy, params: PyTree, env: Environment, state: State) -> PolicyOutput:
    return policy.heads(params, env, state)


def _read(reading: Reading, heads: PolicyOutput, visit: Visit) -> VisitScores:
    """`[K]` of each member."""
    return jax.vmap(partial(scoring.read, reading), (MEMBERS, None))(heads, visit)


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
