"""What `check_environment` asks where actions are no numbers: of densities, in visited states."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax.actions import Actions, Categorical, actions_of, backward_actions_of
from gfnjax.envs.base import Environment, source_state
from gfnjax.testing.claims import each, first, require
from gfnjax.types import Array, PyTree

# How far apart the parameters of random policies are.
SPREAD = 3.0


def check_densities(env: Environment, states: PyTree, key: Array) -> None:
    """Densities of a batch of visited `states` must be finite and be those of what is sampled.

    Whatever the policy says: what it samples is allowed; log P and its gradient are finite, of
    every action in every state; what is sampled backward has a finite log P forward, and the other
    way round; and steps back come to s_0 within `max_steps`.
    """
    keys = jax.random.split(key, 3)
    sides = {"actions": True, "backward_actions": False}
    for (name, forward), side_key in zip(sides.items(), keys, strict=False):
        if not isinstance(_kind(env, forward), Categorical):
            _check_side(env, states, side_key, name, forward)
    if not isinstance(_kind(env, False), Categorical):
        _check_way_back(env, states, keys[2])


def is_continuous(env: Environment) -> bool:
    """Whether there are actions that are no numbers."""
    kinds = actions_of(env), backward_actions_of(env)
    return not all(isinstance(kind, Categorical) for kind in kinds)


def _kind(env: Environment, forward: bool) -> Actions:
    return actions_of(env) if forward else backward_actions_of(env)


def _support(env: Environment, forward: bool, state: PyTree) -> PyTree:
    return env.forward_mask(state) if forward else env.backward_mask(state)


def _check_side(env: Environment, states: PyTree, key: Array, name: str, forward: bool) -> None:
    kind, other = _kind(env, forward), _kind(env, not forward)

    def look(state: PyTree, elsewhere: PyTree, key: Array) -> dict[str, Array]:
        params_key, noise_key = jax.random.split(key)
        params, noise = _random(kind.neutral(), params_key), kind.noise(noise_key, (2,))
        support, strange = (_support(env, forward, s) for s in (state, elsewhere))
        both = jax.tree.map(lambda *x: jnp.stack(x), support, strange)
        drawn = jax.vmap(kind.sample, (None, 0, 0))(params, both, noise)
        found = jax.vmap(jax.value_and_grad(kind.log_prob), (None, None, 0))(params, support, drawn)
        action = jax.tree.map(lambda x: x[0], drawn)
        if forward:
            reached, back = env.step(state, action), env.backward_action(state, action)
        else:
            reached = env.backward_step(state, action)
            back = env.forward_action(state, action)
        again = other.log_prob(other.neutral(), _support(env, not forward, reached), back)
        possible = kind.possible(support)
        return {
            "sample: must give what `allows` allows": kind.allows(support, action) | ~possible,
            "log_prob: must be finite, with its gradient, of any action": _finite(found),
            "log_prob: of the way back must be finite": _finite(again) | ~possible,
        }

    count = jax.tree.leaves(states)[0].shape[0]
    elsewhere = jax.tree.map(lambda x: np.roll(x, 1, axis=0), states)
    found = each(look)(states, elsewhere, jax.random.split(key, count))
    for promise, kept in found.items():
        require(kept, f"{name}.{promise}; broken in {first(~kept, states)}")


def _check_way_back(env: Environment, states: PyTree, key: Array) -> None:
    """Random steps back must come to s_0 exactly, and within `max_steps`."""
    undoing = backward_actions_of(env)

    def back(state: PyTree, key: Array) -> Array:
        noise = undoing.noise(key, (env.max_steps,))

        def move(state: PyTree, noise: PyTree) -> tuple[PyTree, None]:
            undo = undoing.sample(undoing.neutral(), env.backward_mask(state), noise)
            return env.backward_step(state, undo), None

        last, _ = lax.scan(move, state, noise)
        source = source_state(env)
        exact = jax.tree.map(lambda x, y: (x == y).all(), last, source)
        return jnp.stack(jax.tree.leaves(exact)).all()

    count = jax.tree.leaves(states)[0].shape[0]
    came = each(back)(states, jax.random.split(key, count))
    require(
        came,
        f"backward_step: max_steps = {env.max_steps} random steps back must end in s_0 exactly; "
        f"they do not from {first(~came, states)}",
    )


def _random(neutral: PyTree, key: Array) -> PyTree:
    """Parameters of a policy that is decided."""
    leaves, structure = jax.tree.flatten(neutral)
    keys = jax.random.split(key, len(leaves))
    noise = (jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True))
    return structure.unflatten([x + SPREAD * n for x, n in zip(leaves, noise, strict=True)])


def _finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()
