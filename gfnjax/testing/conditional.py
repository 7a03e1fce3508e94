"""What `check_environment` asks of a `Conditioned` environment besides."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax.envs.base import Conditioned
from gfnjax.types import Array, PyTree


def broken_promise(env: Conditioned, key: Array, num_trajectories: int) -> str | None:
    """What is wrong with drawn sources, in words; None if nothing is.

    They must look like `initial_state`, allow an action and have no parents; and a random
    trajectory from one, taken back at random, must end in that very source, condition included.
    """
    keys = jax.random.split(key, num_trajectories)
    drawn = jax.eval_shape(env.draw_initial_state, key)
    expected = jax.eval_shape(env.initial_state)
    if jax.tree.map(_form, drawn) != jax.tree.map(_form, expected):
        return f"draw_initial_state must return a state like initial_state: {expected}, got {drawn}"
    walk = jax.jit(jax.vmap(_there_and_back(env)))
    sources, ended, parents, returned = jax.device_get(walk(keys))
    for broken, message in (
        (ended, "draw_initial_state: a drawn source must allow some action; none in"),
        (parents, "draw_initial_state: a drawn source has no parents; backward_mask allows one in"),
        (
            ~returned,
            "step, backward_step: there and back again must be the source again:",
        ),
    ):
        if broken.any():
            return f"{message} {_at(sources, int(np.argmax(broken)))}"
    return None


def _at(states: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda x: x[i], states)


def _form(x: jax.ShapeDtypeStruct) -> tuple:
    return x.shape, x.dtype


def _there_and_back(env: Conditioned) -> Callable[[Array], tuple[PyTree, Array, Array, Array]]:
    """A function of a key: a drawn source, what is wrong with it, and whether it is kept."""

    def walk(state: PyTree, key: Array, mask: Callable, step: Callable) -> PyTree:
        def move(t: Array, state: PyTree) -> PyTree:
            allowed = mask(state)
            # Where nothing is allowed any action must leave the state as it is.
            logits = jnp.where(allowed | ~allowed.any(), 0.0, -jnp.inf)
            action = jax.random.categorical(jax.random.fold_in(key, t), logits)
            return step(state, action.astype(jnp.int32))

        return lax.fori_loop(0, env.max_steps, move, state)

    def row(key: Array) -> tuple[PyTree, Array, Array, Array]:
        draw_key, there_key, back_key = jax.random.split(key, 3)
        source = env.draw_initial_state(draw_key)
        end = walk(source, there_key, env.forward_mask, env.step)
        back = walk(end, back_key, env.backward_mask, env.backward_step)
        same = jax.tree.map(lambda x, y: (x == y).all(), source, back)
        ended = env.is_terminal(source) | ~env.forward_mask(source).any()
        parents = env.backward_mask(source).any()
        return source, ended, parents, jnp.stack(jax.tree.leaves(same)).all()

    return row
