"""The numbers of a training run that a sweep may vary."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.errors import ArgumentError
from gfnjax.types import Array

NON_NEGATIVE = (lambda x: x >= 0), "not be negative"
RANGES = {
    "learning_rate": NON_NEGATIVE,
    "log_z_learning_rate": NON_NEGATIVE,
    "epsilon": ((lambda x: 0 <= x <= 1), "be in [0, 1]"),
    "temperature": ((lambda x: x > 0), "be positive"),
    "backward_learning_rate": NON_NEGATIVE,
}


class Hyperparameters(NamedTuple):
    """Numbers a sweep may vary. In a description: floats or optax schedules of the step.

    In a `TrainState` numbers are arrays, to be vmapped over; scheduled entries are None.

    Attributes:
        learning_rate: of the policy, and of a network of the objective's own.
        log_z_learning_rate: of the learned log Z.
        epsilon: probability of a uniform action while exploring.
        temperature: of the policy while exploring.
        backward_learning_rate: of a backward policy with a training of its own.
    """

    learning_rate: Any = 1e-3
    log_z_learning_rate: Any = 1e-1
    epsilon: Any = 0.0
    temperature: Any = 1.0
    backward_learning_rate: Any = 1e-3

    @classmethod
    def only(cls, **entries: Any) -> "Hyperparameters":
        """The given entries, None elsewhere: what `GFlowNet.init` takes to override some."""
        return cls(**{name: entries.pop(name, None) for name in cls._fields}, **entries)


def as_pytree(hyperparameters: Any) -> Any:
    """Numbers stay leaves, so that runs which differ in them share code; schedules are static."""
    if not isinstance(hyperparameters, Hyperparameters):
        return hyperparameters  # for `check` to refuse
    partial = jax.tree_util.Partial
    static = [
        partial(x) if callable(x) and not isinstance(x, partial) else x for x in hyperparameters
    ]
    return Hyperparameters(*static)


def numbers(given: Hyperparameters, override: Hyperparameters | None) -> Hyperparameters:
    """Arrays of `given` or, where it says something, of `override`; None for schedules."""
    override = Hyperparameters.only() if override is None else override
    dtype = jnp.result_type(float)

    def number(value: Any, other: Any) -> Array | None:
        value = value if other is None else other
        return None if callable(value) else jnp.asarray(value, dtype)

    return Hyperparameters(*map(number, given, override))


def values_at(given: Hyperparameters, held: Hyperparameters, step: Array) -> Hyperparameters:
    """The numbers in force at a step: those a `TrainState` holds, else the schedules' values."""
    pairs = zip(held, given, strict=True)
    # Schedules promote dtypes implicitly; callers may have forbidden that for their own code.
    with jax.numpy_dtype_promotion("standard"):
        values = [schedule(step) if x is None else x for x, schedule in pairs]
    return Hyperparameters(*(jnp.asarray(x, jnp.result_type(float)) for x in values))


def check(given: Any) -> None:
    """Plain numbers must be in range; schedules and arrays are taken as they are."""
    if not isinstance(given, Hyperparameters):
        kind = "a dict" if isinstance(given, dict) else type(given).__name__
        raise ArgumentError("hyperparameters", f"must be gfnjax.Hyperparameters(...), got {kind}")
    for name, (valid, words) in RANGES.items():
        value = getattr(given, name)
        if isinstance(value, int | float) and not valid(value):
            raise ArgumentError(name, f"must {words}, got {value}")
