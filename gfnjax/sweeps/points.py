"""The points of a sweep: which values which names take, listed, drawn, or given as arrays."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfnjax.arguments import suggest, whole
from gfnjax.envs.tempered import exponent_of, with_exponent
from gfnjax.errors import ArgumentError, require
from gfnjax.hyperparameters import ELSEWHERE, Hyperparameters
from gfnjax.numbers import scheduled

# What a description has by name, and what it takes there.
Point = dict[str, Any]
MAX_POINTS = 100_000


@dataclass(frozen=True)
class Uniform:
    """Numbers to be drawn: uniform in [low, high], or, with `log`, log-uniform.

    Raises:
        ValueError: for bounds that are not finite or in the wrong order, or not positive with
            `log`.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        low, high = float(self.low), float(self.high)
        require(math.isfinite(low) and math.isfinite(high), "low", "must be finite", (low, high))
        require(low <= high, "low", "must not exceed high", (low, high))
        require(not self.log or low > 0, "low", "of log-uniform numbers must be positive", low)

    def at(self, share: np.ndarray) -> np.ndarray:
        """Quantiles `[n]` at shares `[n]` in [0, 1]."""
        if not self.log:
            return self.low + (self.high - self.low) * share
        # Rounding must not lead outside.
        found = np.exp(np.log(self.low) + np.log(self.high / self.low) * share)
        return np.clip(found, self.low, self.high)


def uniform(low: float, high: float) -> Uniform:
    """Numbers to be drawn uniformly from [low, high]."""
    return Uniform(low, high)


def log_uniform(low: float, high: float) -> Uniform:
    """Numbers to be drawn from [low, high] with a uniform logarithm."""
    return Uniform(low, high, log=True)


def make_points(
    vary: Mapping[str, Any], num_samples: int | None = None, seed: int = 0
) -> list[Point]:
    """All combinations of listed values, each with all joint draws where names are drawn.

    Args:
        vary: names to lists or one-dimensional arrays of values, or to `uniform(...)`,
            `log_uniform(...)`.
        num_samples: joint draws of the names that are drawn.
        seed: of the draws.

    Raises:
        ArgumentError: for values that are no list, an empty one, or draws without a number.
    """
    drawn = {name: values for name, values in vary.items() if isinstance(values, Uniform)}
    listed = {name: _listed(name, x) for name, x in vary.items() if name not in drawn}
    if bool(drawn) != (num_samples is not None):
        problem = "must say how many" if drawn else "does nothing without names to be drawn"
        raise ArgumentError("num_samples", problem, subject="" if drawn else "{num_samples}")
    count = 1 if num_samples is None else whole("num_samples", num_samples, least=1)
    total = count * math.prod(map(len, listed.values()))
    require(total <= MAX_POINTS, "vary", f"must make {MAX_POINTS:,} points at most", f"{total:,}")
    shares = np.random.default_rng(seed if drawn else 0).random((count, len(drawn)))
    columns = [values.at(shares[:, i]) for i, values in enumerate(drawn.values())]
    samples = [dict(zip(drawn, map(float, row), strict=True)) for row in zip(*columns, strict=True)]
    grid = [dict(zip(listed, row, strict=True)) for row in itertools.product(*listed.values())]
    found = [{**point, **sample} for point in grid for sample in samples or [{}]]
    return [{name: point[name] for name in vary} for point in found]


def given_points(columns: Mapping[str, Any]) -> list[Point]:
    """Points given as arrays, entry by entry: `{"learning_rate": [n], "epsilon": [n]}`.

    Raises:
        ArgumentError: for arrays of different lengths.
    """
    listed = {name: _listed(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in listed.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise ArgumentError("points", f"must be arrays of one length, got {said}")
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
        problem = "must be varied over a list of values, uniform(...) or log_uniform(...), got "
        raise ArgumentError(name, f"{problem}{values!r}")
    if hasattr(values, "ndim"):
        problem = f"must be varied over a one-dimensional array, got shape {values.shape}"
        if values.ndim != 1:
            raise ArgumentError(name, problem)
        values = np.asarray(values).tolist()
    if not len(values):
        raise ArgumentError(name, "must be varied over at least one value, got none")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A scalar of NumPy or JAX as a Python number."""
    return value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value


def described(gfn: Any, point: Mapping[str, Any]) -> Any:
    """`gfn` with the values of a point in place of its own, checked as its constructor does.

    A name is a field of `Hyperparameters`, or a path of fields: `objective.lambda_`,
    `env.reward.r0`, `batch_size`.

    Raises:
        ArgumentError: for a name that the description does not have, or a value out of range.
    """
    for name in point:
        if not isinstance(name, str):
            raise ArgumentError("vary", f"must go by names, got {name!r}")
    # What contains something else first, which would be lost otherwise.
    for name in sorted(point, key=lambda name: name.count(".")):
        gfn = _with(gfn, name, name.split("."), point[name])
    return gfn


def _with(node: Any, name: str, path: Sequence[str], value: Any) -> Any:
    first, *rest = path
    if not rest and first in Hyperparameters._fields and hasattr(node, "hyperparameters"):
        if first == "reward_exponent" and exponent_of(node.env) is not None:
            return dataclasses.replace(node, env=with_exponent(node.env, scheduled(value)))
        if getattr(node.hyperparameters, first) is not None:
            numbers = node.hyperparameters._replace(**{first: value})
            return dataclasses.replace(node, hyperparameters=numbers)
    known = _fields(node)
    if first not in known or (first == "classes" and len(path) == 1):
        problem = f"is no name to vary: {type(node).__name__} has no {first}"
        if first in ELSEWHERE:
            raise ArgumentError(name, f"{problem}; it is said by {ELSEWHERE[first]}")
        names = [x for x in (*known, *Hyperparameters._fields) if x not in ("classes", *ELSEWHERE)]
        raise ArgumentError(name, problem + suggest(first, names))
    below = getattr(node, first)
    return _replaced(node, first, _with(below, name, rest, value) if rest else value)


def _fields(node: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(node):
        return tuple(field.name for field in dataclasses.fields(node) if field.init)
    return getattr(node, "_fields", ())


def _replaced(node: Any, field: str, value: Any) -> Any:
    if hasattr(node, "_replace"):
        return node._replace(**{field: value})
    return dataclasses.replace(node, **{field: value})
