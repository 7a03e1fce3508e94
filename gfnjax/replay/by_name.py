"""Replay on the command line that is not a buffer by itself."""

from dataclasses import dataclass

from gfnjax import registry
from gfnjax.replay.base import Replay
from gfnjax.replay.fifo import Fifo
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
