"""What a training run carries from step to step, and what each step reports."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.types import Array, PyTree


class Params(NamedTuple):
    """Everything that is trained, and where the flows started.

    Attributes:
        policy: the policy's parameters.
        log_z: `[]` the learned log Z; a plain number where nothing learns one.
        backward: those of a backward policy with a training of its own, else None.
        objective: those of a network of the objective's own, else None.
        log_flow_start: `[]` a constant that is never trained: log F(s) is what the network says
            plus this. None for the network's own.
    """

    policy: PyTree
    log_z: Any = 0.0
    backward: PyTree = None
    objective: PyTree = None
    log_flow_start: Array | None = None


class TrainState(NamedTuple):
    """A run at one step.

    `target` is None without a target network; `memory` is what the sampler remembers, `observed`
    what a backward policy with a training of its own does.
    """

    params: Params
    opt_state: PyTree
    target: PyTree
    hyperparameters: Hyperparameters
    key: Array
    step: Array
    memory: PyTree = None
    observed: PyTree = None


class InitKeys(NamedTuple):
    """All randomness of `GFlowNet.init`; from `run` follow the `step_keys` of all steps."""

    policy: Array
    backward: Array
    objective: Array
    log_z: Array
    sampler: Array
    run: Array


class StepKeys(NamedTuple):
    """All randomness of one step, a key for each purpose.

    A key is consumed once, by one draw or one split, never by both, nor split and folded:
    `split(key, n)[i]` equals `fold_in(key, i)`.

    Attributes:
        draw: of the sampler.
        backward: of a backward policy with a training of its own.
        fit: of the updates on the objective.
        evaluation: of what is measured before this step.
    """

    draw: Array
    backward: Array
    fit: Array
    evaluation: Array


def step_keys(key: Array, step: Array) -> StepKeys:
    """Those of a step of the run whose `TrainState.key` is `key`; nothing else consumes that."""
    return StepKeys(*jax.random.split(jax.random.fold_in(key, step), len(StepKeys._fields)))


class StepInfo(NamedTuple):
    """Diagnostics of one step, `[]` each: batch means in nats, and the gradient's norm.

    Where the environment has cycles `cut` is the share of the trajectories that `max_steps` has
    cut; None elsewhere, and of windows.
    """

    loss: Array
    log_z: Array
    log_reward: Array
    length: Array
    grad_norm: Array
    cut: Array | None = None


@runtime_checkable
class Settling(Protocol):
    """A `Trainable` or sampler that takes back a step without a second copy of what it remembers.

    For all others both states are held until it is known which of them stays.
    """

    def settle(self, before: PyTree, after: PyTree, finite: Array) -> PyTree:
        """`after` a step if that was `finite` `[]`, else what was `before` it, bit for bit."""
        ...


def settle(of: Any, before: PyTree, after: PyTree, finite: Array) -> PyTree:
    """What `of`, which took the step, carries on: `after` if it was `finite`, else `before`."""
    if isinstance(of, Settling):
        return of.settle(before, after, finite)
    return choose(finite, after, before)


def choose(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` where `condition` `[]` holds, else `old`; what did not change is not touched."""
    return jax.tree.map(lambda x, y: x if x is y else jnp.where(condition, x, y), new, old)


def is_finite(info: Any) -> Array:
    """`[]` bool, whether a step counts. Some losses hide a reward that is not finite."""
    return jnp.isfinite(jnp.stack([info.loss, info.grad_norm, info.log_reward])).all()
