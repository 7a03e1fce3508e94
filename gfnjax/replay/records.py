"""Trajectories as what made them: a few hundred bytes each, and states again by stepping.

The states of 10,000 trajectories of the phylogeny DS8 are 25 GB, their actions 2.5 MB. States
follow from where a trajectory starts and from its actions, since rules are deterministic.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.actions import backward_actions_of, usual
from gfnjax.envs.base import Environment, State, is_acyclic, source_drawer, source_state
from gfnjax.rollout import choose, no_arrival, terminal_states, tile
from gfnjax.types import Array, PyTree, Trajectory

# A state is kept as a way to it where it is that many times larger: steps cost time as well.
WORTH_STEPS = 8


class Path(NamedTuple):
    """A state as a way to it from its s_0.

    Attributes:
        start: the leaves of s_0 that differ from one trajectory to the next: conditions.
        actions: `[P]` pytree; arbitrary after `length`.
        length: `[]` int32, how many of them are taken.
    """

    start: tuple[Array, ...]
    actions: PyTree
    length: Array


class Record(NamedTuple):
    """One trajectory, without its states; `rebuild` brings them back bit for bit.

    Attributes:
        source: the state it starts in: None where that is always s_0, a `Path` where it is s_0
            with a condition, or a large state on the way; else the state itself.
        actions: `[T]` pytree, as in `Trajectory`.
        length: `[]` int32.
        log_reward: `[]`, as it was then.
    """

    source: PyTree
    actions: PyTree
    length: Array
    log_reward: Array


def record(env: Environment, trajectories: Trajectory, whole: bool) -> Record:
    """Records `[n, ...]` of trajectories `[n, ...]`.

    Args:
        env: the environment. Where `whole` is False its large states are kept as ways to them,
            found by undoing steps, unless that may lead in circles.
        trajectories: to be kept.
        whole: whether all of them start in s_0; others, and where there are cycles any that was
            cut on its way back, may start anywhere.
    """
    first = jax.tree.map(lambda x: x[:, 0], trajectories.states)
    kept = trajectories.actions, trajectories.length, trajectories.log_reward
    if not (whole and is_acyclic(env)):
        return Record(_kept_source(env, first), *kept)
    if source_drawer(env) is None:
        return Record(None, *kept)
    nothing = jax.tree.map(lambda x: x[:, :0], trajectories.actions)
    start = _varying_leaves(env, first)
    return Record(Path(start, nothing, jnp.zeros_like(trajectories.length)), *kept)


def starts_at_s0(records: Record) -> bool:
    """Whether records were made of whole trajectories: told by their form."""
    source = records.source
    if isinstance(source, Path):
        return jax.tree.leaves(source.actions)[0].shape[1] == 0
    return source is None


def rebuild(env: Environment, records: Record) -> Trajectory:
    """Trajectories `[n, ...]` of records `[n, ...]`, at the cost of stepping through them.

    Bit for bit what was recorded, on the same environment; with as many steps as the longest has.
    """
    start = _first_states(env, records)
    actions, length = records.actions, records.length
    slots = jax.tree.leaves(actions)[0].shape[1] + 1
    states = jax.tree.map(lambda x: jnp.zeros((slots, *x.shape), x.dtype), start)

    def body(t: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        state, states = carry
        states = jax.tree.map(
            lambda rows, x: lax.dynamic_update_index_in_dim(rows, x, t, 0), states, state
        )
        return _advance(env, state, actions, length, t), states

    last, states = lax.fori_loop(0, length.max(), body, (start, states))
    before = jnp.arange(slots, dtype=jnp.int32)[None] < length[:, None]

    def pad(rows: Array, last: Array) -> Array:
        live = before.reshape(before.shape + (1,) * (last.ndim - 1))
        return jnp.where(live, jnp.swapaxes(rows, 0, 1), last[:, None])

    states = jax.tree.map(pad, states, last)
    whole = jnp.zeros(length.shape, bool)
    return Trajectory(states, actions, length, records.log_reward, whole)


def last_states(env: Environment, records: Record) -> State:
    """The states `[n, ...]` that recorded trajectories end in."""
    return _follow(env, _first_states(env, records), records.actions, records.length)


def keep_last(env: Environment, trajectories: Trajectory) -> PyTree:
    """Where whole trajectories `[n, ...]` end: states or, of large ones, the `Path` to each.

    `restore_state` brings the states back.
    """
    first = jax.tree.map(lambda x: x[:, 0], trajectories.states)
    last = terminal_states(trajectories)
    if not is_acyclic(env):  # it need not have started in s_0
        return last
    path = Path(_varying_leaves(env, first), trajectories.actions, trajectories.length)
    return path if _worth_steps(last, path) else last


def restore_state(env: Environment, kept: PyTree) -> State:
    """States `[n, ...]` that are kept as themselves or as a `Path` to each."""
    if not isinstance(kept, Path):
        return kept
    start = sources(env, kept.start, kept.length.size)
    return _follow(env, start, kept.actions, kept.length)


def sources(env: Environment, start: tuple[Array, ...], count: int) -> State:
    """`[count, ...]` states s_0 whose varying leaves are `start`, if any are given."""
    leaves, structure = jax.tree.flatten(tile(_any_source(env), count))
    if start:
        given = iter(start)
        varies = _varying(env)
        leaves = [next(given) if own else x for x, own in zip(leaves, varies, strict=True)]
    return structure.unflatten(leaves)


def _first_states(env: Environment, records: Record) -> State:
    if records.source is None:
        return sources(env, (), records.length.size)
    return restore_state(env, records.source)


def _kept_source(env: Environment, states: State) -> PyTree:
    if not is_acyclic(env):
        return states
    path = jax.eval_shape(lambda: _way_to(env, states))
    return _way_to(env, states) if _worth_steps(states, path) else states


def _worth_steps(states: State, path: Path) -> bool:
    """Whether a way takes so much less than a state that stepping along it is worth while."""

    def size(tree: PyTree) -> int:
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))

    return size(states) > WORTH_STEPS * size(path)


def _way_to(env: Environment, states: State) -> Path:
    """A way from s_0 to each of the states `[n, ...]`: undoing whatever can be."""
    num_states = jax.tree.leaves(states)[0].shape[0]
    undoing = backward_actions_of(env)
    actions = jax.tree.map(
        lambda x: jnp.zeros((env.max_steps, *x.shape), x.dtype), no_arrival(env, num_states).action
    )

    def can_go_back(state: State) -> Array:
        return jax.vmap(lambda s: undoing.possible(env.backward_mask(s)))(state)

    def body(carry: PyTree) -> PyTree:
        t, state, actions, length = carry
        live = can_go_back(state)
        undo = jax.vmap(lambda s: usual(undoing, env.backward_mask(s)))(state)
        action = jax.vmap(env.forward_action)(state, undo)
        actions = jax.tree.map(
            lambda rows, x: lax.dynamic_update_index_in_dim(rows, x, t, 0), actions, action
        )
        parent = choose(live, jax.vmap(env.backward_step)(state, undo), state)
        return t + 1, parent, actions, length + live.astype(jnp.int32)

    def under_way(carry: PyTree) -> Array:
        return (carry[0] < env.max_steps) & can_go_back(carry[1]).any()

    carry = jnp.zeros((), jnp.int32), states, actions, jnp.zeros(num_states, jnp.int32)
    _, source, actions, length = lax.while_loop(under_way, body, carry)
    # Slot k was written k + 1 steps before the end.
    slot = length[:, None] - 1 - jnp.arange(env.max_steps, dtype=jnp.int32)[None]
    reorder = jax.vmap(lambda rows, slot: rows[jnp.maximum(slot, 0)], (1, 0))
    return Path(
        _varying_leaves(env, source), jax.tree.map(lambda x: reorder(x, slot), actions), length
    )


def _follow(env: Environment, states: State, actions: PyTree, length: Array) -> State:
    """Where `length` `[n]` of the `actions` `[n, P]` lead from `states` `[n, ...]`."""
    if jax.tree.leaves(actions)[0].shape[1] == 0:
        return states
    return lax.fori_loop(
        0, length.max(), lambda t, state: _advance(env, state, actions, length, t), states
    )


def _advance(env: Environment, states: State, actions: PyTree, length: Array, t: Array) -> State:
    action = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, t, 1, keepdims=False), actions)
    return choose(t < length, jax.vmap(env.step)(states, action), states)


def _any_source(env: Environment) -> State:
    """s_0, where it varies with any condition."""
    if (draw := source_drawer(env)) is None:
        return source_state(env)
    return jax.tree.map(jnp.asarray, draw(jax.random.key(0)))


def _varying(env: Environment) -> list[bool]:
    """Of each leaf of s_0, whether it may differ from one trajectory to the next.

    Read off the program that draws s_0: what does not follow from the key is always the same.
    """
    if (draw := source_drawer(env)) is None:
        return [False] * len(jax.tree.leaves(env.initial_state()))
    leaves = partial(_leaves_drawn, draw)
    program = jax.make_jaxpr(leaves)(jax.eval_shape(lambda: jax.random.key(0))).jaxpr
    random = {id(x) for x in program.invars}
    for equation in program.eqns:
        if any(id(x) in random for x in equation.invars):
            random |= {id(x) for x in equation.outvars}
    return [id(x) in random for x in program.outvars]


def _leaves_drawn(draw: Callable[[Array], State], key: Array) -> list[Array]:
    return [jnp.asarray(x) for x in jax.tree.leaves(draw(key))]


def _varying_leaves(env: Environment, states: State) -> tuple[Array, ...]:
    leaves = jax.tree.leaves(states)
    return tuple(x for x, own in zip(leaves, _varying(env), strict=True) if own)
