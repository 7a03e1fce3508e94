"""Texts after one prompt: exact where those that count can be listed, else from samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import Measurable
from gfnjax.envs.drawing import Panel
from gfnjax.envs.tempered import exponent_in_force
from gfnjax.envs.text import ListedText, Text, TextState
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics import distances, sampled
from gfnjax.metrics.texts import log_probabilities, ngram_diversity
from gfnjax.model import Model
from gfnjax.policies.backward import UniformBackward
from gfnjax.rewards import text as rewards
from gfnjax.rewards.language import Continuation
from gfnjax.run.evaluation.base import (
    Distributions,
    Views,
    drawn,
    estimated_log_z,
    evaluation_keys,
    target_model,
)
from gfnjax.run.writing import Samples, judge_of, prompts_of, text_rules, write
from gfnjax.state import Params, TrainState
from gfnjax.training import RunInfo
from gfnjax.types import Array

NUM_SAMPLES = 32
MAX_LISTED = 2_000
AT_ONCE = 128
# Bars of so many texts have names below them.
MOST_NAMED = 16
# Each prompt costs as much as all others.
MAX_PROMPTS = 3

Judge = Callable[[Sequence[str], Sequence[str]], dict[str, float]]


@runtime_checkable
class JudgesTexts(Protocol):
    """An `EnvironmentConfig` that knows more of texts than their reward."""

    def judge(self, prompts: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
        """Metrics by name of texts, one after each of the prompts."""
        ...


class Listing(NamedTuple):
    """Texts that count.

    Attributes:
        states: `[n, ...]` terminal, all different.
        log_num_others: the logarithm of how many texts there are besides.
        log_reward_of_others: nats, of each of them at an exponent of 1.
    """

    states: TextState
    log_num_others: float = -math.inf
    log_reward_of_others: Any = 0.0


def listing_of(env: Any) -> Listing | None:
    """The texts that a reward lists, or all; None where that would be too many."""
    rules = text_rules(env)
    if not isinstance(rules, ListedText):
        return None
    sizes = range(rules.min_length, rules.max_length + 1)
    total = sum(rules.alphabet_size**size for size in sizes)
    if isinstance(rules.reward, rewards.UniformOver):
        states = _members(rules, rules.reward)
        count = states.stopped.size
        if 1 <= count <= MAX_LISTED:
            others = math.log(total - count) if total > count else -math.inf
            return Listing(states, others, rules.reward.log_floor)
    if total > MAX_LISTED:
        return None
    last = jnp.arange(rules.num_states - total, rules.num_states, dtype=jnp.int32)
    return Listing(jax.vmap(rules.state_at)(last))


def _members(rules: Text, reward: rewards.UniformOver) -> TextState:
    """The terminal states of what a reward lists and the rules allow."""
    actions = {int(token): a for a, token in enumerate(np.asarray(rules.token_ids)[:-1])}
    ids, length = (np.asarray(x) for x in reward.members)
    texts = [tuple(row[:size].tolist()) for row, size in zip(ids, length, strict=True)]
    allowed = [
        text
        for text in dict.fromkeys(texts)
        if rules.min_length <= len(text) <= rules.max_length and actions.keys() >= set(text)
    ]
    tokens = np.full((len(allowed), rules.max_length), -1, np.int32)
    for row, text in zip(tokens, allowed, strict=True):
        row[: len(text)] = [actions[token] for token in text]
    prompt = jnp.full(len(allowed), rules.prompt, jnp.int32)
    return TextState(jnp.asarray(tokens), jnp.ones(len(allowed), bool), prompt)


class Judged(NamedTuple):
    """What is said of n listed texts, `[n]` nats each; `log_prior` is None without a prior."""

    log_q: Array
    log_reward: Array
    log_prior: Array | None

    @property
    def log_goal(self) -> Array:
        """The target, up to a constant."""
        return self.log_reward if self.log_prior is None else self.log_reward + self.log_prior


@dataclass(frozen=True)
class TextEvaluator:
    """What a policy writes after one prompt, at the temperature of the reward in force.

    With a listing, exact, of the policy's distribution given that a text is listed: `kl`,
    `reverse_kl`, `jsd`, `total_variation`; `valid_mass` is the probability that one is, if there
    are others, and `true_log_z` that of all texts. Without, from `num_samples` of them: `elbo`,
    `importance_log_z`, `log_reward`, `length`, `distinct_2` (different pairs of tokens as a share
    of all), `log_likelihood` of the texts and their end under the language model, after the prompts
    that the reward shows it, `valid_share` where a constraint says what is valid, and what `judge`
    makes of them. Either way `log_ratio_std`, the standard deviation of log R - log q over texts of
    the policy: 0 at the optimum. Where the objective is relative to a prior the target is
    prior x R / Z, and R is to be read as prior x R everywhere but in `log_reward`. Evaluators of
    one state with different `number`s draw independently.
    """

    gfn: GFlowNet
    listing: Listing | None = None
    number: int = 0
    num_samples: int = NUM_SAMPLES
    judge: Judge | None = None

    @property
    def is_exact(self) -> bool:
        return self.listing is not None

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        model = target_model(self.gfn.at(state))
        log_z = float(estimated_log_z(self.gfn, state, info))
        if self.listing is not None:
            judged = _judged(model, state.params, self.listing.states)
            exact = _exact(judged, self.listing, exponent_in_force(model.env))
            found: dict[str, float] = {k: float(x) for k, x in exact.items()}
            if self.listing.log_num_others == -math.inf:
                del found["valid_mass"]  # all there are
            truth = found["true_log_z"]
            return {**found, "log_z": log_z, "log_z_error": abs(log_z - truth)}
        samples = self._sample(state, evaluation_keys(state, self.number).metrics)
        measured = _measured(model, samples)
        values: dict[str, float] = {k: float(x) for k, x in measured.items()}
        rules = text_rules(model.env)
        assert rules is not None  # what this is made for
        tokens = np.asarray(samples.states.tokens)
        rows = [tuple(row[row >= 0].tolist()) for row in tokens]
        values["distinct_2"] = ngram_diversity(rows, 2).distinct
        if self.judge is not None:
            prompts = prompts_of(rules, samples.states.prompt)
            values |= self.judge(prompts, rules.texts(samples.states))
        return {**values, "log_z": log_z}

    def distributions(self, state: TrainState) -> Distributions:
        """Where texts are listed their probabilities among all texts, which may not sum to 1."""
        model = target_model(self.gfn.at(state))
        if self.listing is not None:
            states = jax.tree.map(np.asarray, self.listing.states)
            judged = _judged(model, state.params, self.listing.states)
            log_q, goal = (np.asarray(x, np.float64) for x in (judged.log_q, judged.log_goal))
            log_target = goal - np.logaddexp.reduce(goal)
            return Distributions(states, np.exp(log_q), np.exp(log_target))
        samples = self._sample(state, evaluation_keys(state, self.number).picture)
        weights = np.full(self.num_samples, 1 / self.num_samples)
        return Distributions(jax.tree.map(np.asarray, samples.states), weights, None)

    def views(self, state: TrainState) -> Views | None:
        found, env = self.distributions(state), self.gfn.at(state).env
        rules = text_rules(env)
        assert rules is not None
        if found.target is not None:
            names = rules.texts(found.states)
            learned, target = (_bars(names, x) for x in (found.learned, found.target))
            return Views((learned,), (target,))
        views = drawn(env, found)
        # Of texts that are nearly all different, how often each came says nothing.
        repeated = len(set(rules.texts(found.states))) <= self.num_samples // 2
        return views if views is None or repeated else Views(views.learned[1:], None)

    def _sample(self, state: TrainState, key: Array) -> Samples:
        return write(target_model(self.gfn.at(state)), state.params, key, self.num_samples)


def _bars(names: Sequence[str], probabilities: np.ndarray) -> Panel:
    if list(names) == [str(number) for number in range(len(names))]:
        return Panel(probabilities, "number")
    ticks = tuple(names) if len(names) <= MOST_NAMED else ()
    return Panel(probabilities, "text", x_ticks=ticks)


@jax.jit
def _judged(model: Model, params: Params, states: TextState) -> Judged:
    log_q, log_reward = log_probabilities(model, params, states, AT_ONCE)
    if model.prior is None:
        return Judged(log_q, log_reward, None)
    prior = replace(model, policy=model.prior.policy, backward=UniformBackward(), prior=None)
    known = Params(model.prior.params, jnp.zeros((), jnp.result_type(float)))
    return Judged(log_q, log_reward, log_probabilities(prior, known, states, AT_ONCE)[0])


@jax.jit
def _exact(judged: Judged, listing: Listing, exponent: Array) -> dict[str, Array]:
    log_q, log_reward, log_prior = judged
    log_mass, log_z = jax.nn.logsumexp(log_q), jax.nn.logsumexp(judged.log_goal)
    log_p, goal = log_q - log_mass, judged.log_goal - log_z
    p, ratio = jnp.exp(log_p), judged.log_goal - log_q
    # The others are alike: what counts is their number, or what the prior leaves for them.
    others = jnp.asarray(listing.log_num_others, log_q.dtype)
    if log_prior is not None:
        left = jnp.log(jnp.maximum(1 - jnp.exp(log_prior).sum(), 0.0))
        others = jnp.where(jnp.isneginf(others), others, left)
    others = others + listing.log_reward_of_others * exponent
    return {
        "total_variation": distances.total_variation(log_p, goal),
        "kl": distances.kl(log_p, goal),
        "reverse_kl": distances.kl(goal, log_p),
        "jsd": distances.jsd(log_p, goal),
        "valid_mass": jnp.exp(log_mass),
        "log_ratio_std": jnp.sqrt((p * (ratio - (p * ratio).sum()) ** 2).sum()),
        "log_reward": (p * log_reward).sum(),
        "true_log_z": jnp.logaddexp(log_z, others),
    }


@jax.jit
def _measured(model: Model, samples: Samples) -> dict[str, Array]:
    env, rules = model.env, text_rules(model.env)
    assert rules is not None
    found = env.measure(samples.states) if isinstance(env, Measurable) else {}
    weights = samples.log_weight
    return {
        **found,
        "elbo": weights.mean(),
        "importance_log_z": sampled.importance_log_z(weights),
        "log_reward": samples.log_reward.mean(),
        "length": samples.length.astype(weights.dtype).mean(),
        "log_ratio_std": weights.std(),
        "log_likelihood": _log_likelihood(env, rules, samples).mean(),
        **_validity(rules, samples),
    }


def _log_likelihood(env: Any, rules: Any, samples: Samples) -> Array:
    """`[n]` nats, what the language model says of texts and their end after what it sees."""
    reward = rules.reward
    if isinstance(reward, Continuation) and not reward.restricted:
        return samples.log_reward / exponent_in_force(env)
    judge = judge_of(rules)
    likely = Continuation(rules.model, prompts=None if judge is None else judge.prompts)
    return replace(rules, reward=likely).log_rewards(samples.states)


def _validity(rules: Any, samples: Samples) -> dict[str, Array]:
    reward = rules.reward
    if isinstance(reward, rewards.Constrained):
        valid = replace(rules, reward=reward.log_c).log_rewards(samples.states) > reward.floor
    elif isinstance(reward, rewards.UniformOver):
        valid = rules.log_rewards(samples.states) > reward.log_floor
    else:
        return {}
    return {"valid_share": valid.astype(samples.log_q.dtype).mean()}
