"""Replay on the command line that is not a buffer by itself."""

from dataclasses import dataclass
from typing import Any

from gfnjax import registry
from gfnjax.replay.base import Replay
from gfnjax.replay.fifo import Fifo
from gfnjax.replay.prompts import PromptReplay
from gfnjax.replay.terminal import TerminalReplay


@registry.replay("none")
@dataclass(frozen=True)
class NoReplay:
    """nothing is replayed"""

    def make(self) -> None:
        return None


@registry.replay("terminal", summary="objects alone, reached again on ways of P_B")
@dataclass(frozen=True)
class ReplayOfObjects(Replay):
    """The last `capacity` objects."""

    def make(self) -> TerminalReplay:
        return TerminalReplay(Fifo(self.capacity, unique=self.unique))


@registry.replay("prompts", summary="the best texts of each prompt, for groups of trajectories")
@dataclass(frozen=True)
class ReplayOfPrompts:
    """The `capacity` texts of each prompt with the highest log R, no two of them alike."""

    capacity: int = 50
    """texts of each prompt"""
    distance: float = 0.25
    """how near two texts are too near: edit distance as a share of both lengths"""

    def __post_init__(self) -> None:
        self._of(1)

    def make_for(self, env: Any) -> PromptReplay:
        """The memory of all prompts of an environment."""
        prompts = getattr(env, "prompts", None)
        return self._of(1 if prompts is None else prompts.length.shape[0])

    def _of(self, num_prompts: int) -> PromptReplay:
        return PromptReplay(num_prompts, self.capacity, self.distance)
