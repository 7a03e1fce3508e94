"""Metropolis-Hastings with a GFlowNet as proposal: take a few steps back, then build again.

From x, K backward steps drawn from P_B lead to s, and forward steps drawn from P_F lead to x'.
The move is accepted with probability min(1, exp(r)),

    r = log R(x') - log R(x) + log q(x' -> x) - log q(x -> x'),
    log q(x -> x') = log P_B(x -> s) + log P_F(s -> x'),

both along the paths taken: detailed balance then holds path by path. Where K is itself drawn,
its probability is part of q. With the exact optimum
F(s) P_F(s -> x) = R(x) P_B(x -> s), hence r = 0: a perfect sampler accepts always
(Zhang et al., 2202.01361; Kim et al., 2310.02710).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import masking
from gfnjax.envs.base import State
from gfnjax.sampling import terminal_states, tile
from gfnjax.state import Params
from gfnjax.training import GFlowNet
from gfnjax.types import Array, Trajectory


class Move(NamedTuple):
    """One step of a batch of Markov chains over terminal states.

    Attributes:
        states: `[B, ...]` terminal states after the step.
        proposals: `[B, ...]` terminal states proposed.
        log_ratio: `[B]` r, nats; `masking.FILL` where K steps back from x' do not lead to s.
        accepted: `[B]` bool.
        rebuilt: `[B, ...]` the way forward, from s to x'.
        num_undone: `[B]` int32, steps taken back.
    """

    states: State
    proposals: State
    log_ratio: Array
    accepted: Array
    rebuilt: Trajectory
    num_undone: Array


class _Walk(NamedTuple):
    """A state, log P_F and log P_B there, and of the path: log P_F, log P_B and length."""

    state: State
    forward: Array
    backward: Array
    log_pf: Array
    log_pb: Array
    length: Array


def back_and_forth(
    gfn: GFlowNet,
    params: Params,
    key: Array,
    states: State,
    num_back: int,
    least_back: int | None = None,
) -> Move:
    """Move terminal states `[B, ...]` in a way that leaves R / Z invariant, whatever the policy.

    Where objects are built in trajectories of different lengths, a proposal whose way forward has
    another length than the way back is refused, unless both start at s_0: set `num_back` to
    `env.max_steps` to start every proposal there, or give `least_back`.

    Args:
        gfn: the sampler; its environment gives the reward.
        params: of the sampler.
        key: a typed PRNG key.
        states: where the chains are.
        num_back: K, steps taken back at most.
        least_back: draw K of each chain uniformly from `least_back` to `num_back`; a way forward of
            any length in that range can then be accepted. None takes `num_back` always.

    Raises:
        ValueError: if `num_back` or `least_back` is out of range.
    """
    env = gfn.env
    if not 1 <= num_back <= env.max_steps:
        raise ValueError(
            f"num_back must be between 1 and max_steps = {env.max_steps}, got {num_back}"
        )
    least = num_back if least_back is None else least_back
    if not 1 <= least <= num_back:
        raise ValueError(
            f"least_back must be between 1 and num_back = {num_back}, got {least_back}"
        )
    back_key, forth_key, accept_key = jax.random.split(key, 3)
    batch_size = jax.tree.leaves(states)[0].shape[0]
    back_noise = _gumbel(back_key, batch_size, num_back, env.num_backward_actions)
    forth_noise = _gumbel(forth_key, batch_size, env.max_steps, env.num_actions)
    count_key = jax.random.fold_in(key, 3)
    counts = jax.random.randint(count_key, (batch_size,), least, num_back + 1, jnp.int32)

    def row(
        state: State, count: Array, back_noise: Array, forth_noise: Array
    ) -> tuple[Array, Trajectory, Array]:
        def start(state: State) -> _Walk:
            zero = jnp.zeros((), jnp.result_type(float))
            return _Walk(state, *_evaluate(gfn, params, state), zero, zero, jnp.int32(0))

        back = _walk_back(gfn, params, start(state), count, back_noise)
        forth, rebuilt = _walk_forth(gfn, params, start(back.state), forth_noise)
        from_source = ~env.backward_mask(back.state).any()
        ways_back = _num_counts(forth.length, from_source, least, num_back)
        ways = _num_counts(back.length, from_source, least, num_back)
        log_ratio = (
            rebuilt.log_reward
            - env.log_reward(state)
            + (forth.log_pb + back.log_pf)
            - (back.log_pb + forth.log_pf)
            + jnp.log(jnp.maximum(ways_back, 1).astype(back.log_pf.dtype))
            - jnp.log(ways.astype(back.log_pf.dtype))
        )
        return jnp.where(ways_back > 0, log_ratio, masking.FILL), rebuilt, back.length

    log_ratio, rebuilt, num_undone = jax.vmap(row)(states, counts, back_noise, forth_noise)
    proposals = terminal_states(rebuilt)
    draws = jax.random.uniform(accept_key, log_ratio.shape, log_ratio.dtype)
    accepted = jnp.log(draws) < log_ratio

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(accepted.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    chosen = jax.tree.map(choose, proposals, states)
    return Move(chosen, proposals, log_ratio, accepted, rebuilt, num_undone)


def _num_counts(length: Array, from_source: Array, least: int, most: int) -> Array:
    """How many K in [least, most] lead from the end of a way of `length` to its start."""
    to_source = most + 1 - jnp.maximum(length, least)
    exact = ((length >= least) & (length <= most)).astype(jnp.int32)
    return jnp.maximum(jnp.where(from_source, to_source, exact), 0)


def _walk_back(gfn: GFlowNet, params: Params, walk: _Walk, count: Array, noise: Array) -> _Walk:
    """`count` steps of P_B, or to s_0; `noise` is `[K, num_backward_actions]`."""
    env = gfn.env

    def body(walk: _Walk, noise: Array) -> tuple[_Walk, None]:
        mask = env.backward_mask(walk.state)
        undo = masking.sample(walk.backward, mask, noise)
        action = env.forward_action(walk.state, undo)
        parent = env.backward_step(walk.state, undo)
        forward, backward = _evaluate(gfn, params, parent)
        moved = _Walk(
            parent,
            forward,
            backward,
            walk.log_pf + forward[action],
            walk.log_pb + walk.backward[undo],
            walk.length + 1,
        )
        return _select(mask.any() & (walk.length < count), moved, walk), None

    return lax.scan(body, walk, noise)[0]


def _walk_forth(
    gfn: GFlowNet, params: Params, walk: _Walk, noise: Array
) -> tuple[_Walk, Trajectory]:
    """Steps of P_F until the object is complete; `noise` is `[max_steps, num_actions]`."""
    env = gfn.env
    steps = jnp.arange(env.max_steps + 1, dtype=jnp.int32)

    def body(carry: tuple[_Walk, State, Array]) -> tuple[_Walk, State, Array]:
        walk, states, actions = carry
        action = masking.sample(walk.forward, env.forward_mask(walk.state), noise[walk.length])
        undo = env.backward_action(walk.state, action)
        child = env.step(walk.state, action)
        forward, backward = _evaluate(gfn, params, child)
        states = jax.tree.map(lambda x, y: x.at[walk.length].set(y), states, walk.state)
        moved = _Walk(
            child,
            forward,
            backward,
            walk.log_pf + walk.forward[action],
            walk.log_pb + backward[undo],
            walk.length + 1,
        )
        return moved, states, actions.at[walk.length].set(action)

    start = walk, tile(walk.state, steps.size), jnp.zeros(env.max_steps, jnp.int32)
    walk, states, actions = lax.while_loop(lambda c: ~env.is_terminal(c[0].state), body, start)

    def pad(x: Array, last: Array) -> Array:
        before = (steps < walk.length).reshape((-1,) + (1,) * last.ndim)
        return jnp.where(before, x, last[None])

    states = jax.tree.map(pad, states, walk.state)
    return walk, Trajectory(states, actions, walk.length, env.log_reward(walk.state))


def _evaluate(gfn: GFlowNet, params: Params, state: State) -> tuple[Array, Array]:
    """log P_F `[num_actions]` and log P_B `[num_backward_actions]` of one state."""
    output = gfn.policy.evaluate(params.policy, gfn.env, state)
    backward = gfn.backward_policy(params)(gfn.env, state, output)
    return (
        masking.log_softmax(output.forward_logits, gfn.env.forward_mask(state)),
        masking.log_softmax(backward, gfn.env.backward_mask(state)),
    )


def _select(condition: Array, new: _Walk, old: _Walk) -> _Walk:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


def _gumbel(key: Array, *shape: int) -> Array:
    # Drawn flat: on CPU a small last axis makes the generator several times slower.
    return jax.random.gumbel(key, (math.prod(shape),)).reshape(shape)
