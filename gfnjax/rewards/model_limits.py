"""Whether a language model can judge certain texts: its context, vocabulary and tokenizer."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from gfnjax.arguments import is_traced
from gfnjax.errors import ArgumentError
from gfnjax.language.architectures import Config
from gfnjax.rewards.text import Written
from gfnjax.rewards.text_models import TextModel
from gfnjax.rewards.tokens import Prompts
from gfnjax.types import Array


@runtime_checkable
class Limited(Protocol):
    """A model that says its limits.

    Attributes:
        config: with the sizes `vocabulary` and `context`.
    """

    @property
    def config(self) -> Config: ...


def require_text_model(model: Any) -> None:
    """Raise an `ArgumentError` for what is no `TextModel`."""
    if not isinstance(model, TextModel):
        raise ArgumentError("model", f"must have read, unroll and log_probs, got {model!r}")


def check_model(model: Any, env: Written, *, stops: bool = True, **tables: Prompts | None) -> None:
    """Raise an `ArgumentError` unless a model knows all tokens and has room for all texts.

    Args:
        model: a `TextModel`; one that is not `Limited` has no limits.
        env: the environment.
        stops: whether the stop token is judged.
        tables: `prompts`, None for those of the environment, and what comes after a text.
    """
    check_tokenizer(model, env.tokenizer, "reward: model")
    if not isinstance(model, Limited) or is_traced((env.token_ids, env.prompts, tables)):
        return
    given = {name: table for name, table in tables.items() if table is not None}
    check_vocabulary(model.config, "env.token_ids", env.token_ids)
    for name, table in ({"prompts": env.prompts} | given).items():
        check_vocabulary(model.config, name, table.tokens)
    longest = {name: int(np.max(table.length)) for name, table in given.items()}
    prompt = longest.pop("prompts", None) or int(np.max(env.prompts.length))
    after = sum(longest.values()) + stops
    room = model.config.context - env.max_length - after
    if prompt > room:
        problem = f"must have at most {room} tokens to leave room for {env.max_length} and {after} "
        problem += f"that follow in the model's context of {model.config.context}, got {prompt}"
        raise ArgumentError("prompts", problem)


def check_vocabulary(config: Config, name: str, ids: Array | np.ndarray) -> None:
    """Raise an `ArgumentError` for ids that a model does not know."""
    tokens = np.asarray(ids)
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < config.vocabulary:
        worst = tokens.max() if tokens.min() >= 0 else tokens.min()
        problem = f"must be in the model's vocabulary 0..{config.vocabulary - 1}, got {worst}"
        raise ArgumentError(name, problem)


def check_tokenizer(model: Any, tokenizer: Any, subject: str) -> None:
    """Raise an `ArgumentError` if ids are other tokens to a model than to an environment."""
    own = getattr(model, "tokenizer", None)
    if None not in (own, tokenizer) and own != tokenizer:
        raise ArgumentError(
            "model",
            "has another tokenizer than the environment, whose ids are other tokens to it",
            "make the environment with model.tokenizer",
            subject,
        )
