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
from gfnjax.types import PyTree, Scores, Trajectory

# The axes that each field of `Scores` has for one trajectory; `log_pf` is first, to say what T is.
ONE_TRAJECTORY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("log_pf", "log_pb", "mask", "log_prior"), ("T",)),
    **dict.fromkeys(("log_flow", "log_inflow", "log_partial_reward"), ("T + 1",)),
    **dict.fromkeys(("log_stop", "log_value", "raw_flow", "log_prior_stop"), ("T + 1",)),
    **dict.fromkeys(("log_reward", "log_z", "length", "complete"), ()),
    **dict.fromkeys(("group", "group_reward", "from_source"), ()),
    "log_policy": ("T + 1", "num_actions"),
}

# The axes that each field of a batch of `Trajectory` starts with.
BATCH: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("length", "log_reward", "cut"), ("B",)),
    "actions": ("B", "T", ...),
    "states": ("B", "T + 1", ...),
    "log_path_reward": ("B", "T + 1"),
}
ALONE = "give a single one an axis in front"
ALIKE = {None: "have one shape", 1: "be vectors of one length", 2: "be matrices of one shape"}


def check_one(scores: Scores) -> None:
    """Raise an `ArgumentError` unless `scores` are those of one trajectory, `[T]` and so on."""
    _check_scores(scores, (), "must be those of one trajectory", "use jax.vmap for a batch")


def check_batch(scores: Scores) -> None:
    """Raise an `ArgumentError` unless `scores` are those of a batch, `[B, T]` and so on."""
    _check_scores(scores, ("B",), "must be those of a batch of trajectories", ALONE)


def check_trajectories(trajectories: Trajectory) -> None:
    """Raise an `ArgumentError` unless `trajectories` are a batch, `[B, T, ...]` and so on."""
    sizes = _sizes(("B", "T"), jax.tree.leaves(trajectories.actions)[0])
    for name, axes in BATCH.items():
        for array in jax.tree.leaves(getattr(trajectories, name)):
            _check("trajectories", "must be a batch", (name, array), axes, sizes, ALONE)


def check_states(argument: str, states: PyTree, one: PyTree) -> None:
    """Raise an `ArgumentError` unless `states` are a batch `[n, ...]` of states like `one`."""
    leaves = jax.tree.leaves(states)
    count = np.shape(leaves[0])[:1]
    for array, like in zip(leaves, jax.tree.leaves(one), strict=False):
        if not (count and _has_shape(array, count + np.shape(like))):
            wanted = ", ".join(map(str, ("n", *np.shape(like))))
            problem = f"must be a batch: expected shape [{wanted}], got {np.shape(array)}"
            raise ArgumentError(argument, problem)


def check_shape(argument: str, array: Any, shape: tuple[int | None, ...], axes: str = "") -> None:
    """Raise an `ArgumentError` unless `array` has `shape`.

    Args:
        argument: its name.
        array: what has the shape; a plain number has none.
        shape: None where any size will do.
        axes: what the axes are called in the message, "[n]" for instance.
    """
    if not _has_shape(array, shape):
        known = str(shape) if shape and None not in shape else ""
        wanted = " = ".join(x for x in (axes, known) if x)
        raise ArgumentError(argument, f"must have shape {wanted}, got {np.shape(array)}")


def check_alike(rank: int | None = None, **arrays: Any) -> None:
    """Raise an `ArgumentError` unless two arrays, given by name, have one shape, of that rank."""
    (first, one), (second, other) = arrays.items()
    if rank not in (None, np.ndim(one)) or not _has_shape(other, np.shape(one)):
        problem = f"must {ALIKE[rank]}, got {np.shape(one)} and {np.shape(other)}"
        raise ArgumentError(first, problem, subject=f"{{{first}}} and {{{second}}}")


def check_last_axis(**arrays: Any) -> None:
    """Raise an `ArgumentError` unless the last axes of two arrays, given by name, are as long."""
    (first, one), (second, other) = arrays.items()
    if not (np.ndim(one) and _has_shape(other, (..., np.shape(one)[-1]))):
        problem = f"must have last axes of one size, got {np.shape(one)} and {np.shape(other)}"
        raise ArgumentError(first, problem, subject=f"{{{first}}} and {{{second}}}")


def _check_scores(scores: Scores, batch: tuple[str, ...], problem: str, remedy: str) -> None:
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
