"""Flow consistency in sub-graphs (FCS): how far a policy is from its target, on sets of objects.

For sets S of B objects, drawn at random, with p(x) the probability that the policy ends in x,

    FCS = mean over S of  1/2 sum over x in S |p(x) / p(S) - R(x) / R(S)|,

the total variation between p and R, both restricted to S. It is 0 for all S if and only if p is
R / Z, needs no log Z and no list of all objects, and rises and falls with the total variation over
all of them (Silva et al., "When do GFlowNets learn the right distribution?", ICLR 2025). It is not
that distance: what has no object in S does not count, sets of few objects differ less, and of
objects that the policy draws it cannot say what the policy never makes.

p(x) comes from a table where objects can be listed (`of_table`), else from K backward trajectories
tau of each object, log p(x) ~ log mean P_F(tau) / P_B(tau | x) (`of_policy`). Where that is
noisy FCS is wrong, and mostly too large: noise looks like inconsistency. `FlowConsistency.noise`
says how large it is: two estimates of half the trajectories each, compared like p and R. FCS means
little unless that is clearly smaller; take more trajectories, or a better P_B. And noise that is
small is no proof: trajectories that P_B hardly ever takes are missing from both halves. It vanishes
at the optimum, where P_F / P_B is the same on all trajectories to x, and anywhere if objects have
one trajectory each.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import equality, masking
from gfnjax.arguments import whole
from gfnjax.envs.base import Conditioned, State, canonical_of, log_reward_of, source_state
from gfnjax.errors import ArgumentError, require
from gfnjax.metrics import sampled
from gfnjax.model import Model, require_model
from gfnjax.rollout import terminal_states
from gfnjax.shapes import check_alike, check_shape, check_states
from gfnjax.state import Params
from gfnjax.types import Array


class FlowConsistency(NamedTuple):
    """FCS and how sure it is, `[]` each.

    A set counts if it has two objects, one with p > 0 and one with R > 0; where many do not, the
    mean is that of special ones.

    Attributes:
        mean: over the sets that count, in [0, 1]; NaN where none does, or a number is NaN.
        standard_error: of that mean: over the draw of the sets, not of log p; NaN with one set.
        noise: the same distance between two estimates of p, from half the trajectories each; what
            `mean` has of noise is about half. 0 where p is exact.
        num_sets: how many sets count.
    """

    mean: Array
    standard_error: Array
    noise: Array
    num_sets: Array


def restricted_distance(log_p: Array, log_q: Array, mask: Array | None = None) -> Array:
    """`[]` total variation of exp(log_p) and exp(log_q) `[B]`, each scaled to sum to 1 there.

    NaN where one of them has no mass or is NaN, or `mask` leaves less than two entries.

    Args:
        log_p: `[B]` logarithms of weights; -inf, or anything near `masking.FILL`, is none.
        log_q: `[B]` alike.
        mask: `[B]` True where an entry counts; all do without.

    Raises:
        ValueError: unless both are vectors of one length.
    """
    check_alike(1, log_p=log_p, log_q=log_q)
    mask = jnp.ones(log_p.shape, bool) if mask is None else mask
    shares, fine = [], mask.sum(dtype=jnp.int32) > 1
    for log_weight in (log_p, log_q):
        there = mask & (log_weight > masking.FILL / 2)
        fine &= there.any() & ~(mask & jnp.isnan(log_weight)).any()
        top = jnp.where(there, log_weight, masking.FILL).max()
        weight = jnp.where(there, jnp.exp(jnp.where(there, log_weight - top, 0.0)), 0.0)
        shares.append(weight / jnp.maximum(weight.sum(), 1.0))
    return jnp.where(fine, jnp.abs(shares[0] - shares[1]).sum() / 2, jnp.nan)


@partial(jax.jit, static_argnames=("num_sets", "set_size"))
def of_table(
    log_p: Array,
    log_reward: Array,
    key: Array,
    num_sets: int = 256,
    set_size: int = 32,
    log_draw: Array | None = None,
) -> FlowConsistency:
    """FCS of exact probabilities.

    Sets are drawn without replacement, one after the other: memory is that of the table.

    Args:
        log_p: `[N]` of all states or objects, as `exact.terminating_distribution` has them.
        log_reward: `[N]` log R; `masking.FILL` or -inf of what is no object, or as log_p has it.
            Of a state graph that is `exact.target_distribution(graph)[0]`: `graph.log_reward` says
            nothing of states that are not terminal.
        key: a typed PRNG key.
        num_sets: how many sets, at least 2.
        set_size: B, objects in a set, at least 2; all where there are fewer.
        log_draw: `[N]` logarithms of weights by which objects are drawn, log_p for those of the
            policy; all alike without.

    Raises:
        ValueError: for numbers out of range, or other shapes.
    """
    _check_counts(num_sets, set_size)
    log_p, log_reward = jnp.asarray(log_p), jnp.asarray(log_reward)
    check_alike(1, log_p=log_p, log_reward=log_reward)
    require(log_p.size > 1, "log_p", "must have two entries or more", log_p.size)
    objects = (log_p > masking.FILL / 2) | (log_reward > masking.FILL / 2)
    logits = jnp.zeros(log_p.shape) if log_draw is None else log_draw
    check_shape("log_draw", logits, log_p.shape, "[N]")
    logits = jnp.where(objects & (logits > masking.FILL / 2), logits, -jnp.inf)
    size = min(set_size, log_p.size)

    def distance(key: Array) -> Array:
        # The largest of logits with Gumbel noise are draws without replacement.
        order = logits + jax.random.gumbel(key, logits.shape, logits.dtype)
        found, index = lax.top_k(order, size)
        return restricted_distance(log_p[index], log_reward[index], found > -jnp.inf)

    spoiled = jnp.isnan(log_p).any() | jnp.isnan(log_reward).any()
    return _summary(lax.map(distance, jax.random.split(key, num_sets)), spoiled)


@partial(jax.jit, static_argnames=("num_sets", "set_size", "num_trajectories"))
def of_policy(
    model: Model,
    params: Params,
    key: Array,
    num_sets: int = 32,
    set_size: int = 32,
    num_trajectories: int = 16,
    objects: State | None = None,
) -> FlowConsistency:
    """FCS of estimated probabilities: num_sets * set_size * (num_trajectories + 1) trajectories.

    Of equal objects in a set the first counts. Sets are looked at one after the other: memory is
    that of B trajectories. With an environment with cycles, what `max_steps` cuts is no object, and
    p is that of the trajectories that are not longer. Of an object with several states (numberings
    of a graph) p and R are those of the state that was drawn.

    Args:
        model: environment and policies, such as `gfn.model`; without a prior.
        params: of the policies.
        key: a typed PRNG key.
        num_sets: how many sets, at least 2.
        set_size: B, at least 2.
        num_trajectories: K, backward trajectories of each object, even.
        objects: `[n, ...]` terminal states to draw sets from, of a test set or all over the space;
            those of the policy's own trajectories without. What is not terminal does not count.

    Raises:
        TypeError, ValueError: for what is no model, has a prior or draws conditions, numbers out
            of range, or what is no batch of states.
    """
    require_model(model)
    if model.prior is not None:
        problem = "has a prior, whose p(x) would be a factor of the target"
        raise ArgumentError("model", problem, "give model.replace(prior=None) for R alone")
    if isinstance(model.env, Conditioned):
        problem = "draws a condition for each trajectory, and objects of two have two targets"
        raise ArgumentError("model", problem, "give model.replace(env=env.at(condition))")
    _check_counts(num_sets, set_size)
    num_trajectories = whole("num_trajectories", num_trajectories, least=2)
    even = num_trajectories % 2 == 0
    require(even, "num_trajectories", "must be even, for two halves", num_trajectories)
    if objects is not None:
        check_states("objects", objects, source_state(model.env))
        count = jax.tree.leaves(objects)[0].shape[0]
        require(count > 1, "objects", "must be two or more", count)

    def distances(key: Array) -> tuple[Array, Array, Array]:
        draw_key, *halves = jax.random.split(key, 3)
        states, ended = _drawn(model, params, draw_key, set_size, objects)
        canonical = jax.vmap(partial(canonical_of, model.env))(states)
        counts = ended & ~equality.repeats(canonical, ended)
        log_reward = jax.vmap(partial(log_reward_of, model.env))(states)
        given = states, num_trajectories // 2
        one, other = (sampled.log_likelihood(model, params, half, *given) for half in halves)
        log_p = jnp.logaddexp(one, other) - math.log(2)
        noise = restricted_distance(one, other, counts)
        spoiled = (counts & (jnp.isnan(log_p) | jnp.isnan(log_reward))).any()
        return restricted_distance(log_p, log_reward, counts), noise, spoiled

    found, noise, spoiled = lax.map(distances, jax.random.split(key, num_sets))
    return _summary(found, spoiled.any())._replace(noise=jnp.nanmean(noise))


def _drawn(
    model: Model, params: Params, key: Array, size: int, objects: State | None
) -> tuple[State, Array]:
    """`[B, ...]` objects of one set, and which of them are any."""
    if objects is None:
        trajectories = model.sample(params, key, size)
        states = terminal_states(trajectories)
        return states, jax.vmap(model.env.is_terminal)(states)
    count = jax.tree.leaves(objects)[0].shape[0]
    index = jax.random.permutation(key, count)[: min(size, count)]
    states = jax.tree.map(lambda x: x[index], objects)
    return states, jax.vmap(model.env.is_terminal)(states)


def _summary(distances: Array, spoiled: Array) -> FlowConsistency:
    """Mean and standard error over the sets `[n]` that are no NaN, NaN where `spoiled` `[]`."""
    count = (~jnp.isnan(distances)).sum(dtype=jnp.int32)
    freedom = jnp.maximum(count - 1, 1).astype(distances.dtype)
    error = jnp.where(count > 1, jnp.nanstd(distances) / jnp.sqrt(freedom), jnp.nan)
    mean = jnp.where(spoiled, jnp.nan, jnp.nanmean(distances))
    return FlowConsistency(mean, error, jnp.zeros((), distances.dtype), count)


def _check_counts(num_sets: int, set_size: int) -> None:
    whole("num_sets", num_sets, least=2)
    whole("set_size", set_size, least=2)
