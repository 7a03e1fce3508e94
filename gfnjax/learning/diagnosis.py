"""Why a step failed: what is not finite, in words, from the host's second look at that one step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.errors import Words
from gfnjax.scoring import terminal_step
from gfnjax.types import Array, PyTree, Scores


class Learner(Protocol):
    """A pytree whose steps each learn from one batch: a `GFlowNet`."""

    def seen(self, state: Any) -> Scores:
        """Of the batch that the step from `state` learns from, without gradient."""
        ...


SLOWER = Words("try a smaller {learning_rate|learning rate} or {max_grad_norm}")
LOOK = Words("look at the network and at what observe returns")
KINDS = {
    "NaN": "look for 0 / 0, inf - inf or the logarithm of a negative number",
    "inf": "cap the reward",
    "-inf": "floor the reward",
}


class Findings(NamedTuple):
    """How many trajectories have NaN, inf and -inf in something: `[3]` int32 each.

    `parameters` counts numbers instead, `unfinished` `[]` the trajectories that should have ended.
    Only complete trajectories have a log R.
    """

    log_reward: Array
    log_partial_reward: Array | None
    parameters: Array
    log_pf: Array
    log_pb: Array
    log_flow: Array
    unfinished: Array


def diagnose(gfn: Learner, state: Any) -> str | None:
    """What is not finite in the batch that a step learns from; None if all of it is.

    Args:
        gfn: what is trained.
        state: right before the step.
    """
    found, size, max_steps = jax.device_get(_examine(gfn, state))
    step = int(state.step)
    if found.unfinished:
        return Words(
            f"{found.unfinished} of {size} trajectories have not ended after max_steps = "
            f"{max_steps} steps, at step {step}; the environment's max_steps must be the length "
            "of the longest, or its class have acyclic = False"
        )
    for name in ("log_reward", "log_partial_reward"):
        if (reason := rewards(name, getattr(found, name), size, step)) is not None:
            return reason
    if found.parameters.any():
        kind, _ = _worst(found.parameters)
        what = f"the parameters are no longer finite before step {step} ({kind})"
        return Words(f"{what}: {SLOWER.template}")
    names = {"log_pf": "log P_F", "log_pb": "log P_B", "log_flow": "log F"}
    for field, name in names.items():
        counts = getattr(found, field)
        if counts.any():
            kind, count = _worst(counts)
            where = f"{name} of the policy is {kind} at step {step} in {count} of {size}"
            hint = LOOK if step == 0 else SLOWER
            return Words(f"{where} trajectories, log R is finite; {hint.template}")
    return None


def diagnose_rewards(
    log_rewards: Callable[[Any, Any], Array],
    model: Any,
    state: Any,
    of: str,
    remedy: str | None = None,
) -> str | None:
    """The sentence about rewards alone.

    Args:
        log_rewards: a function, the same one at every call, of `model` and `state` to `[B]`.
        model: what is trained, a pytree.
        state: right before the step.
        of: what there are B of.
        remedy: instead of those for a given reward.
    """
    counts, size = jax.device_get(_count_rewards(log_rewards, model, state))
    return rewards("log_reward", counts, size, int(state.step), of, remedy)


def rewards(
    name: str,
    counts: np.ndarray | None,
    size: int,
    step: int,
    of: str = "trajectories",
    remedy: str | None = None,
) -> str | None:
    """The sentence about a reward that is not finite in some of `size` trajectories; or None."""
    if counts is None or not counts.any():
        return None
    kind, count = _worst(counts)
    what = "log R" if name == "log_reward" else "the log partial reward"
    others = counts.sum() - count
    more = f" (and not finite in {others} more)" if others else ""
    remedy = Words(KINDS[kind] if remedy is None else remedy).template
    return Words(f"{what} is {kind} at step {step} in {count} of {size} {of}{more}; {remedy}")


def of_numbers(step: int, loss: float, grad_norm: float, log_reward: float) -> str:
    """The sentence about a mean reward, a loss or a gradient that is not finite."""
    if not np.isfinite(log_reward):
        word = _word(log_reward)
        return f"the mean log R is {word} at step {step}; {KINDS[word]}"
    if not np.isfinite(loss):
        what = f"the loss is {_word(loss)} at step {step}, its rewards are finite"
        return Words(f"{what}: {SLOWER.template}")
    return Words(
        f"the gradient is {_word(grad_norm)} at step {step}, its loss of {loss:.4g} is finite: "
        f"{SLOWER.template}; at the first steps look for a square root or a division at 0"
    )


def count(values: Array, where: Array | None = None) -> Array:
    """`[3]` int32: for how many rows of `values` `[B, ...]` some entry is NaN, inf, -inf."""
    kinds = jnp.stack([jnp.isnan(values), jnp.isposinf(values), jnp.isneginf(values)])
    if where is not None:
        kinds &= where[None]
    return kinds.any(axis=tuple(range(2, kinds.ndim))).sum(axis=1, dtype=jnp.int32)


@jax.jit
def _examine(gfn: Learner, state: Any) -> tuple[Findings, int, int]:
    scores = gfn.seen(state)
    # Flow and partial reward of a terminal state are its reward.
    inside = ~jax.vmap(terminal_step)(scores)
    partial_reward = scores.log_partial_reward
    found = Findings(
        count(scores.log_reward, scores.complete),
        None if partial_reward is None else count(partial_reward, inside),
        _count_numbers(state.params),
        count(scores.log_pf),
        count(scores.log_pb),
        count(scores.log_flow, inside),
        # Marked so by `scoring.read_visits`; a window that has not ended has a flow there.
        (~scores.complete & jnp.isposinf(scores.log_flow[:, -1])).sum(dtype=jnp.int32),
    )
    return found, scores.length.size, scores.mask.shape[1]


@partial(jax.jit, static_argnames="log_rewards")
def _count_rewards(
    log_rewards: Callable[[Any, Any], Array], model: Any, state: Any
) -> tuple[Array, int]:
    values = log_rewards(model, state)
    return count(values), values.size


def _count_numbers(tree: PyTree) -> Array:
    leaves = [x.reshape(-1, 1) for x in jax.tree.leaves(tree)]
    return sum((count(x) for x in leaves), jnp.zeros(3, jnp.int32))


def _worst(counts: np.ndarray) -> tuple[str, int]:
    kind = int(np.argmax(counts))
    return list(KINDS)[kind], int(counts[kind])


def _word(value: float) -> str:
    return "NaN" if np.isnan(value) else str(value)
