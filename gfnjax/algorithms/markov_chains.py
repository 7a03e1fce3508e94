"""Markov chains over finished objects: undo a few steps, build again, accept or refuse.

A move takes K backward steps, K uniform on 1 .. num_back, to an unfinished object s, and forward
steps to another object x'. With q the probability of the path taken, it is accepted with
probability min(1, R(x') q(x' -> x) / (R(x) q(x -> x'))), so R / Z is invariant: Metropolis-Hastings
over the environment's own actions, by `gfnjax.samplers.back_and_forth`. Each chain reaches all
objects if such moves connect them; with num_back = `env.max_steps` they always do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gfnjax import registry, spread
from gfnjax.arguments import check_key, whole
from gfnjax.envs.base import Environment, State, log_reward_of, require_acyclic
from gfnjax.errors import ArgumentError
from gfnjax.hyperparameters import Hyperparameters, as_pytree, check, numbers, values_at
from gfnjax.identity import Comparable
from gfnjax.learning import updates
from gfnjax.learning.diagnosis import diagnose_rewards
from gfnjax.model import Model, score_states
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import Policy
from gfnjax.policies.uniform import uniform_policy
from gfnjax.pytree import pytree, static
from gfnjax.rollout import terminal_states
from gfnjax.samplers.back_and_forth import Move, back_and_forth
from gfnjax.state import Params, step_keys
from gfnjax.types import Array, PyTree, Trajectory


class ChainInfo(NamedTuple):
    """One move of all chains, `[]` each.

    Attributes:
        acceptance: share of the chains that moved.
        log_reward: mean over the chains after the move, nats.
        transitions: int32, environment steps taken back and forth by all chains together.
        length: mean length of the ways forward.
        loss: of the proposal; zero where it does not learn, as is
        grad_norm: the norm of its gradient.
    """

    acceptance: Array
    log_reward: Array
    transitions: Array
    length: Array
    loss: Array
    grad_norm: Array


class ChainState(NamedTuple):
    """Chains at one move: the proposal's parameters, its optimiser's state, objects `[C, ...]`."""

    params: Params
    opt_state: PyTree
    hyperparameters: Hyperparameters
    memory: State
    key: Array
    step: Array


@pytree
class MarkovChains(Comparable):
    """Parallel chains with pure `init`, `step` and `sample`, like a `GFlowNet`.

    Build one with `metropolis_hastings` or `mars`.

    Attributes:
        proposal: what undoes and builds.
        num_chains: C.
        num_back: steps undone at most.
        learn: whether successful moves train the proposal. R / Z is invariant under each move, but
            chains under proposals that change with them need not converge to it: let the learning
            rate fall to zero, or go on with `learn=False`.
        hyperparameters: the proposal's learning rate; the others are not used.
        optimizer: of the proposal, a function of the learning rate.

    Raises:
        ValueError: if a number is out of range.
    """

    proposal: Model
    num_chains: int = static(default=16)
    num_back: int = static(default=2)
    learn: bool = static(default=False)
    hyperparameters: Hyperparameters = Hyperparameters()
    optimizer: updates.MakeOptimizer = static(default=optax.adam)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_chains", whole("num_chains", self.num_chains, least=1))
        object.__setattr__(self, "hyperparameters", as_pytree(self.hyperparameters))
        check(self.hyperparameters)
        require_acyclic(self.env, "MarkovChains")
        longest = self.env.max_steps
        if not 1 <= self.num_back <= longest:
            raise ArgumentError(
                "num_back", f"must be between 1 and max_steps = {longest}, got {self.num_back}"
            )

    @property
    def env(self) -> Environment:
        """The environment, with the reward that is sampled from."""
        return self.proposal.env

    def init(self, key: Array) -> ChainState:
        """Chains that start from objects built by the proposal, untrained."""
        spread.refuse("MarkovChains", "num_chains")
        keys = jax.random.split(check_key("key", key), 4)
        policy_key, backward_key, start_key, run_key = keys
        params = self.proposal.init(policy_key, backward_key)
        start = self.proposal.sample(params, start_key, self.num_chains)
        held = numbers(self.hyperparameters, None)
        step = jnp.zeros((), jnp.int32)
        opt_state = self._optimizer(held, step).init(params.policy)
        return ChainState(params, opt_state, held, terminal_states(start), run_key, step)

    def step(self, state: ChainState) -> tuple[ChainState, ChainInfo]:
        """Propose a move to every chain; with `learn`, train on the successful ones."""
        spread.refuse("MarkovChains", "num_chains")
        return self.moved(state, self.propose(state))

    def propose(self, state: ChainState) -> Move:
        """The move that `step` makes, with what was proposed and refused too."""
        return self._move(state.params, self._key(state), state.memory)

    def moved(self, state: ChainState, move: Move) -> tuple[ChainState, ChainInfo]:
        """The rest of `step`: after the move, which the proposal has learned from."""
        before = self._log_reward(state.memory)
        loss = grad_norm = jnp.zeros_like(before[0])
        if self.learn:
            success = move.accepted & (move.rebuilt.log_reward > before)
            loss, grads = jax.value_and_grad(self._loss)(
                state.params.policy, state.params, move, success
            )
            grad_norm = optax.tree.norm(grads)
            optimizer = self._optimizer(state.hyperparameters, state.step)
            policy, opt_state = updates.move(optimizer, grads, state.opt_state, state.params.policy)
            params = state.params._replace(policy=policy)
            state = state._replace(params=params, opt_state=opt_state)
        info = ChainInfo(
            acceptance=move.accepted.mean(dtype=before.dtype),
            log_reward=jnp.where(move.accepted, move.rebuilt.log_reward, before).mean(),
            transitions=(move.num_undone + move.rebuilt.length).sum(),
            length=move.rebuilt.length.astype(before.dtype).mean(),
            loss=loss,
            grad_norm=grad_norm,
        )
        return state._replace(memory=move.states, step=state.step + 1), info

    def _optimizer(self, held: Hyperparameters, step: Array) -> Any:
        rate = values_at(self.hyperparameters, held, step).learning_rate
        return updates.following(self.optimizer, rate)

    def diagnose(self, state: ChainState) -> str | None:
        """What is wrong with the rewards of the objects that `step` moves to; None if nothing."""
        return diagnose_rewards(MarkovChains._log_rewards, self, state, "chains")

    def _log_rewards(self, state: ChainState) -> Array:
        """`[C]` after the move of a step."""
        return self._log_reward(self.propose(state).states)

    def _log_reward(self, states: State) -> Array:
        return jax.vmap(partial(log_reward_of, self.env))(states)

    def _key(self, state: ChainState) -> Array:
        return step_keys(state.key, state.step).draw

    @partial(jax.jit, static_argnames="num_samples")
    def sample(self, state: ChainState, key: Array, num_samples: int) -> Trajectory:
        """Trajectories into `num_samples` objects that the chains visit from here on.

        The chains move as often as it takes, without learning; objects of one chain are correlated.
        The ways to them are drawn from the backward policy.
        """
        move_key, path_key = jax.random.split(key)
        rounds = -(-num_samples // self.num_chains)

        def body(states: State, key: Array) -> tuple[State, State]:
            states = self._move(state.params, key, states).states
            return states, states

        _, visited = lax.scan(body, state.memory, jax.random.split(move_key, rounds))
        visited = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_samples], visited)
        return self.proposal.sample_backward(state.params, path_key, visited)

    def _move(self, params: Params, key: Array, states: State) -> Move:
        return back_and_forth(self.proposal, params, key, states, self.num_back, least_back=1)

    def _loss(self, policy: PyTree, params: Params, move: Move, success: Array) -> Array:
        """`[]` minus the mean log P_F of the ways forward of successful moves."""
        scores = score_states(self.proposal, params._replace(policy=policy), move.rebuilt)
        weights = success.astype(scores.log_pf.dtype)
        return -(weights * scores.log_pf.sum(axis=1)).sum() / jnp.maximum(weights.sum(), 1)


def metropolis_hastings(env: Environment, num_chains: int = 16, num_back: int = 2) -> MarkovChains:
    """Chains that choose uniformly what to undo and what to do instead.

    Args:
        env: the environment, with the reward to sample from.
        num_chains: parallel chains.
        num_back: steps undone at most; K of them is as likely as any other number.

    Raises:
        ValueError: for an argument out of range.
    """
    proposal = Model(env, uniform_policy(env), UniformBackward())
    return MarkovChains(proposal, num_chains, num_back)


def mars(
    env: Environment,
    policy: Policy,
    num_chains: int = 16,
    num_back: int = 2,
    learning_rate: Any = 1e-3,
) -> MarkovChains:
    """Chains that learn what to build: a policy fitted to successful moves.

    After each move it takes a step on the likelihood of the ways forward that were accepted and led
    to a higher reward, as in "MARS: Markov Molecular Sampling" (Xie et al., 2103.10432); what to
    undo is chosen uniformly.

    Args:
        env: the environment, with the reward to sample from.
        policy: the proposal.
        num_chains: parallel chains.
        num_back: steps undone at most.
        learning_rate: of the proposal, or an optax schedule.

    Raises:
        ValueError: for an argument out of range.
    """
    proposal = Model(env, policy, UniformBackward())
    rates = Hyperparameters(learning_rate=learning_rate)
    return MarkovChains(proposal, num_chains, num_back, learn=True, hyperparameters=rates)


@registry.objective("mh")
@dataclass(frozen=True)
class MetropolisHastingsConfig:
    """baseline: Metropolis-Hastings chains over objects, one for each of the batch"""

    chain_back: int = 2
    """steps that the chains take back at most"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain_back", whole("chain_back", self.chain_back, least=1))

    def make_chains(
        self, env: Environment, network: Callable[[], Policy], num_chains: int, learning_rate: Any
    ) -> MarkovChains:
        """What takes the place of a `GFlowNet`.

        Raises:
            ValueError: if `chain_back` is more than the longest trajectory.
        """
        self._check(env)
        return metropolis_hastings(env, num_chains, self.chain_back)

    def _check(self, env: Environment) -> None:
        if self.chain_back > env.max_steps:
            raise ArgumentError(
                "chain_back",
                f"must be between 1 and {env.max_steps}, the steps of the longest "
                f"trajectory, got {self.chain_back}",
            )


@registry.objective("mars")
@dataclass(frozen=True)
class MarsConfig(MetropolisHastingsConfig):
    """baseline: chains whose proposal learns from moves that succeed"""

    def make_chains(
        self, env: Environment, network: Callable[[], Policy], num_chains: int, learning_rate: Any
    ) -> MarkovChains:
        self._check(env)
        return mars(env, network(), num_chains, self.chain_back, learning_rate)
