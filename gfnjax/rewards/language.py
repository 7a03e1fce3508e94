"""Rewards that a language model gives: how likely it finds a text, and what follows it.

Temperature is not in here: `tempered(env, 1 / T)` divides log R by T.
"""

import jax
import jax.numpy as jnp

from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree, static
from gfnjax.rewards.model_limits import check_model, require_text_model
from gfnjax.rewards.text import Texts, Written
from gfnjax.rewards.text_models import (
    TextModel,
    log_joint,
    predictions,
    prefix_sizes,
    read_prompts,
)
from gfnjax.rewards.tokens import Prompts
from gfnjax.types import Array


@pytree
class Continuation(Comparable):
    """log R(z) = log p(z stop | x), x the prompt.

    Args:
        model: a `TextModel`.
        restricted: whether p is that of the allowed tokens and the stop, as if there were no
            others: log p(token) - log sum over them of p.
        prompts: what the model sees in place of the prompts of the environment, as many.

    Raises:
        ArgumentError: for what is no model.
    """

    model: TextModel
    restricted: bool = static(default=False)
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        require_text_model(self.model)

    def check_fit(self, env: Written) -> None:
        _check_tables(env, prompts=self.prompts)
        check_model(self.model, env, prompts=self.prompts)

    def path(self, texts: Texts) -> Array:
        model = jax.lax.stop_gradient(self.model)
        start = read_prompts(model, texts, self.prompts)
        written, stop = predictions(model, texts, start, self.restricted)
        return written + stop


@pytree
class Infilling(Comparable):
    """log R(z) = log p(z stop y | x), y a text that must follow: z fills the gap between x and y.

    The prompt of the environment, which a policy sees, may hold x and y; `prompts` are then the x.
    y is read after each prefix of z; where the model is no `CuttableModel`, so is the prefix.

    Args:
        model: a `TextModel`.
        suffixes: y, one for each prompt or one for all.
        prompts: x, as many as the environment has; its own without.

    Raises:
        ArgumentError: for what is no model.
    """

    model: TextModel
    suffixes: Prompts
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        require_text_model(self.model)

    def check_fit(self, env: Written) -> None:
        tables = {"prompts": self.prompts, "suffixes": self.suffixes}
        _check_tables(env, **tables)
        check_model(self.model, env, **tables)

    def path(self, texts: Texts) -> Array:
        ends = _after_stop(texts, self.suffixes)
        return log_joint(self.model, texts, self.prompts, ends, prefix_sizes(texts))

    def whole(self, texts: Texts) -> Array:
        ends, length = _after_stop(texts, self.suffixes), texts.length[:, None]
        return log_joint(self.model, texts, self.prompts, ends, length)[:, 0]


@pytree
class Rationale(Comparable):
    """log R(z) = log p(z y | x), z a line of thought that leads from x to the answer y.

    As `Infilling`, but no stop token comes between z and y. Which answer is right is known in
    training; a policy sees x alone.

    Args:
        model: a `TextModel`.
        answers: y, one for each prompt or one for all.
        prompts: x as the model sees it, say after examples; the environment's own without.

    Raises:
        ArgumentError: for what is no model.
    """

    model: TextModel
    answers: Prompts
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        require_text_model(self.model)

    def check_fit(self, env: Written) -> None:
        tables = {"prompts": self.prompts, "answers": self.answers}
        _check_tables(env, **tables)
        check_model(self.model, env, stops=False, **tables)

    def path(self, texts: Texts) -> Array:
        ends = _of_each(texts, self.answers)
        return log_joint(self.model, texts, self.prompts, ends, prefix_sizes(texts))

    def whole(self, texts: Texts) -> Array:
        ends, length = _of_each(texts, self.answers), texts.length[:, None]
        return log_joint(self.model, texts, self.prompts, ends, length)[:, 0]


def _of_each(texts: Texts, table: Prompts) -> Prompts:
    """The rows `[B, K]`, `[B]` of a table for all prompts, or of one row for all."""
    row = jnp.minimum(texts.prompt, table.length.shape[0] - 1)
    return Prompts(table.tokens[row], table.length[row])


def _after_stop(texts: Texts, table: Prompts) -> Prompts:
    """`_of_each` with the stop token in front."""
    tokens, length = _of_each(texts, table)
    stop = jnp.broadcast_to(texts.stop, (len(tokens), 1))
    return Prompts(jnp.concatenate([stop, tokens], axis=1), length + 1)


def _check_tables(env: Written, **tables: Prompts | None) -> None:
    """Prompts must be as many as those of the environment, what follows them too, or one."""
    num_prompts = env.prompts.length.shape[0]
    for name, table in tables.items():
        rows = num_prompts if table is None else table.length.shape[0]
        if rows != num_prompts and (name == "prompts" or rows != 1):
            raise ArgumentError(name, f"must be one for each of {num_prompts} prompts, got {rows}")
