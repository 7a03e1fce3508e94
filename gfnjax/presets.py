"""Named environments with the settings they train well with.

To offer another environment on the command line, write a frozen dataclass of its sizes with a
`make` method and add an entry to `PRESETS`: `gfnjax train` and `gfnjax list` follow.
"""

from dataclasses import dataclass, replace
from typing import Any, Generic, Literal

from gfnjax.config import Config, E, Training, UsageError, from_dict
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.rewards.hypergrid import Corners, Cosine, Deceptive, Sparse, corners


@dataclass(frozen=True)
class HypergridConfig:
    """The hypergrid {0..side-1}^num_dims."""

    num_dims: int = 2
    """dimensions D"""
    side: int = 32
    """cells H along each dimension"""
    reward: Literal["corners", "cosine", "deceptive", "sparse"] = "corners"
    """reward function"""
    preset: Literal["standard", "easy", "hard"] = "standard"
    """parameters of the corners reward"""
    r0: float | None = None
    """replaces the reward of the plain cells (for sparse: of all but the modes)"""

    def make(self) -> Hypergrid:
        if self.preset != "standard" and self.reward != "corners":
            raise ValueError(
                f"preset must be standard with reward {self.reward}, got {self.preset}"
            )
        if self.r0 is not None and not self.r0 > 0:
            raise ValueError(f"r0 must be positive, got {self.r0}")
        return Hypergrid(self.num_dims, self.side, self._reward())

    def _reward(self) -> Corners | Cosine | Deceptive | Sparse:
        if self.reward == "sparse":
            return Sparse() if self.r0 is None else Sparse(floor=self.r0)
        if self.reward == "corners":
            reward = corners(self.preset)
        else:
            reward = {"cosine": Cosine, "deceptive": Deceptive}[self.reward]()
        return reward if self.r0 is None else replace(reward, r0=self.r0)


@dataclass(frozen=True)
class Preset(Generic[E]):
    """`summary` in a few words, `env` with its default sizes, and the settings that suit it."""

    summary: str
    env: E
    training: Training = Training()


PRESETS: dict[str, Preset[Any]] = {
    "hypergrid": Preset(
        "walk through a grid and stop anywhere; the modes are in the corners",
        HypergridConfig(),
        Training(steps=2_500, batch_size=32),
    ),
    "hypergrid-20x4": Preset(
        "the grid of side 20 in 4 dimensions that papers report (160,000 objects)",
        HypergridConfig(num_dims=4, side=20, preset="easy"),
        Training(steps=6_250, chunk_size=1_250, epsilon=0.1, epsilon_steps=30_000),
    ),
}


def default_config(name: str) -> Config[Any]:
    """The configuration of a preset as it is.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in PRESETS:
        raise UsageError(f"environment must be one of {', '.join(PRESETS)}, got {name!r}")
    return Config(name, PRESETS[name].env, PRESETS[name].training)


def config_from_dict(values: dict[str, Any]) -> Config[Any]:
    """The inverse of `gfnjax.config.to_dict`.

    Raises:
        UsageError: for values that describe no configuration.
    """
    default = default_config(str(values.get("environment")))
    return from_dict(values, type(default.env))
