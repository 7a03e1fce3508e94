"""The description of a sweep: the configurations of its points, and seeds."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfnjax.errors import ArgumentError
from gfnjax.run.config import Config, UsageError, from_dict, to_dict
from gfnjax.run.settings import Training
from gfnjax.run.sweeps.table import IDENTIFIERS, PROGRESS

# What all members of a sweep have in common: they go through its chunks together.
RESERVED = (*IDENTIFIERS, *PROGRESS)
COMMON = ("steps", "chunk_size", "log_every", "stop_at_tv", "evaluation_samples")


@dataclass(frozen=True)
class Point:
    """One setting: what is varied, by name, and the configuration that it makes."""

    values: dict[str, Any]
    config: Config[Any]


@dataclass(frozen=True)
class SweepConfig:
    """Points, each with all seeds: member i is point i // len(seeds), seed i % len(seeds).

    Attributes:
        points: at least one.
        seeds: of all randomness, as `Training.seed`.

    Raises:
        UsageError: for points that differ in what a sweep has once, or seeds that occur twice.
    """

    points: tuple[Point, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        first = self.points[0].config
        for point in self.points:
            for name in COMMON:
                if getattr(point.config.training, name) != getattr(first.training, name):
                    problem = "is one for all members of a sweep: it cannot be varied"
                    raise UsageError.of(ArgumentError(name, problem))
            if point.config.loggers:
                problem = "has nothing to log in a sweep, whose results are a table"
                raise UsageError.of(ArgumentError("logger", problem))
        for name in self.varied:
            if name in RESERVED:
                problem = "cannot be varied: every table of results has a column of that name"
                raise UsageError.of(ArgumentError(name, problem))
        if len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            problem = f"must be different numbers, at least one, got {self.seeds}"
            raise UsageError.of(ArgumentError("seeds", problem))

    @property
    def training(self) -> Training:
        """The settings that all members share, `COMMON` among them."""
        return self.points[0].config.training

    @property
    def varied(self) -> tuple[str, ...]:
        """The names of what is varied."""
        return tuple(self.points[0].values)

    @property
    def of_one_target(self) -> bool:
        """Whether all points have the same environment and reward."""
        return all(point.config.env == self.points[0].config.env for point in self.points)

    @property
    def num_members(self) -> int:
        """Runs in all."""
        return len(self.points) * len(self.seeds)

    @property
    def plugins(self) -> tuple[str, ...]:
        """As `Config.plugins`, of all points."""
        found = (module for point in self.points for module in point.config.plugins)
        return tuple(dict.fromkeys(found))

    def member(self, number: int) -> tuple[Point, int]:
        """Point and seed of a member."""
        point, seed = divmod(number, len(self.seeds))
        return self.points[point], self.seeds[seed]

    def config_of(self, number: int) -> Config[Any]:
        """What `gfnjax train` would be told to train this member alone."""
        point, seed = self.member(number)
        training = dataclasses.replace(point.config.training, seed=seed)
        return dataclasses.replace(point.config, training=training)


def sweep_to_dict(config: SweepConfig) -> dict[str, Any]:
    """Plain values, for JSON; raises as `to_dict`."""
    points = [{"values": p.values, "config": to_dict(p.config)} for p in config.points]
    return {"points": points, "seeds": list(config.seeds), "plugins": list(config.plugins)}


def sweep_from_dict(values: Mapping[str, Any]) -> SweepConfig:
    """The inverse of `sweep_to_dict`; raises as `from_dict`."""
    try:
        points: Sequence[Any] = values["points"]
        found = tuple(Point(_values(p["values"]), from_dict(p["config"])) for p in points)
        return SweepConfig(found, tuple(values["seeds"]))
    except (KeyError, TypeError, IndexError) as error:
        raise UsageError(f"the description of a sweep is not whole: {error}") from error


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists for tuples."""
    return {k: tuple(x) if isinstance(x, list) else x for k, x in values.items()}
