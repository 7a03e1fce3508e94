"""What `check_environment` asks of the values that methods return."""

from typing import Any

import jax
import jax.numpy as jnp

from gfnjax.actions import Categorical, actions_of, backward_actions_of
from gfnjax.envs.base import Environment
from gfnjax.envs.contract import calls, trace
from gfnjax.types import PyTree

KINDS = {"bool": jnp.bool_, "float": jnp.floating, "int": jnp.integer}


def wrong_return(env: Environment, state: PyTree) -> str | None:
    """What is wrong with the kind or shape of anything but states, in words; None if nothing."""
    forms = {
        **_masks(env),
        "is_terminal": ("bool", ()),
        "log_reward": ("float", ()),
        "log_partial_reward": ("float", ()),
        **_numbers(env),
    }
    for name, arguments in calls(env, state).items():
        found = trace(env, name, arguments)
        if name in forms and (message := _mismatch(found, *forms[name])) is not None:
            return f"{name} must return {message}"
        if name == "observe" and not jax.tree.leaves(found):
            return f"observe must return arrays, got {found}"
    return None


def _masks(env: Environment) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Of numbered actions; what others allow has a form of their own."""
    kinds = {"forward_mask": actions_of(env), "backward_mask": backward_actions_of(env)}
    return {n: ("bool", (k.size,)) for n, k in kinds.items() if isinstance(k, Categorical)}


def _numbers(env: Environment) -> dict[str, tuple[str, tuple[int, ...]]]:
    kinds = {"forward_action": actions_of(env), "backward_action": backward_actions_of(env)}
    return {n: ("int", ()) for n, k in kinds.items() if isinstance(k, Categorical)}


def _mismatch(found: Any, kind: str, shape: tuple[int, ...]) -> str | None:
    article = "an" if kind == "int" else "a"
    wanted = f"{kind} of shape {shape}" if shape else f"{article} {kind} scalar for a single state"
    if not isinstance(found, jax.ShapeDtypeStruct):
        return f"{wanted}, got {'None' if found is None else f'a {type(found).__name__}'}"
    if found.shape == shape and jnp.issubdtype(found.dtype, KINDS[kind]):
        return None
    countable = jnp.issubdtype(found.dtype, jnp.integer) or jnp.issubdtype(found.dtype, jnp.bool_)
    remedy = ""
    if kind == "float" and countable:
        name = "a boolean" if jnp.issubdtype(found.dtype, jnp.bool_) else "an integer"
        remedy = f": {name} is no logarithm, make it a float with .astype(float)"
    return f"{wanted}, got {found.dtype} of shape {found.shape}{remedy}"
