"""Estimates from samples, where the state graph is too large to enumerate, or to check it.

All functions are pure and jittable, and compiled once a shape where they are called on their own.
They score the current policy without exploration, whatever the objective. With
w = R(x) P_B(tau | x) / P_F(tau) for a trajectory tau that ends in x, and any backward policy,

    E_{P_F}[log w] <= log Z <= E_{R/Z, P_B}[log w],

with equality exactly where P_F = R P_B / Z on all trajectories.

Where there are cycles `max_steps` cuts some trajectories, of share c in expectation. They have
weight 0, log w = -inf, which keeps the mean of w below Z; and they are left out of the means of
log w, which -log(1 - c) then corrects: both inequalities hold for Z without the mass of R P_B on
trajectories that are longer, and the first for Z.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaln, xlogy
from jax.scipy.stats import rankdata

from gfnjax import masking
from gfnjax.envs.base import Enumerable, State, is_acyclic, source_state
from gfnjax.metrics import distances
from gfnjax.metrics.exact import target_distribution
from gfnjax.metrics.state_graph import StateGraph
from gfnjax.model import Model, require_model
from gfnjax.shapes import check_alike, check_shape, check_states
from gfnjax.state import Params
from gfnjax.types import Array, Trajectory

# Above this, Stirling's series is exact in double precision's first ten digits.
STIRLING_FROM = 16


class Correlation(NamedTuple):
    """Agreement of log-likelihoods with log-rewards, `[]` each, in [-1, 1]."""

    pearson: Array
    spearman: Array


class EmpiricalTotalVariation(NamedTuple):
    """Total variation of a sample to the target, and what a perfect sampler would show.

    Attributes:
        total_variation: `[]` 1/2 sum |c / n - R/Z|, c the counts of n samples.
        noise_floor: `[]` its expectation if the samples came from the target itself.
    """

    total_variation: Array
    noise_floor: Array


@partial(jax.jit, static_argnames="num_samples")
def elbo(model: Model, params: Params, key: Array, num_samples: int) -> Array:
    """E_{P_F}[log R + sum log P_B - sum log P_F] <= log Z, from `num_samples` trajectories.

    Returns:
        `[]` nats; log Z minus KL(P_F || R P_B / Z) up to sampling error.
    """
    weights = log_weights(model, params, model.sample(params, key, num_samples))
    return mean_log_weight(model, weights)


@jax.jit
def eubo(model: Model, params: Params, key: Array, target_states: State) -> Array:
    """E_{R/Z, P_B}[log R + sum log P_B - sum log P_F] >= log Z; it sees modes that P_F misses.

    Args:
        model: environment and policies, such as `gfn.model`.
        params: its parameters.
        key: a typed PRNG key, for the backward trajectories.
        target_states: `[B, ...]` terminal states drawn from the target R/Z.

    Returns:
        `[]` nats; log Z plus KL(R P_B / Z || P_F) up to sampling error.
    """
    trajectories = model.sample_backward(params, key, target_states)
    return mean_log_weight(model, log_weights(model, params, trajectories), -1.0)


def mean_log_weight(model: Model, log_weights: Array, sign: float = 1.0) -> Array:
    """`[]` the mean of `log_weights` `[B]`; of those that are not cut, corrected for the others.

    Args:
        model: what they are of.
        log_weights: as the function of that name returns them.
        sign: 1 for trajectories sampled forward, whose bound the share that is not cut lowers, -1
            for backward.
    """
    if is_acyclic(model.env):
        return log_weights.mean()
    kept = log_weights > -jnp.inf
    count = jnp.maximum(kept.sum(), 1).astype(log_weights.dtype)
    mean = jnp.where(kept, log_weights, 0.0).sum() / count
    return jnp.where(kept.any(), mean + sign * jnp.log(count / log_weights.size), jnp.nan)


@partial(jax.jit, static_argnames="num_trajectories")
def log_likelihood(
    model: Model, params: Params, key: Array, terminal_states: State, num_trajectories: int
) -> Array:
    """log P(x) ~ log 1/K sum_k P_F(tau_k) / P_B(tau_k | x), with tau_k from P_B given x.

    The estimate of P(x) is unbiased, that of its logarithm too low, less so for larger K. What
    `max_steps` cuts counts as 0: P(x) is then that of trajectories which are not longer.

    Args:
        model: environment and policies, such as `gfn.model`.
        params: its parameters.
        key: a typed PRNG key.
        terminal_states: `[B, ...]`.
        num_trajectories: K, backward trajectories a state; drawn one after the other.

    Returns:
        `[B]` nats.
    """

    require_model(model)

    def log_ratio(key: Array) -> Array:
        trajectories = model.sample_backward(params, key, terminal_states)
        scores = model.score(params, trajectories)
        ratio = scores.log_pf.sum(axis=1) - scores.log_pb.sum(axis=1)
        return ratio if is_acyclic(model.env) else jnp.where(scores.whole, ratio, -jnp.inf)

    log_ratios = lax.map(log_ratio, jax.random.split(key, num_trajectories))
    return jax.nn.logsumexp(log_ratios, axis=0) - jnp.log(num_trajectories).astype(log_ratios.dtype)


@jax.jit
def log_weights(model: Model, params: Params, trajectories: Trajectory) -> Array:
    """log w = log R + sum log P_B - sum log P_F of each of a batch of trajectories: `[B]`.

    -inf of one that was cut, in an environment with cycles.

    Where the model has a prior, it is taken to be relative to it, and sum log prior takes the place
    of sum log P_B; if the prior is there for something else, give `model.replace(prior=None)`.
    """
    require_model(model)
    needs = frozenset() if model.prior is None else frozenset({"log_prior"})
    scores = model.score(params, trajectories, needs=needs)
    log_reference = scores.log_pb if model.prior is None else scores.log_prior
    assert log_reference is not None
    weights = scores.log_reward + log_reference.sum(axis=1) - scores.log_pf.sum(axis=1)
    return weights if is_acyclic(model.env) else jnp.where(scores.whole, weights, -jnp.inf)


def importance_log_z(log_weights: Array) -> Array:
    """`[]` log of the mean of w: nats, of an unbiased estimate of Z.

    Args:
        log_weights: `[n]` from `log_weights`.
    """
    check_shape("log_weights", log_weights, (None,), "[n]")
    return jax.nn.logsumexp(log_weights) - math.log(log_weights.size)


def effective_sample_size(log_weights: Array) -> Array:
    """`[]` (sum w)^2 / (n sum w^2), in (0, 1]: the share of n samples that counts.

    Near 1 where P_F covers few modes perfectly, too: it says nothing of what was not sampled.

    Args:
        log_weights: `[n]` from `log_weights`.
    """
    check_shape("log_weights", log_weights, (None,), "[n]")
    total = 2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights)
    return jnp.exp(total - math.log(log_weights.size))


@jax.jit
def correlation(x: Array, y: Array) -> Correlation:
    """Pearson's and Spearman's correlation of `[n]` values; ties get their average rank.

    NaN where all values of one argument are equal.

    Raises:
        ValueError: unless both are vectors of one length.
    """
    check_alike(1, x=x, y=y)
    return Correlation(_pearson(x, y), _pearson(rankdata(x), rankdata(y)))


def sample_target(env: Enumerable, graph: StateGraph, key: Array, num_samples: int) -> State:
    """Exact samples `[num_samples, ...]` of R/Z on an enumerable environment."""
    log_q, _ = target_distribution(graph)
    index = jax.random.categorical(key, log_q, shape=(num_samples,)).astype(jnp.int32)
    return jax.vmap(env.state_at)(index)


def empirical_distribution(env: Enumerable, terminal_states: State) -> Array:
    """log of the share of `terminal_states` `[n, ...]` in each state: `[num_states]`.

    `masking.FILL` where there is none, as in `exact.terminating_distribution`.

    Raises:
        ValueError: if `terminal_states` are no batch of states.
    """
    check_states("terminal_states", terminal_states, source_state(env))
    index = jax.vmap(env.state_index)(terminal_states)
    counts = jnp.zeros(env.num_states, jnp.result_type(float)).at[index].add(1.0)
    share = counts / index.size
    return jnp.where(counts > 0, jnp.log(jnp.where(counts > 0, share, 1.0)), masking.FILL)


def empirical_total_variation(
    env: Enumerable, graph: StateGraph, terminal_states: State
) -> EmpiricalTotalVariation:
    """Compare terminal states `[n, ...]`, however sampled, with the target R/Z."""
    log_q, _ = target_distribution(graph)
    num_samples = jax.tree.leaves(terminal_states)[0].shape[0]
    return EmpiricalTotalVariation(
        distances.total_variation(empirical_distribution(env, terminal_states), log_q),
        noise_floor(log_q, num_samples),
    )


def noise_floor(log_p: Array, num_samples: int) -> Array:
    """The expected total variation between p and the frequencies of n samples of p itself.

    1/(2n) sum_x E|c_x - n p_x| with binomial counts c_x, exactly, by de Moivre's formula
    E|c - n p| = 2 k (1 - p) C(n, k) p^k (1 - p)^{n-k}, k = floor(n p) + 1. No sampler does
    better on average; a sampled total variation says nothing below it.

    Args:
        log_p: `[N]` log-probabilities.
        num_samples: n.

    Returns:
        `[]`, in [0, 1).
    """
    check_shape("log_p", log_p, (None,), "[N]")
    p = jnp.exp(log_p)
    uncertain = (p > 0) & (p < 1)
    p = jnp.where(uncertain, p, 0.5)
    n = jnp.asarray(num_samples, p.dtype)
    mean = n * p
    k = jnp.minimum(jnp.floor(mean) + 1, n)
    deviation = 2 * k * (1 - p) * jnp.exp(_log_binomial(k, n, p))
    return jnp.where(uncertain, deviation, 0.0).sum() / (2 * n)


def _log_binomial(k: Array, n: Array, p: Array) -> Array:
    """log [C(n, k) p^k (1 - p)^{n-k}] near the mean, without the cancellation of large terms.

    Differences of log-gammas lose all digits of float32 for n = 2e5; what remains of them after
    Stirling's formula, and the deviance of k from its mean, are small numbers (Loader, 2000).
    """
    excess = k - n * p
    rest = _factorial_rest(n) - _factorial_rest(k) - _factorial_rest(n - k)
    return rest - _deviance(excess, n * p) - _deviance(-excess, n * (1 - p))


def _factorial_rest(k: Array) -> Array:
    """log k! - k log k + k, zero at k = 0."""
    small, large = jnp.minimum(k, STIRLING_FROM), jnp.maximum(k, STIRLING_FROM)
    series = 1 / (12 * large) - 1 / (360 * large**3) + 1 / (1260 * large**5)
    stirling = jnp.log(2 * jnp.pi * large) / 2 + series
    return jnp.where(k < STIRLING_FROM, gammaln(small + 1) - xlogy(small, small) + small, stirling)


def _deviance(excess: Array, mean: Array) -> Array:
    """(mean + excess) log(1 + excess / mean) - excess, at least 0."""
    t = excess / mean
    series = t**2 / 2 - t**3 / 6 + t**4 / 12 - t**5 / 20
    return mean * jnp.where(jnp.abs(t) < 0.01, series, xlogy(1 + t, 1 + t) - t)


def _pearson(x: Array, y: Array) -> Array:
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / jnp.sqrt((x**2).sum() * (y**2).sum())
