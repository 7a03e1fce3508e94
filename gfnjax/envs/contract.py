"""What the methods of an environment are called with, and whether JAX can trace them."""

from typing import Any

import jax
import jax.numpy as jnp

from gfnjax.actions import Categorical, actions_of, backward_actions_of, usual
from gfnjax.envs.base import Environment, PartialReward, source_state
from gfnjax.errors import ArgumentError

REWARDS = "log_reward", "log_partial_reward"


def calls(env: Environment, state: Any) -> dict[str, tuple]:
    """Arguments for every method of the contract, valid actions where there are any."""
    return _arguments(env, state, *_actions(env, state))


def _actions(env: Environment, state: Any) -> tuple[Any, Any]:
    """One forward and one backward, allowed where any is."""
    action = usual(actions_of(env), env.forward_mask(state))
    return action, usual(backward_actions_of(env), env.backward_mask(state))


def check_traceable(env: Environment) -> None:
    """Raise a `TypeError` that names the method which computes outside of JAX, and the remedy."""
    state = jax.eval_shape(source_state, env)
    # Masks may be what cannot be traced: numbered actions are known without.
    zero = jax.ShapeDtypeStruct((), jnp.int32)
    numbered = all(isinstance(f(env), Categorical) for f in (actions_of, backward_actions_of))
    given = (zero, zero) if numbered else jax.eval_shape(_actions, env, state)
    for name, arguments in _arguments(env, state, *given).items():
        try:
            trace(env, name, arguments)
        except Exception as error:
            if (reason := outside_of_jax(name, error)) is not None:
                problem = reason.removeprefix(f"{name}: ")
                raise ArgumentError("env", problem, subject=f"{{env}}.{name}:") from error
            raise


def trace(env: Environment, name: str, arguments: tuple) -> Any:
    """The shapes that a method returns, its environment traced like its arguments."""
    return jax.eval_shape(lambda env, *given: getattr(env, name)(*given), env, *arguments)


def outside_of_jax(name: str, error: Exception) -> str | None:
    """One sentence if `error` is NumPy's or Python's answer to a traced value; else None."""
    raised = isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError)
    if not raised and not (isinstance(error, TypeError) and "Tracer" in str(error)):
        return None
    wrap = ", or wrap it with gfnjax.rewards.host" if name in REWARDS else ""
    return (
        f"{name}: JAX cannot trace it: it computes with NumPy or plain Python (if, float(), "
        f"look-ups) on JAX arrays; write it with jax.numpy (jnp.where for if){wrap}"
    )


def _arguments(env: Environment, state: Any, action: Any, undo: Any) -> dict[str, tuple]:
    views = ["forward_mask", "backward_mask", "is_terminal", "observe", "log_reward"]
    if isinstance(env, PartialReward):
        views.append("log_partial_reward")
    return {
        "step": (state, action),
        "backward_step": (state, undo),
        "backward_action": (state, action),
        "forward_action": (state, undo),
        **dict.fromkeys(views, (state,)),
    }
