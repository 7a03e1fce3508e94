"""Policies that write texts as a language model does, to begin with."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import suggest, whole
from gfnjax.errors import ArgumentError, Use, require
from gfnjax.language import Config
from gfnjax.policies.base import Parts, sizes_of
from gfnjax.policies.causal import CausalPolicy, check_causal
from gfnjax.policies.decoder import NOTHING, LowRank, Memory, float_of, logits
from gfnjax.policies.language_model import LanguageModel, load_language_model, network
from gfnjax.rewards.model_limits import check_tokenizer, check_vocabulary
from gfnjax.types import Array, PolicyOutput, PyTree

__all__ = ["LanguageModel", "language_policy", "load_language_model"]

ATTENTION = ("q", "k", "v", "o")


# What an environment of texts has; asked for by name, as `tempered` passes fields on by name.
FIELDS = "token_ids", "prompts"


class Frozen(NamedTuple):
    """What a policy has of a language model and does not train.

    Attributes:
        weights: of the model; None where all of them are trained.
        rows: `[A + 1, W]` of its head, for the actions; None where most tokens are actions.
        ids: `[A + 1]` int32, the token of each action.
    """

    weights: PyTree
    rows: Array | None
    ids: Array


class Prompt(NamedTuple):
    """Token ids `[S]`, and how many of them there are, `[]`."""

    tokens: Array
    length: Array


class Context(NamedTuple):
    """All tokens of a prompt but the last, read, and the last, `[]`."""

    memory: Memory
    last: Array


def language_policy(
    env: Any,
    model: LanguageModel,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = ATTENTION,
    fine_tune: bool = False,
) -> CausalPolicy:
    """A policy that writes as a language model does, to begin with.

    Trained are low-rank additions to its matrices (LoRA), and log F, a linear map of the hidden
    state that starts at zero.

    Args:
        env: texts after prompts, such as `gfnjax.envs.text.Text`.
        model: where it starts from. Its weights are not copied.
        rank: of the additions; 0 for none.
        alpha: how much is added, relative to the rank.
        targets: projections that something is added to: "q", "k", "v", "o", "up", "down" and, of a
            Llama, "gate".
        fine_tune: train all weights, a copy of them, and add nothing.

    Raises:
        ValueError: if `env` has no prompts, texts are longer than the model's context, a token is
            not in its vocabulary, tokenizers differ, or for a number or target that is none.
    """
    if not all(hasattr(env, name) for name in FIELDS):
        raise ArgumentError(
            "env",
            f"must be one of texts, with prompts and token_ids, got {type(env).__name__}",
            "make it with gfnjax.envs.text",
            subject="language_policy: env",
        )
    check_causal(env)
    _check_fit(env, model.config)
    check_tokenizer(model, getattr(env, "tokenizer", None), "language_policy: model")
    low_rank = _low_rank(0 if fine_tune else rank, alpha, tuple(targets), model.config)
    ids = np.asarray(env.token_ids, np.int32)
    table = model.rows
    rows = table[ids] if _few(ids, table) and not fine_tune else None
    dtype = jnp.dtype(float_of(table)).name
    module: Any = network(model.config, low_rank)
    policy = replace(
        _functions(module, ids.tobytes(), env.max_steps, dtype),
        made_for=sizes_of(env, "num_actions", "num_backward_actions", "max_steps"),
        frozen=Frozen(None if fine_tune else model.weights, rows, jnp.asarray(ids)),
    )
    return _trained_whole(policy, model.weights) if fine_tune else policy


def _check_fit(env: Any, config: Config) -> None:
    ids, prompts = np.asarray(env.token_ids), np.asarray(env.prompts.tokens)
    for name, tokens in (("token_ids", ids), ("prompts", prompts)):
        check_vocabulary(config, f"env.{name}", tokens)
    prompt, text = int(np.max(env.prompts.length)), env.max_steps - 1
    if prompt + text > config.context:
        raise ArgumentError(
            "env",
            f"has texts of up to {prompt} + {text} tokens with the prompt, more than the model's "
            f"context of {config.context}",
            subject="env",
        )


def _low_rank(rank: int, alpha: float, targets: tuple[str, ...], config: Config) -> LowRank:
    known = config.projections
    for target in targets:
        if target not in known:
            problem = f"must be among {', '.join(known)}, got {target!r}{suggest(target, known)}"
            raise ArgumentError("targets", problem)
    require(alpha > 0, "alpha", "must be positive", alpha)
    rank = whole("rank", rank, 0)
    return LowRank(rank, float(alpha), targets) if rank else NOTHING


def _few(ids: Any, table: Array) -> bool:
    """Whether a product with a copy of the rows of the actions is worth its memory."""
    return 2 * ids.size <= len(table)


def _variables(params: Parts) -> PyTree:
    trained, frozen = params.trained["network"], params.frozen
    return trained if frozen.weights is None else frozen.weights | trained


@lru_cache(maxsize=256)
def _functions(module: Any, ids: bytes, max_steps: int, dtype: str) -> CausalPolicy:
    # Equal models give the same functions, hence share compiled code.
    known = np.frombuffer(ids, np.int32)
    room = max_steps + 1

    def init(key: Array, seen: PyTree) -> PyTree:
        added = module.low_rank.init(key, module.config, dtype)
        return {"network": {"params": added}, "flow": _no_flow(module.config, dtype)}

    def look(env: Any, source: Any) -> Prompt:
        _check_ids(env.token_ids, known)
        prompts = env.prompts
        return Prompt(prompts.tokens[source.prompt], prompts.length[source.prompt])

    def prefill(params: Parts, prompt: Prompt) -> Context:
        before = prompt.length - 1
        memory = module.apply(_variables(params), prompt.tokens[:-1], before, method="read")
        return Context(memory, prompt.tokens[before])

    def start(params: Parts, context: Context) -> Context:
        memory = module.apply(_variables(params), context.memory, room, method="start")
        return context._replace(memory=memory)

    def step(params: Parts, context: Context, token: Array, t: Array) -> Any:
        token = _token(params, context, token)
        given = context.memory, room, token, t
        memory, hidden = module.apply(_variables(params), *given, method="extend")
        return context._replace(memory=memory), hidden

    def unroll(params: Parts, context: Context, tokens: Array) -> Any:
        tokens = _token(params, context, tokens)
        return module.apply(_variables(params), context.memory, tokens, method="unroll")

    def head(params: Parts, hidden: Array) -> PolicyOutput:
        frozen, flow = params.frozen, params.trained["flow"]
        if frozen.rows is None:
            table = module.apply(_variables(params), method="rows")
            few = _few(frozen.ids, table)
            said = logits(hidden, table[frozen.ids] if few else table)
            said = said if few else said[frozen.ids]
        else:
            said = logits(hidden, frozen.rows)
        log_flow = hidden @ flow["kernel"] + flow["bias"]
        return PolicyOutput(said, jnp.zeros(1, said.dtype), log_flow)

    return CausalPolicy(init, start, step, unroll, look, prefill=prefill, head=head)


def _token(params: Parts, context: Context, token: Array) -> Array:
    """The id of a token of a `CausalPolicy`, of which number 0 stands for the end of the prompt."""
    action = jnp.maximum(token - 1, 0)
    return jnp.where(token == 0, context.last, params.frozen.ids[action])


def _no_flow(config: Config, dtype: str) -> dict[str, Array]:
    return {"kernel": jnp.zeros(config.width, dtype), "bias": jnp.zeros((), dtype)}


def _trained_whole(policy: CausalPolicy, weights: PyTree) -> CausalPolicy:
    """The policy that starts from a copy of all weights and trains it."""

    def init(key: Array, seen: PyTree) -> PyTree:
        first = policy.init(key, seen)
        # Small updates are lost on numbers in half precision.
        copies = jax.tree.map(lambda x: jnp.array(x, float_of(x)), weights)
        return first | {"network": copies}

    return replace(policy, init=init)


@registry.network("language")
@dataclass(frozen=True)
class LanguageConfig:
    """the language model of texts, with low-rank additions that are trained"""

    rank: int = 8
    """of what is added to its matrices; 0 for nothing"""
    alpha: float = 16.0
    """how much is added, relative to the rank"""
    targets: tuple[str, ...] = ATTENTION
    """projections that it is added to, among q, k, v, o, gate, up and down"""
    fine_tune: bool = False
    """train all weights, and add nothing"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", whole("rank", self.rank, 0))
        object.__setattr__(self, "targets", tuple(self.targets))
        for field in fields(self):
            given = getattr(self, field.name)
            if self.fine_tune and field.name != "fine_tune" and given != field.default:
                raise ArgumentError(field.name, "does nothing with {fine_tune}")

    def make(self, env: Any) -> CausalPolicy:
        model = getattr(env, "model", None)
        if not isinstance(model, LanguageModel):
            raise ArgumentError(
                "env",
                f"must be one of texts with a language model, got {type(env).__name__} without",
                Use("use another network", network="causal"),
            )
        return language_policy(env, model, self.rank, self.alpha, self.targets, self.fine_tune)


def _check_ids(token_ids: Any, known: np.ndarray) -> None:
    """Raise a `ValueError` if actions are other tokens than those that a policy was made for."""
    if isinstance(token_ids, jax.core.Tracer):
        return  # where an environment was given to the policy, it was looked at
    if not np.array_equal(token_ids, known):
        raise ArgumentError(
            "policy",
            "was made for an environment with other token_ids",
            "make a policy for this one",
        )
