"""Metropolis-Hastings with a GFlowNet as proposal: take a few steps back, then build again.

From x, a trajectory tau drawn from P_B( . | x) is cut K steps before its end, in s; forward steps
drawn from P_F lead from there to x'. The move is accepted with probability min(1, exp(r)),

    r = log R(x') - log R(x) + log q(x' -> x) - log q(x -> x'),
    log q(x -> x') = log P_B(x -> s) + log P_F(s -> x'),

both along the paths taken: detailed balance then holds path by path, for the distribution
R(x) / Z P_B(tau | x) of trajectories. Where K is itself drawn, its probability is part of q. With
the exact optimum F(s) P_F(s -> x) = R(x) P_B(x -> s), hence r = 0: a perfect sampler accepts always
(Zhang et al., 2202.01361; Kim et al., 2310.02710). Where there are cycles the chain is on
trajectories of at most `max_steps` steps: a move from or to a longer one is refused, which leaves
R / Z invariant.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax import masking, rollout, spread
from gfnjax.envs.base import State, is_acyclic
from gfnjax.errors import ArgumentError
from gfnjax.model import Model, require_model, score_states
from gfnjax.policies.base import Behaviour
from gfnjax.scoring import is_complete
from gfnjax.shapes import check_alike
from gfnjax.state import Params
from gfnjax.types import Array, Trajectory

Acceptance = Literal["metropolis", "greedy"]
ACCEPTANCES = ("metropolis", "greedy")


class Move(NamedTuple):
    """One step of a batch of Markov chains over terminal states.

    Attributes:
        states: `[B, ...]` terminal states after the step.
        proposals: `[B, ...]` terminal states proposed.
        log_ratio: `[B]` r, nats; `masking.FILL` where no cut of the new trajectory leads to s. In a
            greedy step, log R(x') - log R(x).
        accepted: `[B]` bool.
        trajectories: `[B, ...]` into `states`: where a proposal was accepted, tau up to s and
            then the path built from there, else tau.
        rebuilt: `[B, ...]` the way forward, from s to x'.
        num_undone: `[B]` int32, steps taken back.
    """

    states: State
    proposals: State
    log_ratio: Array
    accepted: Array
    trajectories: Trajectory
    rebuilt: Trajectory
    num_undone: Array


class Steps(NamedTuple):
    """How many steps K a move goes back, at most to s_0.

    `most`, or uniformly drawn from `least` to `most` where `least` is given; or `share` of the
    trajectory's length, rounded up.
    """

    most: int | None
    least: int | None
    share: float | None

    def draw(self, key: Array, length: Array) -> Array:
        """`[B]` steps to take back along trajectories of some length."""
        if self.share is not None:
            # A share such as .1 is not exact: it takes 3 steps of 30, not 4.
            steps = jnp.ceil(length.astype(jnp.float32) * self.share - 1e-3).astype(jnp.int32)
            return jnp.clip(steps, 1, length)
        assert self.most is not None  # checked
        least = self.most if self.least is None else self.least
        shape = (spread.whole(length.size),)
        count = jax.random.randint(key, shape, least, self.most + 1, jnp.int32)
        return jnp.minimum(length, spread.rows(count))

    def ways(self, length: Array, steps: Array) -> Array:
        """`[B]` how many equally likely draws take that many steps back along that length."""
        if self.share is not None:
            return (self.draw(jax.random.key(0), length) == steps).astype(jnp.int32)
        assert self.most is not None  # checked
        least = self.most if self.least is None else self.least
        to_source = jnp.maximum(self.most + 1 - jnp.maximum(length, least), 0)
        exactly = ((steps >= least) & (steps <= self.most)).astype(jnp.int32)
        return jnp.where(steps == length, to_source, exactly)


@partial(jax.jit, static_argnames=("num_back", "least_back", "back_share", "acceptance"))
def back_and_forth(
    model: Model,
    params: Params,
    key: Array,
    states: State,
    num_back: int | None = None,
    *,
    least_back: int | None = None,
    back_share: float | None = None,
    acceptance: Acceptance = "metropolis",
) -> Move:
    """Move terminal states `[B, ...]`, by default so that R / Z is invariant, whatever the policy.

    K is `num_back`, or drawn from `least_back` to `num_back`, or `back_share` of the length of the
    trajectory, rounded up. Where objects are built in trajectories of different lengths,
    "metropolis" refuses a proposal that could not lead back, because its trajectory would be cut
    elsewhere than in s: with `num_back` alone, one of another length, unless both are cut at s_0.
    Give `least_back`, or set `num_back` to `env.max_steps` to start every proposal in s_0.

    Args:
        model: the sampler; its environment gives the reward.
        params: of the sampler.
        key: a typed PRNG key.
        states: where the chains are.
        num_back: steps taken back at most.
        least_back: draw the steps of each chain uniformly from here to `num_back`.
        back_share: in (0, 1], instead of `num_back`.
        acceptance: "metropolis", or "greedy" for any proposal with a higher reward.

    Raises:
        ValueError: if an argument is out of range, or both or neither of the two lengths given.
    """
    require_model(model)
    check(model.env.max_steps, num_back, back_share, acceptance, least_back)
    steps = Steps(num_back, least_back, back_share)
    back_key, forth_key, accept_key, steps_key = jax.random.split(key, 4)
    back = model.sample_backward(params, back_key, states)
    num_undone = steps.draw(steps_key, back.length)
    cut = back.length - num_undone
    tail = _tail(back, cut)
    start = jax.tree.map(lambda x: x[:, 0], tail.states)
    window = rollout.Window(start, model.env.max_steps)
    num_chains = spread.whole(cut.size)
    forth, _ = model.explore(params, forth_key, num_chains, Behaviour(), window)
    proposal = _splice(back, cut, forth)
    proposals = rollout.terminal_states(forth)
    if acceptance == "greedy":
        accepted = forth.log_reward > back.log_reward
        log_ratio = forth.log_reward - back.log_reward
    else:
        log_ratio = _log_ratio(model, params, tail, forth)
        ways_back = steps.ways(proposal.length, forth.length)
        ways = steps.ways(back.length, num_undone)
        log_ratio += jnp.log(jnp.maximum(ways_back, 1) / jnp.maximum(ways, 1)).astype(
            log_ratio.dtype
        )
        log_ratio = jnp.where(ways_back > 0, log_ratio, masking.FILL)
        draws = jax.random.uniform(accept_key, (num_chains,), log_ratio.dtype)
        accepted = accept(log_ratio, spread.rows(draws))
    if not is_acyclic(model.env):
        # Of trajectories that `max_steps` cuts there are none in the chain: it stays where it is.
        whole = is_complete(model.env, forth) & (proposal.length <= model.env.max_steps)
        assert back.cut is not None  # which `sample_backward` tells
        accepted &= whole & ~back.cut
    # NaN is neither higher nor lower: let it be seen instead of refusing it without a word.
    accepted |= jnp.isnan(forth.log_reward)
    states = rollout.choose(accepted, proposals, states)
    trajectories = rollout.choose(accepted, proposal, back)
    return Move(states, proposals, log_ratio, accepted, trajectories, forth, num_undone)


def accept(log_ratio: Array, uniform: Array) -> Array:
    """`[B]` True with probability min(1, exp(r)), for `uniform` `[B]` draws from [0, 1).

    Never where r is `masking.FILL` or -inf: the logarithm of a draw of exactly 0 would be below.
    """
    check_alike(log_ratio=log_ratio, uniform=uniform)
    return jnp.log(jnp.maximum(uniform, jnp.finfo(uniform.dtype).tiny)) < log_ratio


def check(
    max_steps: int | None,
    num_back: int | None,
    back_share: float | None,
    acceptance: str,
    least_back: int | None = None,
) -> None:
    """Raise a `ValueError` that names the argument; no `max_steps`, no upper bound."""
    if acceptance not in ACCEPTANCES:
        raise ArgumentError(
            "acceptance", f"must be one of {', '.join(ACCEPTANCES)}, got {acceptance!r}"
        )
    if (num_back is None) == (back_share is None):
        raise ArgumentError(
            "num_back",
            f"not both, got {num_back} and {back_share}",
            subject="give {num_back} or {back_share},",
        )
    if num_back is not None and (num_back < 1 or (max_steps is not None and num_back > max_steps)):
        limit = "at least 1" if max_steps is None else f"between 1 and max_steps = {max_steps}"
        raise ArgumentError("num_back", f"must be {limit}, got {num_back}")
    if least_back is not None and not 1 <= least_back <= (num_back or 0):
        raise ArgumentError(
            "least_back", f"must be between 1 and num_back = {num_back}, got {least_back}"
        )
    if back_share is not None and not 0 < back_share <= 1:
        raise ArgumentError("back_share", f"must be in (0, 1], got {back_share}")


def _tail(trajectories: Trajectory, cut: Array) -> Trajectory:
    """Trajectories `[B, ...]` from step `cut` `[B]` on."""
    horizon = jax.tree.leaves(trajectories.states)[0].shape[1] - 1
    index = cut[:, None] + jnp.arange(horizon + 1, dtype=jnp.int32)[None]
    live = index[:, :-1] < trajectories.length[:, None]

    def moved(x: Array) -> Array:
        rows = _take(x, index[:, :-1])
        return jnp.where(live.reshape(live.shape + (1,) * (x.ndim - 2)), rows, jnp.zeros_like(rows))

    return trajectories._replace(
        states=jax.tree.map(lambda x: _take(x, index), trajectories.states),
        actions=jax.tree.map(moved, trajectories.actions),
        length=trajectories.length - cut,
    )


def _splice(start: Trajectory, cut: Array, end: Trajectory) -> Trajectory:
    """Trajectories `[B, ...]` that follow `start` for `cut` steps, then `end`."""
    horizon = jax.tree.leaves(start.states)[0].shape[1]
    index = jnp.arange(horizon, dtype=jnp.int32)[None] - cut[:, None]

    def join(x: Array, y: Array) -> Array:
        place = index[:, : x.shape[1]]
        later = place.reshape(place.shape + (1,) * (x.ndim - 2)) >= 0
        return jnp.where(later, _take(y, place), x)

    return end._replace(
        states=jax.tree.map(join, start.states, end.states),
        actions=jax.tree.map(join, start.actions, end.actions),
        length=cut + end.length,
        cut=start.cut,
    )


def _take(x: Array, index: Array) -> Array:
    """`x[b, index[b, t]]`, the index clipped to `x`."""
    return jax.vmap(lambda row, i: row[jnp.clip(i, 0, row.shape[0] - 1)])(x, index)


def _log_ratio(model: Model, params: Params, old: Trajectory, new: Trajectory) -> Array:
    """`[B]` r of paths `old` and `new` that start in the same state: one pass over both."""
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), old, new)
    scores = score_states(model, params, both)
    log_weight = scores.log_reward + scores.log_pb.sum(axis=1) - scores.log_pf.sum(axis=1)
    before, after = jnp.split(log_weight, 2)
    return after - before
