"""What a training run carries from step to step, and what each step reports."""

from typing import NamedTuple

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.types import Array, PyTree


class Params(NamedTuple):
    """Everything that is trained.

    Attributes:
        policy: the policy's parameters.
        log_z: `[]` the learned log Z.
        backward: those of a backward policy with a training of its own, else None.
        objective: those of a network of the objective's own, else None.
    """

    policy: PyTree
    log_z: Array
    backward: PyTree = None
    objective: PyTree = None


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


class StepInfo(NamedTuple):
    """Diagnostics of one step, `[]` each: batch means in nats, and the gradient's norm."""

    loss: Array
    log_z: Array
    log_reward: Array
    length: Array
    grad_norm: Array
