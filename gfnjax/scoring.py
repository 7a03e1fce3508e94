"""Trajectory -> Scores: what the current policy, without exploration, says about a path.

The policy is evaluated once per visited state: on live states only, in chunks, or densely.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from gfnjax import log_rewards, masking, packing
from gfnjax.actions import Action, Categorical, actions_of, backward_actions_of
from gfnjax.envs.base import Environment, RandomSource, State, at_source, is_acyclic
from gfnjax.shapes import check_one, check_trajectories
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


class StatePolicy(Protocol):
    """What any policy can do: judge a state on its own. A pytree."""

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput: ...


class BackwardPolicy(Protocol):
    """A callable pytree: backward logits of one state, before masking.

    One that goes by the state alone may say so, `reads_output = False`; it may then be given None
    for the policy's output, and no network is asked about terminal states on its account.
    """

    def __call__(self, env: Environment, state: State, output: PolicyOutput) -> Array: ...


class Visit(NamedTuple):
    """A visited state, the action taken there and the backward action that undoes the arrival."""

    state: State
    action: Action
    backward_action: Action


class VisitScores(NamedTuple):
    """`[]` each: log P_F of the action, log P_B of the backward action, log F of the state.

    log P_B only where it is read off the policy's output. Where they are needed, as in `Scores`:
    log P_F(stop), the value and log P_F of all actions. Of what is known already `weight` may say
    how much of its gradient counts: 0 for the visits that need not be looked at again.
    """

    log_pf: Array
    log_pb: Array | None
    log_flow: Array
    log_stop: Array | None = None
    log_value: Array | None = None
    log_policy: Array | None = None
    weight: Array | None = None


class Reading(NamedTuple):
    """What is read off a policy's output in a visited state.

    Attributes:
        env: the environment.
        backward: the backward policy.
        needs: fields of `Scores` to fill besides.
    """

    env: Environment
    backward: BackwardPolicy
    needs: frozenset[str] = frozenset()

    @property
    def log_pb(self) -> bool:
        """Whether P_B is read off it: not if there is no choice, or none that depends on it."""
        choice = backward_actions_of(self.env) != Categorical(1)
        return choice and getattr(self.backward, "reads_output", True)

    @property
    def ends(self) -> bool:
        """Whether anything is read in terminal states, where there is nothing left to do."""
        return self.log_pb or "raw_flow" in self.needs

    def num_states(self, num_visits: int) -> int:
        """How many of so many states of a trajectory are read at most: the last if any is."""
        whole = is_acyclic(self.env) and num_visits == self.env.max_steps + 1
        return num_visits - (whole and not self.ends)


def score(
    env: Environment,
    policy: StatePolicy,
    backward: BackwardPolicy,
    params: PyTree,
    trajectories: Trajectory,
    *,
    log_z: Array | float = 0.0,
    chunk_size: int | None = None,
    rows: VisitScores | None = None,
    needs: frozenset[str] = frozenset(),
) -> Scores:
    """Score a batch of trajectories under the current policy.

    Args:
        env: the environment.
        policy: the policy.
        backward: the backward policy.
        params: of the policy; scores are differentiable in them.
        trajectories: `[B, ...]`.
        log_z: `[]` learned log Z, copied into the scores.
        chunk_size: live states evaluated at a time, so that cost follows live transitions. None
            evaluates the padding too: slower, but differentiable in every mode.
        rows: `[B, T + 1, ...]` what `params` say of the same visits, where a rollout has recorded
            that; only the gradient is then left to compute.
        needs: fields of `Scores` to fill besides, those that one look at each state can give.

    Returns:
        Scores `[B, ...]`.

    Raises:
        ValueError: for trajectories that are no batch, or whose fields disagree about B or T.
    """
    model = env, policy, backward, params, trajectories
    found = read_visits(*model, evaluate, read, needs, chunk_size=chunk_size, rows=rows)
    return assemble(env, backward, trajectories, found, log_z, needs)


def evaluate(policy: StatePolicy, params: PyTree, env: Environment, state: State) -> PolicyOutput:
    """`policy.evaluate`: the same function for all policies, as compiled code goes by it."""
    return policy.evaluate(params, env, state)


def read_visits(
    env: Environment,
    policy: Any,
    backward: BackwardPolicy,
    params: PyTree,
    trajectories: Trajectory,
    evaluate: Callable[[Any, PyTree, Environment, State], PolicyOutput],
    read: Callable[[Reading, PolicyOutput, Visit], VisitScores],
    needs: frozenset[str],
    *,
    chunk_size: int | None = None,
    rows: VisitScores | None = None,
) -> VisitScores:
    """`[B, T + 1, ...]` what `read` makes of the output of `evaluate` in the visited states.

    In all of them, or in all but terminal ones where nothing is read there.
    """
    check_trajectories(trajectories)
    visited, last = visits(env, trajectories), trajectories.length
    num_visits = jax.tree.leaves(visited.state)[0].shape[1]
    reading = Reading(env, backward, needs)
    if not reading.ends:
        last = last - is_complete(env, trajectories).astype(jnp.int32)
    size = reading.num_states(num_visits)
    first = partial(jax.tree.map, lambda x: _fold(x[:, :size]))
    live = jnp.arange(size, dtype=jnp.int32)[None] <= last[:, None]
    context = env, backward, policy  # a frozen part of the policy is no parameter
    known = first(jax.lax.stop_gradient(rows))
    weight = None
    if known is not None:
        known, weight = known._replace(weight=None), known.weight

    def visit_scores(params: PyTree, context: PyTree, visit: Visit) -> VisitScores:
        env, backward, policy = context
        output = evaluate(policy, params, env, visit.state)
        return read(Reading(env, backward, needs), output, visit)

    model = visit_scores, params, context, first(visited)
    if weight is None or chunk_size is None:
        scores = _map(*model, _fold(live), chunk_size, known)
    else:
        scores = _map(*model, _fold(live) & (weight > 0), chunk_size, known)
        scores = jax.tree.map(partial(_weighted, weight), scores, known)

    def unfold(x: Array) -> Array:
        x = x.reshape(*live.shape, *x.shape[1:])
        return jnp.pad(x, ((0, 0), (0, num_visits - size), *((0, 0),) * (x.ndim - 2)))

    scores = jax.tree.map(unfold, scores)
    # Nobody needs the flow of a terminal state. One that is not, after `max_steps`, must not pass.
    return scores._replace(log_flow=scores.log_flow.at[:, size:].set(jnp.inf))


def assemble(
    env: Environment,
    backward: BackwardPolicy,
    trajectories: Trajectory,
    rows: VisitScores,
    log_z: Array | float,
    needs: frozenset[str] = frozenset(),
) -> Scores:
    """Scores `[B, ...]` from the scores `[B, T + 1]` of all visits, arbitrary after the end."""
    check_trajectories(trajectories)
    steps = jnp.arange(rows.log_pf.shape[1], dtype=jnp.int32)[None]
    length = trajectories.length[:, None]
    live = steps <= length
    log_reward = trajectories.log_reward
    complete = is_complete(env, trajectories)
    terminal = (steps == length) & complete[:, None]

    def interior(values: Array | None, at_the_end: Array | float) -> Array | None:
        """Values of the states that are not terminal, `at_the_end` of those that are."""
        if values is None:
            return None
        return jnp.where(terminal, at_the_end, jnp.where(live, values, 0.0))

    log_flow = interior(rows.log_flow, log_reward[:, None])
    assert log_flow is not None
    log_pb = rows.log_pb
    if log_pb is None:
        log_pb = _log_pb(env, backward, trajectories, live & (steps > 0))
    partial_reward = None
    if "log_partial_reward" in needs:
        partial_reward = log_rewards.partial_rewards(env, trajectories, live & ~terminal)
    first = jax.tree.map(lambda x: x[:, 0], trajectories.states)
    log_pf, from_source = rows.log_pf[:, :-1], None
    windows = "from_source" in needs and steps.shape[1] <= env.max_steps
    if windows or not is_acyclic(env) or isinstance(env, RandomSource):
        from_source = jax.vmap(partial(at_source, env))(first)
    if isinstance(env, RandomSource):
        log_pf = log_pf.at[:, 0].add(jax.vmap(partial(_log_source, env))(first))
    return Scores(
        log_pf=jnp.where(live[:, 1:], log_pf, 0.0),
        log_pb=jnp.where(live[:, 1:], log_pb[:, 1:], 0.0),
        log_flow=log_flow,
        log_reward=log_reward,
        log_z=jnp.broadcast_to(jnp.asarray(log_z, log_reward.dtype), log_reward.shape),
        mask=live[:, 1:],
        length=trajectories.length,
        complete=complete,
        log_partial_reward=interior(partial_reward, log_reward[:, None]),
        log_stop=interior(rows.log_stop, 0.0),
        log_value=interior(rows.log_value, log_reward[:, None]),
        raw_flow=jnp.where(live, rows.log_flow, 0.0) if "raw_flow" in needs else None,
        log_policy=rows.log_policy,
        from_source=from_source,
    )


def _log_source(env: RandomSource, state: State) -> Array:
    """`[]` nats that the first step has besides log P_F, zero in all states but s_0."""
    return jnp.where(at_source(env, state), env.log_source(state), 0.0)


def is_complete(env: Environment, trajectories: Trajectory) -> Array:
    """`[B]` whether trajectories have come to a terminal state; windows need not."""
    return jax.vmap(env.is_terminal)(jax.tree.map(lambda x: x[:, -1], trajectories.states))


def _log_pb(
    env: Environment, backward: BackwardPolicy, trajectories: Trajectory, wanted: Array
) -> Array:
    """`[B, T + 1]` log P_B of the arrival in the states that are `wanted`, zero elsewhere."""
    if backward_actions_of(env) == Categorical(1):
        return jnp.zeros(wanted.shape, trajectories.log_reward.dtype)
    env, backward = jax.lax.stop_gradient((env, backward))

    def arrival(visit: Visit) -> Array:
        logits = backward(env, visit.state, None)  # pyrefly: ignore
        undoable = env.backward_mask(visit.state)
        return backward_actions_of(env).log_prob(logits, undoable, visit.backward_action)

    rows = jax.tree.map(_fold, visits(env, trajectories))
    size = packing.chunk_of(wanted.size)
    return packing.evaluate_live(arrival, rows, _fold(wanted), size).reshape(wanted.shape)


def log_inflow(
    env: Environment,
    policy: StatePolicy,
    params: PyTree,
    trajectories: Trajectory,
    *,
    chunk_size: int | None = None,
    log_z: Array | float = 0.0,
) -> Array:
    """log sum over parents s of F(s) P_F(s' | s), for every visited state s' but s_0.

    Where s_1 is drawn F(s_0) is `log_z`; else it is what the network says.

    Returns:
        `[B, T + 1]` nats, zero at s_0 and after the end.

    Raises:
        ValueError: as in `score`.
    """
    check_trajectories(trajectories)
    horizon = jax.tree.leaves(trajectories.states)[0].shape[1]
    steps = jnp.arange(horizon, dtype=jnp.int32)[None]
    live = (steps > 0) & (steps <= trajectories.length[:, None])
    states = jax.tree.map(_fold, trajectories.states)
    undo = jnp.arange(env.num_backward_actions, dtype=jnp.int32)
    valid = jax.vmap(env.backward_mask)(states) & _fold(live)[:, None]

    def edge(held: PyTree, context: PyTree, row: tuple[State, Array]) -> Array:
        (params, log_z), (env, policy) = held, context
        state, backward_action = row
        parent = env.backward_step(state, backward_action)
        output = policy.evaluate(params, env, parent)
        log_pf = masking.log_softmax(output.forward_logits, env.forward_mask(parent))
        action = env.forward_action(state, backward_action)
        log_flow = output.log_flow + masking.select(log_pf, action)
        if not isinstance(env, RandomSource):
            return log_flow
        return jnp.where(at_source(env, parent), log_z + env.log_source(parent), log_flow)

    rows = (
        jax.tree.map(lambda x: jnp.repeat(x, undo.size, axis=0), states),
        jnp.tile(undo, valid.shape[0]),
    )
    held = params, jnp.asarray(log_z, jnp.result_type(float))
    edges = _map(edge, held, (env, policy), rows, valid.reshape(-1), chunk_size)
    inflow = masking.logsumexp(edges.reshape(valid.shape), valid).reshape(live.shape)
    return jnp.where(live, inflow, 0.0)


def _map(
    fn: Callable[..., PyTree],
    params: PyTree,
    context: PyTree,
    rows: PyTree,
    live: Array,
    chunk_size: int | None,
    known: PyTree | None = None,
) -> PyTree:
    if chunk_size is None:
        return packing.map_all(fn, params, context, rows, live)
    return packing.map_live(fn, params, context, rows, live, chunk_size, known)


def _weighted(weight: Array, drawn: Array, known: Array) -> Array:
    """`[N, ...]` values as known, with `weight` `[N]` times the gradient of those drawn."""
    scale = weight.reshape(weight.shape + (1,) * (drawn.ndim - 1)).astype(drawn.dtype)
    return known + scale * (drawn - jax.lax.stop_gradient(drawn))


def visits(env: Environment, trajectories: Trajectory) -> Visit:
    """`[B, T + 1]` visits; the action at the end and the backward action at s_0 are idle."""
    check_trajectories(trajectories)
    before = jax.tree.map(lambda x: x[:, :-1], trajectories.states)
    undo = jax.vmap(jax.vmap(env.backward_action))(before, trajectories.actions)
    horizon = jax.tree.leaves(before)[0].shape[1]
    live = jnp.arange(horizon, dtype=jnp.int32)[None] < trajectories.length[:, None]

    def idle(x: Array, first: int, last: int) -> Array:
        return jnp.pad(x, ((0, 0), (first, last), *((0, 0),) * (x.ndim - 2)))

    def undone(x: Array) -> Array:
        mask = live.reshape(live.shape + (1,) * (x.ndim - 2))
        return idle(jnp.where(mask, x, jnp.zeros_like(x)), 1, 0)

    return Visit(
        trajectories.states,
        jax.tree.map(lambda x: idle(x, 0, 1), trajectories.actions),
        jax.tree.map(undone, undo),
    )


def read(reading: Reading, output: PolicyOutput, visit: Visit) -> VisitScores:
    """What `output` of the policy says about one visit."""
    env, backward, needs = reading
    state, params = visit.state, output.forward_logits
    support, undoable = env.forward_mask(state), env.backward_mask(state)
    log_pb = log_policy = None
    if reading.log_pb:
        logits = backward(env, state, output)
        log_pb = backward_actions_of(env).log_prob(logits, undoable, visit.backward_action)
    if needs & {"log_stop", "log_policy"}:  # of all actions: they are numbered, which is checked
        log_policy = masking.log_softmax(params, support)
    return VisitScores(
        actions_of(env).log_prob(params, support, visit.action),
        log_pb,
        output.log_flow,
        log_stop=None if "log_stop" not in needs else log_policy[env.stop_action],  # pyrefly: ignore
        log_value=masking.logsumexp(params, support) if "log_value" in needs else None,
        log_policy=log_policy if "log_policy" in needs else None,
    )


def _fold(x: Array) -> Array:
    """`[B, T, ...] -> [B * T, ...]`."""
    return x.reshape(-1, *x.shape[2:])


def terminal_step(scores: Scores) -> Array:
    """`[T + 1]` True where s_t is the terminal state of one trajectory; nowhere in a window."""
    check_one(scores)
    step = jnp.arange(scores.log_flow.size, dtype=jnp.int32)
    return (step == scores.length) & scores.complete
