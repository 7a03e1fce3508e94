"""Trajectories from lists of actions, and a sampler that draws from a fixed set of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import log_rewards, rollout
from gfnjax.actions import actions_of, backward_actions_of, require_categorical
from gfnjax.arguments import is_traced
from gfnjax.envs.base import Conditioned, Environment, State, source_state
from gfnjax.envs.tempered import exponent_in_force
from gfnjax.errors import ArgumentError, Use
from gfnjax.model import Model
from gfnjax.objectives.base import Objective, name_of
from gfnjax.policies.base import Behaviour
from gfnjax.replay.records import Record, rebuild
from gfnjax.samplers.base import Batch
from gfnjax.shapes import check_states, check_trajectories
from gfnjax.state import Params
from gfnjax.types import Array, PyTree, Trajectory


def trajectories_from_actions(
    env: Environment, actions: Sequence[Sequence[int]] | Any, sources: State | None = None
) -> Trajectory:
    """Trajectories `[n, ...]` that take given actions, with all their states and log R.

    For demonstrations: of texts what their tokens are numbered, and the stop.

    Args:
        env: the environment.
        actions: of each of n trajectories all that it takes, of any length up to `max_steps`.
        sources: `[n, ...]` the states s_0 they start in; may be left out where that is always the
            same.

    Raises:
        ArgumentError: for actions that an environment does not allow, or that do not lead to an
            end, naming the first; without sources, where they differ.
    """
    require_categorical(env, "trajectories_from_actions")
    rows, length = _padded(env, actions)
    if sources is None:
        if isinstance(env, Conditioned):
            words = f"must be given: those of {type(env).__name__} differ in their conditions"
            raise ArgumentError("sources", words)
        sources = rollout.tile(source_state(env), length.size)
    check_states("sources", sources, source_state(env))
    given = jax.tree.leaves(sources)[0].shape[0]
    if given != length.size:
        problem = f"must be one for each of {length.size} trajectories, got {given}"
        raise ArgumentError("sources", problem)
    found, allowed, ended = _follow(env, sources, jnp.asarray(rows), jnp.asarray(length))
    _check_followed(rows, np.asarray(allowed), np.asarray(ended))
    return found


def _padded(env: Environment, actions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Actions `[n, T]` int32, 0 after the end, and lengths `[n]` int32."""
    given = [np.asarray(row) for row in actions]
    if not given:
        raise ArgumentError("actions", "must be those of at least one trajectory, got none")
    rows = np.zeros((len(given), env.max_steps), np.int32)
    for number, row in enumerate(given):
        fits = row.ndim == 1 and np.issubdtype(row.dtype, np.integer)
        if not fits or not 1 <= row.size <= env.max_steps:
            problem = f"must be 1 to {env.max_steps} whole numbers each, row {number} is"
            raise ArgumentError("actions", f"{problem} {row.tolist()}")
        rows[number, : row.size] = row
    return rows, np.array([row.size for row in given], np.int32)


@jax.jit
def _follow(
    env: Environment, sources: State, actions: Array, length: Array
) -> tuple[Trajectory, Array, Array]:
    """Trajectories, whether each action was allowed `[n, T]`, and whether they have ended `[n]`."""
    unpaid = jnp.zeros(length.shape, jnp.result_type(float))
    found = rebuild(env, Record(sources, actions, length, unpaid))
    allowed, ended = _looked_at(env, found)
    return log_rewards.paid(env, found, rollout.terminal_states(found)), allowed, ended


def _looked_at(env: Environment, paths: Trajectory) -> tuple[Array, Array]:
    """Whether each action of trajectories was allowed `[n, T]`, and whether they ended `[n]`."""
    before = jax.tree.map(lambda x: x[:, :-1], paths.states)
    allows = jax.vmap(jax.vmap(lambda s, a: actions_of(env).allows(env.forward_mask(s), a)))
    live = jnp.arange(env.max_steps, dtype=jnp.int32)[None] < paths.length[:, None]
    ended = jax.vmap(env.is_terminal)(rollout.terminal_states(paths))
    return allows(before, paths.actions) | ~live, ended


def _check_followed(actions: np.ndarray, allowed: np.ndarray, ended: np.ndarray) -> None:
    wrong = np.argwhere(~allowed)
    if wrong.size:
        row, step = wrong[0]
        problem = f"must be allowed where they are taken, number {step} of row {row} is"
        raise ArgumentError("actions", f"{problem} {actions[row, step]}")
    if not ended.all():
        problem = f"must lead to an end, those of row {np.argmin(ended)} do not"
        raise ArgumentError("actions", problem, "add the one that stops")


def check_reached(name: str, env: Environment, states: State) -> None:
    """Raise an `ArgumentError` unless allowed actions lead to terminal states `[n, ...]`.

    A mask may forbid what a backward action undoes: a token where another one is forced. Of states
    that several trajectories lead to, one is looked at.
    """
    if is_traced((env, states)):
        return
    with jax.ensure_compile_time_eval():
        actions, allowed, ended = map(np.asarray, _undone(env, states))
    wrong = np.argwhere(~allowed)
    if wrong.size:
        row, step = wrong[0]
        problem = f"must be reached by actions that are allowed, number {step} of those to row"
        raise ArgumentError(name, f"{problem} {row} is {actions[row, step]}")
    if not ended.all():
        raise ArgumentError(name, f"must be terminal states, row {np.argmin(ended)} is none")


@jax.jit
def _undone(env: Environment, states: State) -> tuple[PyTree, Array, Array]:
    """Of one trajectory to each of `states` `[n, ...]` the actions and what `_looked_at` says."""

    def behaviour(state: State) -> PyTree:
        return backward_actions_of(env).neutral()

    paths = rollout.sample_backward(env, behaviour, jax.random.key(0), states)
    return paths.actions, *_looked_at(env, paths)


class Held:
    """Arrays of a description: equal if all their numbers are, and hashed by them."""

    def __init__(self, tree: PyTree):
        self.tree = jax.tree.map(np.array, tree)
        digest = hashlib.sha256(str(jax.tree.structure(self.tree)).encode())
        for leaf in jax.tree.leaves(self.tree):
            leaf.setflags(write=False)
            digest.update(f"{leaf.dtype} {leaf.shape}".encode() + leaf.tobytes())
        self.digest = digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Held({self.digest[:8]})"


@dataclass(frozen=True)
class Demonstrations:
    """Batches drawn uniformly, with replacement, from a fixed set of trajectories.

    For supervised fine-tuning, with `MaximumLikelihood`, and for any objective that learns from
    trajectories of others. Made by `of`:

        Demonstrations.of(env, trajectories_from_actions(env, actions, sources))

    The set is a part of the training state, each member of a sweep has its own; log R follows the
    exponent in force (`gfnjax.tempered`).

    Attributes:
        data: trajectories `[n, ...]` as `of` keeps them, log R at an exponent of 1.
    """

    divides: ClassVar[bool] = False
    data: Held

    @classmethod
    def of(cls, env: Environment, trajectories: Trajectory) -> Self:
        """The sampler of complete trajectories `[n, ...]`, whose log R is that of `env`.

        Raises:
            ValueError: for trajectories that are no batch.
        """
        check_trajectories(trajectories)
        kept = trajectories._replace(
            log_reward=trajectories.log_reward / exponent_in_force(env),
            cut=jnp.zeros(trajectories.length.shape, bool),
            log_path_reward=None,
        )
        return cls(Held(kept))

    def check(self, model: Model, objective: Objective, batch_size: int) -> None:
        if not isinstance(self.data, Held):
            words = f"must be made by Demonstrations.of, got {type(self.data).__name__}"
            raise ArgumentError("data", words)
        if objective.on_policy:
            raise ArgumentError(
                "sampler",
                "learns from the policy's own trajectories, not from given ones",
                Use("use sampler=OnPolicy()", without=("sampler",)),
                name_of(objective),
            )
        kept, env = self.data.tree, model.env
        first = jax.tree.map(lambda x: x[:, 0], kept.states)
        check_states("sampler", first, source_state(env))
        if kept.actions.shape[1:2] != (env.max_steps,):
            problem = f"must have trajectories of up to {env.max_steps} steps, as the environment"
            raise ArgumentError("sampler", f"{problem}, got {kept.actions.shape[1]}")

    def init(self, model: Model, params: Params, key: Array, batch_size: int) -> PyTree:
        return jax.tree.map(jnp.asarray, self.data.tree)

    def draw(
        self,
        model: Model,
        params: Params,
        memory: PyTree,
        key: Array,
        behaviour: Behaviour,
        batch_size: int,
    ) -> tuple[Batch, PyTree]:
        rows = jax.random.randint(key, (batch_size,), 0, memory.length.size, jnp.int32)
        drawn = jax.tree.map(lambda x: x[rows], memory)
        log_reward = drawn.log_reward * exponent_in_force(model.env)
        return Batch(drawn._replace(log_reward=log_reward)), memory

    def learn(self, model: Model, memory: PyTree, batch: Batch, errors: Array) -> PyTree:
        return memory
