"""Forward and backward rollouts, batched, stopping when every trajectory has ended.

Randomness is drawn once, before the loop; what is recorded of a visit are a few numbers, never
all that the policy says of all actions. Nothing here is differentiated: sample first, then
score what was sampled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import log_rewards, packing, spread
from gfnjax.actions import Action, Actions, actions_of, backward_actions_of, tempered, usual
from gfnjax.envs.base import (
    Environment,
    State,
    equal_lengths,
    is_acyclic,
    source_drawer,
    source_state,
)
from gfnjax.shapes import check_shape, check_states, check_trajectories
from gfnjax.step_buffers import repeat_last, room, where, write
from gfnjax.tuning import tuning
from gfnjax.types import Array, PyTree, Trajectory


class Window(NamedTuple):
    """A part of a rollout: `length` steps from each of the `states` `[B, ...]`, or to the end."""

    states: State
    length: int


class Arrival(NamedTuple):
    """How a state was reached: the action taken before, and the one that undoes it; 0 at first."""

    action: Action
    undo: Action


class Decision(NamedTuple):
    """What decides in a batch of states: parameters of the actions, and what to remember of it."""

    params: PyTree
    said: PyTree = None


class Turn(NamedTuple):
    """Where one trajectory stands, how it came there, and the noise of what it does next.

    `temperature` `[]` is its own, on top of whatever decides; None for 1.
    """

    state: State
    arrival: Arrival
    noise: PyTree
    temperature: Array | None = None


# What a decision comes to in one turn: the action, and what is recorded of the visit.
Finish = Callable[[Turn, Decision], tuple[Action, PyTree]]
# (memory, t, turns [B, ...], live [B], finish) -> memory, and what `finish` makes of the decision
# in each turn, [B, ...]; rows that are not live may hold anything.
Act = Callable[[PyTree, Array, Turn, Array, Finish], tuple[PyTree, tuple[Action, PyTree]]]


class Walk(NamedTuple):
    """A rollout under way, after `t` steps; `[B, ...]` all but `t` and `memory`."""

    t: Array
    done: Array
    state: State
    arrival: Arrival
    length: Array
    memory: PyTree
    buffers: PyTree


class Record(NamedTuple):
    """What is recorded of visits, a few numbers of each.

    Attributes:
        of: what is said in a state, the state, the action there, and the one that undoes the
            arrival, to what is recorded.
        ends: whether terminal states are recorded too.
    """

    of: Callable[[PyTree, State, Action, Action], PyTree]
    ends: bool


def sample_forward(
    env: Environment,
    decide: Callable[[State], Decision],
    key: Array,
    batch_size: int,
    window: Window | None = None,
    record: Record | None = None,
    sources: State | None = None,
    temperature: Array | None = None,
) -> tuple[Trajectory, PyTree]:
    """Build `batch_size` objects from s_0, or go on with unfinished ones.

    Args:
        env: the environment.
        decide: what acts in one state.
        key: a typed PRNG key.
        batch_size: number of trajectories B.
        window: where to start and how far to go, instead of from s_0 to the end.
        record: what to keep of each visit; nothing without.
        sources: as in `rollout`.
        temperature: as in `rollout`.

    Returns:
        Trajectories `[B, ...]`, and the records of all states `[B, T + 1, ...]`, arbitrary after
        the end, and in terminal states unless they are asked for; None without `record`.
    """

    def act(memory: PyTree, t: Array, turns: Turn, live: Array, finish: Finish) -> Any:
        known = None if equal_lengths(env) else live
        return memory, act_live(lambda turn: finish(turn, decide(turn.state)), turns, known)

    given = batch_size, window, record, sources, temperature
    return rollout(env, act, lambda states: (), key, *given)


def rollout(
    env: Environment,
    act: Act,
    start: Callable[[State], PyTree],
    key: Array,
    batch_size: int,
    window: Window | None = None,
    record: Record | None = None,
    sources: State | None = None,
    temperature: Array | None = None,
) -> tuple[Trajectory, PyTree]:
    """The loop behind every forward sampler.

    Args:
        env: the environment.
        act: what acts in a batch of states.
        start: states `[B, ...]` before the first step to what `act` remembers.
        key: a typed PRNG key.
        batch_size: number of trajectories B, of the whole batch where several devices have parts
            of it (`gfnjax.spread`); each then builds its own, and has its own in all arrays.
        window: as in `sample_forward`.
        record: as in `sample_forward`.
        sources: `[b, ...]` the states s_0 to start in, this device's own; drawn without.
        temperature: `[b]` one for each trajectory, by which logits are divided, on top of what
            `act` makes of them; 1 without. For `Categorical` actions.

    Returns:
        As `sample_forward`.
    """
    key, source_key = jax.random.split(key)
    if sources is not None:
        state = sources
    else:
        state = draw_sources(env, source_key, batch_size) if window is None else window.states
    memory, actions = start(state), actions_of(env)
    horizon = env.max_steps if window is None else window.length
    noise = spread.rows(actions.noise(key, (horizon + 1, batch_size)), axis=1)
    batch_size = spread.part_of("batch_size", batch_size)
    length = jnp.zeros(batch_size, jnp.int32)
    time, done = jnp.zeros((), jnp.int32), jnp.zeros(batch_size, bool)
    arrival = no_arrival(env, batch_size)
    step = partial(_step, env, act, actions, record, temperature)
    shapes = jax.eval_shape(step, memory, time, state, arrival, noise, done)
    ends = record is not None and record.ends
    # Where that may not be an end the last state is recorded all the same.
    cuts = window is not None or not is_acyclic(env)
    num_steps = horizon + (ends or (record is not None and cuts))
    at_once, num_slots = _blocks(num_steps)
    limit = horizon if cuts else num_steps if num_slots > num_steps else None
    buffers = room((state, arrival.action, shapes[2]), max(horizon + 1, num_slots))

    def block(walk: Walk) -> Walk:
        advance = partial(_advance, env, partial(step, noise=noise), ends, limit)
        return lax.fori_loop(0, at_once, lambda _, walk: advance(walk), walk, unroll=True)

    walk = lax.while_loop(
        lambda walk: (walk.t < num_steps) & ~walk.done.all(),
        block,
        Walk(time, done, state, arrival, length, memory, buffers),
    )
    states, taken, records = walk.buffers
    # What ended before the others, and steps too many, have left anything behind them.
    states, records = jax.tree.map(lambda x: x[:, : horizon + 1], (states, records))
    states = repeat_last(states, walk.state, walk.length)
    taken = jax.tree.map(lambda x: x[:, :horizon], taken)
    cut = jnp.zeros(batch_size, bool) if window else ~jax.vmap(env.is_terminal)(walk.state)
    unpaid = jnp.zeros(batch_size, jnp.result_type(float))
    found = Trajectory(states, taken, walk.length, unpaid, cut)
    if window is None:
        return log_rewards.paid(env, found, walk.state), records
    return found._replace(log_reward=log_rewards.of_ended(env, walk.state)), records


def _advance(
    env: Environment, step: Callable[..., Any], ends: bool, limit: int | None, walk: Walk
) -> Walk:
    """One step of what is not done; `ends` and `limit` say when that is, see `rollout`."""
    t, done, state, arrival, length, memory, buffers = walk
    ended = jax.vmap(env.is_terminal)(state)
    if limit is not None:
        ended |= t >= limit
    memory, action, row = step(memory, t, state, arrival, done=done)
    action = choose(ended, jax.tree.map(jnp.zeros_like, action), action)
    buffers = write(buffers, (state, action, row), t)
    following = jax.vmap(env.step)(state, action)
    if limit is not None:  # only there a state that has ended may allow a step
        following = choose(ended, state, following)
    undo = arrival.undo
    if ends:
        undo = choose(ended, undo, jax.vmap(env.backward_action)(state, action))
    done = ended if ends else jax.vmap(env.is_terminal)(following)
    length = length + (~ended).astype(jnp.int32)
    return Walk(t + 1, done, following, Arrival(action, undo), length, memory, buffers)


def _blocks(num_steps: int) -> tuple[int, int]:
    """Steps at once, and all of them at most: `num_steps`, or a few more that do nothing."""
    blocks = max(-(-num_steps // tuning().steps_at_once), 1)
    at_once = max(-(-num_steps // blocks), 1)
    return at_once, blocks * at_once


def _step(
    env: Environment,
    act: Act,
    actions: Actions,
    record: Record | None,
    temperature: Array | None,
    memory: PyTree,
    t: Array,
    state: State,
    arrival: Arrival,
    noise: PyTree,
    done: Array,
) -> tuple[PyTree, Action, PyTree]:
    """Memory, actions `[B, ...]` and records `[B, ...]` of one step."""

    def finish(turn: Turn, decision: Decision) -> tuple[Action, PyTree]:
        params = decision.params
        if turn.temperature is not None:
            params = tempered(params, turn.temperature)
        action = actions.sample(params, env.forward_mask(turn.state), turn.noise)
        if record is None:
            return action, None
        return action, record.of(decision.said, turn.state, action, turn.arrival.undo)

    turns = Turn(state, arrival, jax.tree.map(lambda x: x[t], noise), temperature)
    memory, (action, row) = act(memory, t, turns, ~done, finish)
    return memory, action, row


def no_arrival(env: Environment, batch_size: int) -> Arrival:
    """`[B, ...]` zeros in the form of actions."""

    def zeros(actions: Actions, support: PyTree) -> Action:
        shapes = jax.eval_shape(partial(usual, actions), support)
        return jax.tree.map(lambda x: jnp.zeros((batch_size, *x.shape), x.dtype), shapes)

    source = source_state(env)
    return Arrival(
        zeros(actions_of(env), env.forward_mask(source)),
        zeros(backward_actions_of(env), env.backward_mask(source)),
    )


def sample_backward(
    env: Environment, behaviour: Callable[[State], PyTree], key: Array, terminal_states: State
) -> Trajectory:
    """Take the objects apart: trajectories that end in `terminal_states`, drawn from P_B.

    Args:
        env: the environment.
        behaviour: one state to the parameters of its backward actions.
        key: a typed PRNG key.
        terminal_states: `[B, ...]`.

    Returns:
        Trajectories `[B, ...]`, in forward order, of the same form as `sample_forward` returns;
        those that have not come back to s_0 within `max_steps` are `cut`.

    Raises:
        ValueError: if `terminal_states` are no batch of states.
    """
    check_states("terminal_states", terminal_states, source_state(env))
    horizon, undoing = env.max_steps, backward_actions_of(env)
    batch_size = jax.tree.leaves(terminal_states)[0].shape[0]
    noise = spread.rows(undoing.noise(key, (horizon, spread.whole(batch_size))), axis=1)
    at_source = jax.vmap(lambda s: ~undoing.possible(env.backward_mask(s)))
    length = jnp.zeros(batch_size, jnp.int32)
    taken = no_arrival(env, batch_size).action
    buffers = room(terminal_states, horizon + 1), room(taken, horizon)

    def body(carry: PyTree) -> PyTree:
        t, _, state, length, (states, actions) = carry
        ended = at_source(state)
        support, now = jax.vmap(env.backward_mask)(state), jax.tree.map(lambda x: x[t], noise)
        undo = jax.vmap(undoing.sample)(jax.vmap(behaviour)(state), support, now)
        parent = jax.vmap(env.backward_step)(state, undo)
        parent = choose(ended, state, parent)
        action = jax.vmap(env.forward_action)(state, undo)
        buffers = write(states, state, t), write(actions, action, t)
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
    states = jax.tree.map(lambda x: reorder(x, slot), states)
    states = jax.tree.map(lambda x, s0: x.at[:, 0].set(s0), states, source)
    before = jnp.maximum(slot[:, :-1] - 1, 0)
    live = steps[:, :-1] < length[:, None]

    def in_order(x: Array) -> Array:
        x = reorder(x, before)
        return where(live, x, jnp.zeros_like(x))

    actions = jax.tree.map(in_order, actions)
    states = repeat_last(states, terminal_states, length)
    unpaid = jnp.zeros(batch_size, jnp.result_type(float))
    found = Trajectory(states, actions, length, unpaid, ~at_source(source))
    # Samplers go on to splice what comes from here: rewards of its states would not fit for long.
    return log_rewards.paid(env, found, terminal_states)._replace(log_path_reward=None)


def draw_sources(env: Environment, key: Array, batch_size: int) -> State:
    """`[B, ...]` states s_0, each drawn for itself where they differ."""
    if (draw := source_drawer(env)) is not None:
        return jax.vmap(draw)(spread.rows(jax.random.split(key, batch_size)))
    return tile(source_state(env), spread.part_of("batch_size", batch_size))


def terminal_states(trajectories: Trajectory) -> State:
    """The objects a batch of trajectories `[B, ...]` ended in, `[B, ...]`.

    Raises:
        ValueError: for trajectories that are no batch, of one alone for instance.
    """
    check_trajectories(trajectories)
    return jax.tree.map(lambda x: x[:, -1], trajectories.states)


def choose(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    """`[B, ...]` rows of `new` where `condition` `[B]` holds, else of `old`."""

    def pick(x: Array, y: Array) -> Array:
        check_shape("condition", condition, x.shape[: condition.ndim], "[B]")
        return where(condition, x, y)

    return jax.tree.map(pick, new, old)


def act_live(behaviour: Callable[[PyTree], PyTree], state: PyTree, live: Array | None) -> PyTree:
    """`behaviour` in a batch of states, in a large batch in the live ones only; None for all."""
    least = tuning().packed_batch
    if live is None or least is None or live.size < least:
        return jax.vmap(behaviour)(state)
    return packing.evaluate_live(behaviour, state, live, live.size // 4)


def tile(tree: PyTree, batch_size: int) -> PyTree:
    """`[B, ...]` copies of an unbatched tree."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (batch_size, *x.shape)), tree)
