"""Metropolis-Hastings with a GFlowNet as proposal: take a few steps back, then build again.

From x, K backward steps drawn from P_B lead to s, and forward steps drawn from P_F lead to x'.
The move is accepted with probability min(1, exp(r)),

    r = log R(x') - log R(x) + log q(x' -> x) - log q(x -> x'),
    log q(x -> x') = log P_B(x -> s) + log P_F(s -> x'),

both along the paths taken: detailed balance then holds path by path. With the exact optimum
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
from gfnjax.state import Params
from gfnjax.training import GFlowNet
from gfnjax.types import Array


class Move(NamedTuple):
    """One step of a batch of Markov chains over terminal states.

    Attributes:
        states: `[B, ...]` terminal states after the step.
        proposals: `[B, ...]` terminal states proposed.
        log_ratio: `[B]` r, nats; `masking.FILL` where K steps back from x' do not lead to s.
        accepted: `[B]` bool.
    """

    states: State
    proposals: State
    log_ratio: Array
    accepted: Array


class _Walk(NamedTuple):
    """A state, log P_F and log P_B there, and of the path: log P_F, log P_B and length."""

    state: State
    forward: Array
    backward: Array
    log_pf: Array
    log_pb: Array
    length: Array


def back_and_forth(gfn: GFlowNet, params: Params, key: Array, states: State, num_back: int) -> Move:
    """Move terminal states `[B, ...]` in a way that leaves R / Z invariant, whatever the policy.

    Where objects are built in trajectories of different lengths, a proposal whose way forward has
    another length than the way back is refused, unless both start at s_0: set `num_back` to
    `env.max_steps` to start every proposal there.

    Args:
        gfn: the sampler; its environment gives the reward.
        params: of the sampler.
        key: a typed PRNG key.
        states: where the chains are.
        num_back: K, steps taken back at most.

    Raises:
        ValueError: if `num_back` is out of range.
    """
    env = gfn.env
    if not 1 <= num_back <= env.max_steps:
        raise ValueError(
            f"num_back must be between 1 and max_steps = {env.max_steps}, got {num_back}"
        )
    back_key, forth_key, accept_key = jax.random.split(key, 3)
    batch_size = jax.tree.leaves(states)[0].shape[0]
    back_noise = _gumbel(back_key, batch_size, num_back, env.num_backward_actions)
    forth_noise = _gumbel(forth_key, batch_size, env.max_steps, env.num_actions)

    def row(state: State, back_noise: Array, forth_noise: Array) -> tuple[State, Array]:
        def start(state: State) -> _Walk:
            zero = jnp.zeros((), jnp.result_type(float))
            return _Walk(state, *_evaluate(gfn, params, state), zero, zero, jnp.int32(0))

        back = _walk_back(gfn, params, start(state), back_noise)
        forth = _walk_forth(gfn, params, start(back.state), forth_noise)
        log_ratio = (
            env.log_reward(forth.state)
            - env.log_reward(state)
            + (forth.log_pb + back.log_pf)
            - (back.log_pb + forth.log_pf)
        )
        from_source = ~env.backward_mask(back.state).any()
        returns = (forth.length == num_back) | (from_source & (forth.length <= num_back))
        return forth.state, jnp.where(returns, log_ratio, masking.FILL)

    proposals, log_ratio = jax.vmap(row)(states, back_noise, forth_noise)
    draws = jax.random.uniform(accept_key, log_ratio.shape, log_ratio.dtype)
    accepted = jnp.log(draws) < log_ratio

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(accepted.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    return Move(jax.tree.map(choose, proposals, states), proposals, log_ratio, accepted)


def _walk_back(gfn: GFlowNet, params: Params, walk: _Walk, noise: Array) -> _Walk:
    """As many steps of P_B as `noise` `[K, num_backward_actions]` has rows, or to s_0."""
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
        return _select(mask.any(), moved, walk), None

    return lax.scan(body, walk, noise)[0]


def _walk_forth(gfn: GFlowNet, params: Params, walk: _Walk, noise: Array) -> _Walk:
    """Steps of P_F until the object is complete; `noise` is `[max_steps, num_actions]`."""
    env = gfn.env

    def body(walk: _Walk) -> _Walk:
        action = masking.sample(walk.forward, env.forward_mask(walk.state), noise[walk.length])
        undo = env.backward_action(walk.state, action)
        child = env.step(walk.state, action)
        forward, backward = _evaluate(gfn, params, child)
        return _Walk(
            child,
            forward,
            backward,
            walk.log_pf + walk.forward[action],
            walk.log_pb + backward[undo],
            walk.length + 1,
        )

    return lax.while_loop(lambda walk: ~env.is_terminal(walk.state), body, walk)


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
