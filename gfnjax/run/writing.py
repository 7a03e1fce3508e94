"""Texts that a policy writes: after the prompts of its environment, or after a new one."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.envs.tempered import Tempered, exponent_of, tempered
from gfnjax.envs.text import Text, TextState
from gfnjax.errors import ArgumentError
from gfnjax.metrics import sampled
from gfnjax.model import Model
from gfnjax.policies.base import Behaviour
from gfnjax.policies.causal import CausalPolicy
from gfnjax.rewards.language import Continuation, Infilling, Rationale
from gfnjax.rewards.text import Constrained
from gfnjax.rewards.tokens import prompt_table
from gfnjax.rollout import terminal_states
from gfnjax.state import Params
from gfnjax.types import Array

Judge = Continuation | Infilling | Rationale


class WrittenText(NamedTuple):
    """One text.

    Attributes:
        prompt: what it was written after.
        text: without the prompt and what stops it.
        log_q: nats, the log-probability with which the policy writes it after that prompt.
    """

    prompt: str
    text: str
    log_q: float


class Samples(NamedTuple):
    """n texts of a policy.

    Attributes:
        states: `[n, ...]` terminal ones.
        length: `[n]` int32, steps, the stop among them.
        log_reward: `[n]` nats.
        log_q: `[n]` nats, the probability of sampling each.
        log_weight: `[n]` nats, log R - log q, plus the log-probability under the prior if any.
    """

    states: TextState
    length: Array
    log_reward: Array
    log_q: Array
    log_weight: Array


@runtime_checkable
class ReadsPrompts(Protocol):
    """An `EnvironmentConfig` whose prompts are not written as its policies see them."""

    def prompt_of(self, line: str) -> str:
        """The prompt that a policy sees, of what a user writes; raises an `ArgumentError`."""
        ...


def text_rules(env: Any) -> Text | None:
    """The `Text` that an environment is, tempered or not; None if it is none."""
    rules = env.env if isinstance(env, Tempered) else env
    return rules if isinstance(rules, Text) else None


def judge_of(rules: Text) -> Judge | None:
    """The part of a reward in which a language model says how likely a text is; None without."""
    reward = rules.reward
    while isinstance(reward, Constrained):
        reward = reward.base
    return reward if isinstance(reward, Judge) else None


def after(env: Any, prompt: int) -> Any:
    """The environment of texts after one of its prompts, tempered as it is."""
    if not isinstance(env, Tempered):
        return env.at(prompt)
    return tempered(env.env.at(prompt), exponent_of(env))


def after_new(model: Model, prompt: str) -> Model:
    """What samples texts after a prompt that nothing was learned of; their log R is 0.

    Raises:
        ArgumentError: for a prompt that is empty or too long, texts without a tokenizer, or a
            policy that does not read prompts.
    """
    rules, policy = text_rules(model.env), model.policy
    if rules is None or rules.tokenizer is None:
        problem = "needs texts of a language model, whose tokenizer reads it"
        raise ArgumentError("prompt", problem, "leave it out")
    if not isinstance(policy, CausalPolicy) or policy.prefill is None:
        problem = "needs a policy that reads prompts, and does not just count them"
        raise ArgumentError("prompt", problem, "train one with network language, or leave it out")
    ids = rules.tokenizer.encode(prompt)
    config = getattr(rules.model, "config", None)
    room = len(ids) if config is None else config.context - rules.max_length
    if not 1 <= len(ids) <= room:
        limits = "at least one token" if not ids else f"at most {room} tokens, as the context has"
        raise ArgumentError("prompt", f"must have {limits}, got {len(ids)}")
    env = dataclasses.replace(rules.at(0), prompts=prompt_table([ids]), reward=_nothing)
    return dataclasses.replace(model, env=env)


def _nothing(ids: Array, prompt: Array) -> Array:
    return jnp.zeros((), jnp.result_type(float))


def prompts_of(rules: Text, numbers: Any) -> list[str]:
    """The prompts of some numbers `[n]`; ids, one after the other, without a tokenizer."""
    tokens, length = (np.asarray(x) for x in rules.prompts)
    rows = [tokens[i, : length[i]].tolist() for i in np.asarray(numbers).reshape(-1)]
    if rules.tokenizer is None:
        return [" ".join(map(str, row)) for row in rows]
    return [rules.tokenizer.decode(row) for row in rows]


def written(
    model: Model, params: Params, key: Array, num_texts: int, temperature: float | None = None
) -> list[WrittenText]:
    """Texts of a policy, as `write` samples them.

    Raises:
        ArgumentError: if the environment is none of texts, or for a temperature that is not
            positive.
    """
    rules = text_rules(model.env)
    if rules is None:
        problem = f"must be one of texts, got {type(model.env).__name__}"
        raise ArgumentError("environment", problem)
    if temperature is not None and not temperature > 0:
        raise ArgumentError("temperature", f"must be positive, got {temperature}")
    found = write(model, params, key, num_texts, temperature)
    columns = prompts_of(rules, found.states.prompt), rules.texts(found.states)
    log_q = np.asarray(found.log_q, float).tolist()
    return [WrittenText(*row) for row in zip(*columns, log_q, strict=True)]


@partial(jax.jit, static_argnames="num_samples")
def write(
    model: Model, params: Params, key: Array, num_samples: int, temperature: Any = None
) -> Samples:
    """Sample texts, token by token at a temperature; what is said of them is at temperature 1."""
    given: Any = {}
    if temperature is not None:
        each = jnp.asarray(temperature, jnp.result_type(float))
        given["temperature"] = jnp.broadcast_to(each, (num_samples,))
    trajectories, _ = model.explore(params, key, num_samples, Behaviour(), **given)
    scores = model.score(params, trajectories)
    log_q = scores.log_pf.sum(axis=1)
    log_weight = trajectories.log_reward - log_q  # a text has one trajectory: P_B = 1
    if model.prior is not None:
        log_weight = sampled.log_weights(model, params, trajectories)
    last = terminal_states(trajectories)
    return Samples(last, trajectories.length, trajectories.log_reward, log_q, log_weight)
