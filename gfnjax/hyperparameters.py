"""The numbers of a training run that a sweep may vary."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfnjax.arguments import suggest
from gfnjax.errors import ArgumentError
from gfnjax.numbers import NON_NEGATIVE, POSITIVE, UNIT, check_number, scheduled
from gfnjax.types import Array

RANGES = {
    "learning_rate": NON_NEGATIVE,
    "log_z_learning_rate": NON_NEGATIVE,
    "epsilon": UNIT,
    "temperature": POSITIVE,
    "backward_learning_rate": NON_NEGATIVE,
    "exploration_std": NON_NEGATIVE,
}
# Where a description says what a sweep may vary under these names.
ELSEWHERE = {
    "reward_exponent": "the environment, gfnjax.envs.tempered(env, ...)",
    "target_rate": "GFlowNet(target_rate=...)",
    "max_grad_norm": "GFlowNet(max_grad_norm=...)",
    "backward_target_rate": "the backward policy, by its target_rate",
    "objective": "the objective",
    "regression": "the regression",
}


class Hyperparameters(NamedTuple):
    """Numbers a sweep may vary. In a description: floats or optax schedules of the step.

    In a `TrainState` numbers are arrays, to be vmapped over; scheduled entries are None. The last
    six repeat what a description says elsewhere: there they are for overrides alone,

        gfn.init(key, Hyperparameters.only(learning_rate=1e-2, objective={"lambda_": 0.5})).

    Attributes:
        learning_rate: of the policy, and of a network of the objective's own.
        log_z_learning_rate: of the learned log Z.
        epsilon: probability of a uniform action while exploring.
        temperature: of the policy while exploring.
        backward_learning_rate: of a backward policy with a training of its own.
        exploration_std: standard deviation of noise added to each step while exploring, where
            actions are `Gaussian`.
        reward_exponent: of an environment made by `gfnjax.envs.tempered`.
        target_rate: of the target network.
        max_grad_norm: that the gradient is clipped to.
        backward_target_rate: of the average of a backward policy with a training of its own.
        objective: the objective's numbers by field; a dict for an objective in a field.
        regression: the regression's, alike.
    """

    learning_rate: Any = 1e-3
    log_z_learning_rate: Any = 1e-1
    epsilon: Any = 0.0
    temperature: Any = 1.0
    backward_learning_rate: Any = 1e-3
    exploration_std: Any = 0.0
    reward_exponent: Any = None
    target_rate: Any = None
    max_grad_norm: Any = None
    backward_target_rate: Any = None
    objective: Any = None
    regression: Any = None

    @classmethod
    def only(cls, **entries: Any) -> "Hyperparameters":
        """The given entries, None elsewhere: what `GFlowNet.init` takes to override some."""
        return cls(**{name: entries.pop(name, None) for name in cls._fields}, **entries)


def as_pytree(hyperparameters: Any) -> Any:
    """Numbers stay leaves, so that runs which differ in them share code; schedules are static."""
    if not isinstance(hyperparameters, Hyperparameters):
        return hyperparameters  # for `check` to refuse
    return Hyperparameters(*map(scheduled, hyperparameters))


def numbers(given: Hyperparameters, override: Hyperparameters | None) -> Hyperparameters:
    """Arrays of `given` or, where it says something, of `override`; None for schedules.

    Raises:
        ArgumentError: for an override of what is not there.
    """
    override = Hyperparameters.only() if override is None else override
    pairs = zip(Hyperparameters._fields, given, override, strict=True)
    return Hyperparameters(*(_number(name, value, other) for name, value, other in pairs))


def _number(name: str, value: Any, other: Any) -> Any:
    if isinstance(value, dict):
        return _numbers(name, value, {} if other is None else other)
    if value is None and other is not None:
        raise ArgumentError(name, "cannot be overridden: the description has none")
    value = value if other is None else other
    return None if value is None or callable(value) else _array(value)


def _numbers(name: str, values: Mapping[str, Any], others: Any) -> dict[str, Any]:
    if not isinstance(others, Mapping):
        raise ArgumentError(name, f"must be overridden by a dict of numbers, got {others!r}")
    for field in others:
        if field not in values:
            raise ArgumentError(name, f"has no number {field!r}{suggest(field, values)}")
    return {k: _number(f"{name}.{k}", value, others.get(k)) for k, value in values.items()}


def values_at(given: Hyperparameters, held: Hyperparameters, step: Array) -> Hyperparameters:
    """The numbers in force at a step: those a `TrainState` holds, else the schedules' values."""
    # Schedules promote dtypes implicitly; callers may have forbidden that for their own code.
    with jax.numpy_dtype_promotion("standard"):
        return Hyperparameters(*(_value(x, y, step) for x, y in zip(given, held, strict=True)))


def _value(given: Any, held: Any, step: Array) -> Any:
    if isinstance(given, dict):
        return {name: _value(given[name], held[name], step) for name in given}
    if held is None and given is None:
        return None
    if held is None:
        held = given(step) if callable(given) else given
    return _array(held)


def _array(value: Any) -> Array:
    return jnp.asarray(value, jnp.result_type(float))


def check(given: Any) -> None:
    """Plain numbers must be in range; schedules and arrays are taken as they are."""
    if not isinstance(given, Hyperparameters):
        kind = "a dict" if isinstance(given, dict) else type(given).__name__
        raise ArgumentError("hyperparameters", f"must be gfnjax.Hyperparameters(...), got {kind}")
    for name, where in ELSEWHERE.items():
        if getattr(given, name) is not None:
            problem = f"must not say {name}, which is for overrides: it is said by {where}"
            raise ArgumentError("hyperparameters", problem)
    for name, valid in RANGES.items():
        check_number(name, getattr(given, name), *valid)
