"""Shapes of arguments, checked where arrays enter the library.

What has a wrong shape is seldom refused by arithmetic: it is broadcast, or summed over an axis too
many, and a wrong number comes out. Only shapes are looked at, which JAX knows while it traces.
`chex.disable_asserts()` turns all of this off.
"""

from typing import Any

import chex
import jax
import numpy as np

from gfnjax.errors import ArgumentError
from gfnjax.types import Scores, Trajectory

# The axes that each field of `Scores` has for one trajectory; `log_pf` is first, to say what T is.
ONE_TRAJECTORY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("log_pf", "log_pb", "mask", "log_prior"), ("T",)),
    **dict.fromkeys(("log_flow", "log_inflow", "log_partial_reward"), ("T + 1",)),
    **dict.fromkeys(("log_stop", "log_value", "raw_flow"), ("T + 1",)),
    **dict.fromkeys(("log_reward", "log_z", "length", "complete"), ()),
    "log_policy": ("T + 1", "num_actions"),
}


def check_one(scores: Scores) -> None:
    """Raise an `ArgumentError` unless `scores` are those of one trajectory, `[T]` and so on."""
    _check_scores(scores, (), "must be those of one trajectory", "use jax.vmap for a batch")


def check_batch(scores: Scores) -> None:
    """Raise an `ArgumentError` unless `scores` are those of a batch, `[B, T]` and so on."""
    _check_scores(scores, ("B",), "must be those of a batch of trajectories")


def check_trajectories(trajectories: Trajectory) -> None:
    """Raise an `ArgumentError` unless `trajectories` are a batch, `[B, T, ...]` and so on."""
    leaves = {name: jax.tree.leaves(getattr(trajectories, name)) for name in Trajectory._fields}
    sizes = _sizes(("B", "T"), leaves["actions"][0])
    axes = {"actions": ("B", "T", ...), "states": ("B", "T + 1", ...)}
    for name, arrays in leaves.items():
        for array in arrays:
            _check(
                "trajectories",
                "must be a batch",
                (name, array),
                axes.get(name, ("B",)),
                sizes,
                "give one trajectory an axis in front: jax.tree.map(lambda x: x[None], ...)",
            )


def check_shape(argument: str, array: Any, shape: tuple[Any, ...], words: str = "") -> None:
    """Raise an `ArgumentError` unless `array` has `shape`, None in it for any size.

    Args:
        argument: its name.
        array: what has the shape; a plain number has none.
        shape: as `chex.assert_shape` takes it.
        words: for `shape` in the message, "[n]" for instance.
    """
    if not _has_shape(array, shape):
        problem = f"must have shape {words or shape}, got {np.shape(array)}"
        raise ArgumentError(argument, problem)


def check_alike(**arrays: Any) -> None:
    """Raise an `ArgumentError` unless two arrays, given by name, have one shape."""
    (first, one), (second, other) = arrays.items()
    if not _has_shape(one, np.shape(other)):
        problem = f"must have the same shape, got {np.shape(one)} and {np.shape(other)}"
        raise ArgumentError(first, problem, subject=f"{{{first}}} and {{{second}}}")


def _check_scores(scores: Scores, batch: tuple[str, ...], problem: str, remedy: str = "") -> None:
    sizes = _sizes((*batch, "T"), scores.log_pf)
    # Of other networks, but of the same trajectories.
    others = {"": scores, "target.": scores.target, "previous.": scores.previous}
    for place, seen in others.items():
        for name, axes in ONE_TRAJECTORY.items():
            field = getattr(seen, name, None)
            if field is not None:
                named = f"{place}{name}", field
                _check("scores", problem, named, (*batch, *axes), sizes, remedy)


def _check(
    argument: str,
    problem: str,
    named: tuple[str, Any],
    axes: tuple[Any, ...],
    sizes: dict[str, int],
    remedy: str,
) -> None:
    """Raise an `ArgumentError` unless what is `named` has these axes."""
    name, array = named
    if _has_shape(array, tuple(x if x is ... else sizes.get(x) for x in axes)):
        return
    wanted = ", ".join("..." if x is ... else x for x in axes)
    problem = f"{problem}: {name} has shape {np.shape(array)}, expected [{wanted}]"
    if _has_shape(array, tuple(x if x is ... else None for x in axes)):
        known = " and ".join(f"{k} = {sizes[k]}" for k in ("B", "T") if k in sizes)
        problem, remedy = f"{problem} with {known}", ""
    raise ArgumentError(argument, problem, remedy)


def _sizes(axes: tuple[str, ...], array: Any) -> dict[str, int]:
    """What B, T and T + 1 are in an array that has these axes first."""
    sizes = dict(zip(axes, np.shape(array), strict=False))
    return sizes | ({"T + 1": sizes["T"] + 1} if "T" in sizes else {})


def _has_shape(array: Any, shape: tuple[Any, ...]) -> bool:
    try:
        chex.assert_shape([array], [shape])
    except AssertionError:
        return False
    return True
