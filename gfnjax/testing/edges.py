"""What `check_environment` asks of steps, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.actions import Actions, Categorical, actions_of, backward_actions_of
from gfnjax.envs.base import Environment, source_state
from gfnjax.testing.claims import each, equal, first, require, same
from gfnjax.types import Array, PyTree

# Of each state, where actions have no numbers to go through.
DRAWS = 4


def _pairs(env: Environment, states: PyTree, forward: bool) -> tuple[PyTree, PyTree]:
    """All (state, valid action) pairs of a batch of states; some, if actions have no numbers."""
    actions = actions_of(env) if forward else backward_actions_of(env)
    support = each(env.forward_mask if forward else env.backward_mask)(states)
    if isinstance(actions, Categorical):
        rows, taken = np.nonzero(support)
        return jax.tree.map(lambda x: x[rows], states), taken.astype(np.int32)
    rows = np.repeat(np.flatnonzero(each(actions.possible)(support)), DRAWS)
    chosen = _some(actions, support, rows, jax.random.key(int(forward)))
    return jax.tree.map(lambda x: x[rows], states), chosen


def any_of(actions: Actions, support: PyTree) -> PyTree:
    """All actions, allowed or not; some that are allowed, if they have no numbers."""
    if isinstance(actions, Categorical):
        return jnp.arange(actions.size, dtype=jnp.int32)
    rows = np.zeros(DRAWS, int)
    return _some(actions, jax.tree.map(lambda x: x[None], support), rows, jax.random.key(0))


def _some(actions: Actions, support: PyTree, rows: np.ndarray, key: Array) -> PyTree:
    """One random action for each of `rows` of a batch of supports."""
    sample = each(lambda support, u: actions.sample(actions.neutral(), support, u))
    return sample(jax.tree.map(lambda x: x[rows], support), actions.noise(key, rows.shape))


def check_forward_edges(env: Environment, states: PyTree) -> None:
    """Every step must have one that undoes it."""

    def edge(state: PyTree, action: Array) -> tuple[Array, ...]:
        child = env.step(state, action)
        undo = env.backward_action(state, action)
        back = env.backward_step(child, undo)
        again = env.forward_action(child, undo)
        allowed = backward_actions_of(env).allows(env.backward_mask(child), undo)
        return ~equal(child, state), allowed, same(env, back, state), equal(again, action)

    states, actions = _pairs(env, states, forward=True)
    moved, allowed, back, again = each(edge)(states, actions)
    for good, broken in (
        (moved, "step: a valid action must change the state"),
        (allowed, "backward_action: names an action that backward_mask forbids in the child"),
        (back, "backward_step: backward_step(step(s, a), backward_action(s, a)) must be s"),
        (again, "forward_action: forward_action(step(s, a), backward_action(s, a)) must be a"),
    ):
        require(
            good,
            f"{broken}; broken from parent {first(~good, states)} by action "
            f"{first(~good, actions)}",
        )


def check_backward_edges(env: Environment, states: PyTree) -> None:
    """Every backward step must have one that redoes it."""

    def edge(state: PyTree, undo: Array) -> tuple[Array, ...]:
        parent = env.backward_step(state, undo)
        action = env.forward_action(state, undo)
        child = env.step(parent, action)
        again = env.backward_action(parent, action)
        allowed = actions_of(env).allows(env.forward_mask(parent), action)
        return allowed, same(env, child, state), equal(again, undo)

    states, undos = _pairs(env, states, forward=False)
    allowed, back, again = each(edge)(states, undos)
    for good, broken in (
        (allowed, "forward_action: names an action that forward_mask forbids in the parent"),
        (back, "step: step(backward_step(s, k), forward_action(s, k)) must be s"),
        (
            again,
            "backward_action: backward_action(backward_step(s, k), forward_action(s, k)) must "
            "be k: each edge has one backward action",
        ),
    ):
        require(
            good,
            f"{broken}; broken from child {first(~good, states)} by backward action "
            f"{first(~good, undos)}",
        )


def check_absorbing(env: Environment, last: PyTree) -> None:
    """Nothing must lead out of terminal states `[n, ...]`."""

    # What is allowed elsewhere: here nothing is.
    taken = any_of(actions_of(env), env.forward_mask(source_state(env)))

    def stays(state: PyTree) -> Array:
        return jax.vmap(lambda action: equal(env.step(state, action), state))(taken)

    same = each(stays)(last)
    broken = ~same.all(axis=1)
    require(
        same,
        "step: must leave terminal states as they are, whatever the action; it changes "
        + first(broken, last),
    )
