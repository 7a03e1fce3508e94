"""Texts: exact distributions over listed ones, how far log R is from log q, diversity, votes.

In an environment whose states have one parent each, an object x has one trajectory, and the
probability q(x) of sampling it is exact: the product of P_F along that. The rest is of texts
however sampled, as sequences of letters, words or tokens, in NumPy.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax.arguments import whole
from gfnjax.envs.base import Environment, State, source_state
from gfnjax.errors import ArgumentError
from gfnjax.metrics import distances
from gfnjax.model import Model, require_model
from gfnjax.shapes import check_alike, check_states
from gfnjax.state import Params
from gfnjax.types import Array

Text = Sequence[Hashable]


class Spread(NamedTuple):
    """Of log R - log q over samples, `[]` each: nats squared, and nats."""

    variance: Array
    std: Array


class ListedDistribution(NamedTuple):
    """What a policy makes of n listed objects, beside a target over them; nats.

    Attributes:
        log_q: `[n]` the probability of each one, among all that can be sampled.
        mass: `[]` their sum: how much is listed, and valid if all that is valid is listed.
        kl: `[]` KL(p || target), p = q / mass.
        reverse_kl: `[]` KL(target || p).
        total_variation: `[]` 1/2 sum |p - target|.
    """

    log_q: Array
    mass: Array
    kl: Array
    reverse_kl: Array
    total_variation: Array


class NgramDiversity(NamedTuple):
    """How different texts are, both in [0, 1].

    Attributes:
        distinct: different n-grams as a share of all of them.
        jaccard: 1 - |A & B| / |A | B| of the sets of n-grams of two texts, the mean of all pairs.
    """

    distinct: float
    jaccard: float


@jax.jit
def log_ratio_spread(log_reward: Array, log_q: Array) -> Spread:
    """How far samples are from R / Z: log R - log q is log Z on all texts at the optimum.

    Args:
        log_reward: `[n]` log R of texts with one condition, plus log prior where a policy was
            trained relative to a prior.
        log_q: `[n]` the log-probability of sampling each one.

    Raises:
        ValueError: unless both are vectors of one length.
    """
    check_alike(1, log_reward=log_reward, log_q=log_q)
    variance = (log_reward - log_q).var()
    return Spread(variance, jnp.sqrt(variance))


@partial(jax.jit, static_argnames="batch_size")
def log_probabilities(
    model: Model, params: Params, states: State, batch_size: int = 64
) -> tuple[Array, Array]:
    """log q `[n]` of objects, exact, and their log R `[n]`; nats.

    Args:
        model: environment and policies, such as `gfn.model`.
        params: its parameters.
        states: `[n, ...]` terminal states.
        batch_size: objects scored at a time.

    Raises:
        ValueError: where objects have more than one trajectory.
    """
    require_model(model)
    _check_tree(model.env)
    check_states("states", states, source_state(model.env))
    count = jax.tree.leaves(states)[0].shape[0]
    batch_size = min(whole("batch_size", batch_size, least=1), count)
    num_batches = -(-count // batch_size)
    index = (jnp.arange(num_batches * batch_size, dtype=jnp.int32) % count).reshape(num_batches, -1)

    def score(rows: Array) -> tuple[Array, Array]:
        last = jax.tree.map(lambda x: x[rows], states)
        key = jax.random.key(0)  # there is no choice between parents
        trajectories = model.sample_backward(params, key, last)
        scores = model.score(params, trajectories)
        return scores.log_pf.sum(axis=1), trajectories.log_reward

    log_q, log_reward = lax.map(score, index)
    return log_q.reshape(-1)[:count], log_reward.reshape(-1)[:count]


def listed_distribution(
    model: Model,
    params: Params,
    states: State,
    log_target: Array | None = None,
    batch_size: int = 64,
) -> ListedDistribution:
    """The policy's distribution over listed objects beside its target, exact.

    Args:
        model: environment and policies, such as `gfn.model`.
        params: its parameters.
        states: `[n, ...]` terminal states, all different, of one condition.
        log_target: `[n]` the target up to a constant, log R + log prior where a policy was trained
            relative to a prior; log R without.
        batch_size: objects scored at a time.

    Raises:
        ValueError: where objects have more than one trajectory, or for shapes that do not fit.
    """
    log_q, log_reward = log_probabilities(model, params, states, batch_size)
    goal = log_reward if log_target is None else jnp.asarray(log_target, log_q.dtype)
    check_alike(1, states=log_q, log_target=goal)
    log_mass = jax.nn.logsumexp(log_q)
    log_p, goal = log_q - log_mass, goal - jax.nn.logsumexp(goal)
    return ListedDistribution(
        log_q,
        jnp.exp(log_mass),
        distances.kl(log_p, goal),
        distances.kl(goal, log_p),
        distances.total_variation(log_p, goal),
    )


def _check_tree(env: Environment) -> None:
    if env.num_backward_actions != 1:
        raise ArgumentError(
            "model",
            "must have an environment with one trajectory to each object, num_backward_actions "
            f"of {type(env).__name__} is {env.num_backward_actions}",
            "use gfnjax.metrics.sampled.log_likelihood",
        )


def ngram_diversity(texts: Sequence[Text], n: int = 2) -> NgramDiversity:
    """How much of what stands in texts is different.

    Pairs of texts both too short to have an n-gram are alike; without any n-gram, or any pair,
    the number is 0.

    Args:
        texts: strings, or sequences of words or tokens.
        n: length of the parts that are compared.
    """
    n = whole("n", n, least=1)
    grams = [[tuple(text[i : i + n]) for i in range(len(text) - n + 1)] for text in texts]
    total = sum(map(len, grams))
    sets = [set(found) for found in grams]
    distinct = len(set().union(*sets)) / total if total else 0.0
    pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
    far = [1 - len(a & b) / len(a | b) if a | b else 0.0 for a, b in pairs]
    return NgramDiversity(distinct, float(np.mean(far)) if far else 0.0)


def embedding_diversity(texts: Sequence[Any], embed: Callable[[Sequence[Any]], Any]) -> float:
    """The mean cosine distance 1 - <u, v> / |u| |v| of all pairs of texts, in [0, 2].

    Args:
        texts: at least two.
        embed: texts to vectors `[n, d]`, a sentence encoder for instance.

    Raises:
        ValueError: for fewer than two texts, or vectors that are not `[n, d]` or are zero.
    """
    if len(texts) < 2:
        raise ArgumentError("texts", f"must be two at least to differ, got {len(texts)}")
    vectors = np.asarray(embed(texts), float)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        problem = f"must return a vector for each of {len(texts)} texts, [n, d]"
        raise ArgumentError("embed", f"{problem}, got shape {vectors.shape}")
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (norm == 0).any():
        raise ArgumentError("embed", "must return vectors with a direction, got one that is zero")
    unit = vectors / norm
    cosine = (unit @ unit.T)[np.triu_indices(len(texts), 1)]
    return float(1 - cosine.mean())


def vote(answers: Iterable[Any]) -> Any:
    """The answer that is given most often, of several the one that came first.

    None is no answer; without any answer the vote is None.
    """
    counts: dict[Any, int] = {}
    for answer in answers:
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else None


def voting_accuracy(answers: Sequence[Iterable[Any]], truths: Sequence[Any]) -> float:
    """The share of questions for which the vote of all `answers` to it is the truth.

    Raises:
        ValueError: unless there are answers to each of at least one question.
    """
    if len(answers) != len(truths) or not truths:
        problem = f"must be one for each of {len(answers)} questions, at least one"
        raise ArgumentError("truths", f"{problem}, got {len(truths)}")
    right = [vote(given) == truth for given, truth in zip(answers, truths, strict=True)]
    return float(np.mean(right))


def best_of(n: int, log_reward: Any) -> float:
    """The expected best log R of n texts, estimated without bias from m >= n of them.

    The mean of the maximum over all subsets of n: with log R in ascending order, the i-th is the
    best of C(i - 1, n - 1) of C(m, n) subsets.

    Args:
        n: texts to choose from.
        log_reward: `[m]`.

    Raises:
        ValueError: for fewer than n numbers, or n below 1.
    """
    n = whole("n", n, least=1)
    ascending = np.sort(np.asarray(log_reward, float).reshape(-1))
    size = ascending.size
    if size < n:
        raise ArgumentError("n", f"must be at most the number of texts, {size}, got {n}")
    share, total = n / size, 0.0
    for i in range(size, n - 1, -1):
        total += share * ascending[i - 1]
        share *= (i - n) / (i - 1) if i > 1 else 0.0
    return float(total)
