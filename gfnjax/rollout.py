"""Forward and backward rollouts, batched, stopping when every trajectory has ended.

Randomness is drawn once, before the loop. Nothing here is differentiated: sample first, then
score what was sampled.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking, packing
from gfnjax.envs.base import Conditioned, Environment, State, log_reward_of, source_state
from gfnjax.types import Array, PyTree, Trajectory

# From this batch size on, dead rows cost more than packing the live ones at every step.
PACKED_BATCH = 256


class Window(NamedTuple):
    """A part of a rollout: `length` steps from each of the `states` `[B, ...]`, or to the end."""

    states: State
    length: int


def sample_forward(
    env: Environment,
    behaviour: Callable[[State], tuple[Array, PyTree]],
    key: Array,
    batch_size: int,
    window: Window | None = None,
) -> tuple[Trajectory, PyTree]:
    """Build `batch_size` objects from s_0, or go on with unfinished ones.

    Args:
        env: the environment.
        behaviour: one state to `[num_actions]` logits of the policy that acts, and a record: any
            pytree of arrays worth keeping, such as the policy output, or None.
        key: a typed PRNG key.
        batch_size: number of trajectories B.
        window: where to start and how far to go, instead of from s_0 to the end.

    Returns:
        Trajectories `[B, ...]`, and the records of all states `[B, T + 1, ...]`, terminal ones
        included and arbitrary after the end.
    """

    def act(memory: PyTree, t: Array, state: State, token: Array, live: Array) -> PyTree:
        return memory, *act_live(behaviour, state, live)

    return rollout(env, act, lambda states: (), key, batch_size, window)


def rollout(
    env: Environment,
    act: Callable[[PyTree, Array, State, Array, Array], tuple[PyTree, Array, PyTree]],
    start: Callable[[State], PyTree],
    key: Array,
    batch_size: int,
    window: Window | None = None,
) -> tuple[Trajectory, PyTree]:
    """The loop behind every forward sampler.

    Args:
        env: the environment.
        act: `(memory, t, states [B, ...], tokens [B], live [B]) -> (memory, logits
            [B, num_actions], records [B, ...])`; a token is one more than the action that led
            to the state, 0 at s_0; rows that are not live may hold anything.
        start: states `[B, ...]` before the first step to memory.
        key: a typed PRNG key.
        batch_size: number of trajectories B.
        window: as in `sample_forward`.

    Returns:
        As `sample_forward`.
    """
    key, source_key = jax.random.split(key)
    state = draw_sources(env, source_key, batch_size) if window is None else window.states
    memory = start(state)
    horizon = env.max_steps if window is None else window.length
    gumbel = _gumbel(key, horizon + 1, batch_size, env.num_actions)
    length = jnp.zeros(batch_size, jnp.int32)
    time, done = jnp.zeros((), jnp.int32), jnp.zeros(batch_size, bool)
    _, _, record = jax.eval_shape(act, memory, time, state, length, done)
    recording = bool(jax.tree.leaves(record))
    # One slot too many for actions: evaluating a terminal state writes one after the last step.
    buffers = _buffer((state, length, record), horizon + 1)

    def body(carry: PyTree) -> PyTree:
        t, done, state, token, length, memory, (states, actions, records) = carry
        ended = jax.vmap(env.is_terminal)(state)
        if window is not None:
            ended |= t >= horizon
        memory, logits, record = act(memory, t, state, token, ~done)
        action = masking.sample(logits, jax.vmap(env.forward_mask)(state), gumbel[t])
        action = jnp.where(ended, 0, action)
        buffers = _write(states, state, t), _write(actions, action, t), _write(records, record, t)
        following = jax.vmap(env.step)(state, action)
        if window is not None:  # only there a state that has ended may allow a step
            following = choose(ended, state, following)
        # With records, a trajectory is done when its terminal state has been evaluated as well.
        done = ended if recording else jax.vmap(env.is_terminal)(following)
        length = length + (~ended).astype(jnp.int32)
        return t + 1, done, following, action + 1, length, memory, buffers

    _, _, terminal, _, length, _, buffers = lax.while_loop(
        lambda carry: (carry[0] < horizon + recording) & ~carry[1].all(),
        body,
        (time, done, state, length, length, memory, buffers),
    )
    states, actions, records = jax.tree.map(_batch_first, buffers)
    log_reward = jax.vmap(partial(log_reward_of, env))(terminal)
    states = _repeat_last(states, terminal, length)
    return Trajectory(states, actions[:, :horizon], length, log_reward), records


def sample_backward(
    env: Environment, behaviour: Callable[[State], Array], key: Array, terminal_states: State
) -> Trajectory:
    """Take the objects apart: trajectories that end in `terminal_states`, drawn from P_B.

    Args:
        env: the environment.
        behaviour: one state to `[num_backward_actions]` logits.
        key: a typed PRNG key.
        terminal_states: `[B, ...]`.

    Returns:
        Trajectories `[B, ...]`, in forward order, of the same form as `sample_forward` returns.
    """
    horizon = env.max_steps
    batch_size = jax.tree.leaves(terminal_states)[0].shape[0]
    gumbel = _gumbel(key, horizon, batch_size, env.num_backward_actions)
    at_source = jax.vmap(lambda s: ~env.backward_mask(s).any())
    length = jnp.zeros(batch_size, jnp.int32)
    buffers = _buffer(terminal_states, horizon + 1), _buffer(length, horizon)

    def body(carry: PyTree) -> PyTree:
        t, _, state, length, (states, actions) = carry
        ended = at_source(state)
        mask = jax.vmap(env.backward_mask)(state)
        undo = masking.sample(jax.vmap(behaviour)(state), mask, gumbel[t])
        parent = jax.vmap(env.backward_step)(state, undo)
        parent = choose(ended, state, parent)
        action = jax.vmap(env.forward_action)(state, undo)
        buffers = _write(states, state, t), _write(actions, action, t)
        return t + 1, at_source(parent).all(), parent, length + (~ended).astype(jnp.int32), buffers

    carry = (
        jnp.zeros((), jnp.int32),
        at_source(terminal_states).all(),
        terminal_states,
        length,
        buffers,
    )
    _, _, source, length, (states, actions) = lax.while_loop(
        lambda carry: (carry[0] < horizon) & ~carry[1], body, carry
    )
    # Slot k was written k steps before the end: s_t is in slot length - t.
    steps = jnp.arange(horizon + 1, dtype=jnp.int32)[None]
    slot = jnp.clip(length[:, None] - steps, 0, horizon)
    reorder = jax.vmap(lambda x, index: x[index])
    states = jax.tree.map(lambda x: reorder(_batch_first(x), slot), states)
    states = jax.tree.map(lambda x, s0: x.at[:, 0].set(s0), states, source)
    actions = reorder(_batch_first(actions), jnp.maximum(slot[:, :-1] - 1, 0))
    actions = jnp.where(steps[:, :-1] < length[:, None], actions, 0)
    log_reward = jax.vmap(partial(log_reward_of, env))(terminal_states)
    return Trajectory(_repeat_last(states, terminal_states, length), actions, length, log_reward)


def draw_sources(env: Environment, key: Array, batch_size: int) -> State:
    """`[B, ...]` states s_0, each with a condition of its own where the environment has one."""
    if isinstance(env, Conditioned):
        return jax.vmap(env.draw_initial_state)(jax.random.split(key, batch_size))
    return tile(source_state(env), batch_size)


def terminal_states(trajectories: Trajectory) -> State:
    """The objects a batch of trajectories `[B, ...]` ended in, `[B, ...]`."""
    return jax.tree.map(lambda x: x[:, -1], trajectories.states)


def choose(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    """`[B, ...]` rows of `new` where `condition` `[B]` holds, else of `old`."""
    return jax.tree.map(lambda x, y: _where(condition, x, y), new, old)


def act_live(behaviour: Callable[[PyTree], PyTree], state: PyTree, live: Array) -> PyTree:
    """`behaviour` in a batch of states, in a large batch in the live ones only."""
    batch_size = live.size
    if batch_size < PACKED_BATCH:
        return jax.vmap(behaviour)(state)
    chunk_size = batch_size // 8
    return packing.evaluate_live(behaviour, state, live, chunk_size)


def _gumbel(key: Array, num_steps: int, batch_size: int, num_actions: int) -> Array:
    # Drawn flat: on CPU a small last axis makes the generator several times slower.
    flat = jax.random.gumbel(key, (num_steps * batch_size * num_actions,))
    return flat.reshape(num_steps, batch_size, num_actions)


def tile(tree: PyTree, batch_size: int) -> PyTree:
    """`[B, ...]` copies of an unbatched tree."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (batch_size, *x.shape)), tree)


def _buffer(tree: PyTree, size: int) -> PyTree:
    return jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), tree)


def _write(buffers: PyTree, values: PyTree, t: Array) -> PyTree:
    return jax.tree.map(
        lambda buffer, x: lax.dynamic_update_index_in_dim(buffer, x, t, 0), buffers, values
    )


def _batch_first(x: Array) -> Array:
    return jnp.swapaxes(x, 0, 1)


def _where(condition: Array, x: Array, y: Array) -> Array:
    return jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y)


def _repeat_last(states: PyTree, terminal: PyTree, length: Array) -> PyTree:
    """Pad `[B, T + 1, ...]` states from `length` on with the terminal state."""

    def pad(x: Array, last: Array) -> Array:
        before = jnp.arange(x.shape[1], dtype=jnp.int32)[None] < length[:, None]
        return _where(before, x, last[:, None])

    return jax.tree.map(pad, states, terminal)
