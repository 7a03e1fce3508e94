"""Replay buffers: pure `init`, `add`, `sample`, `update`, at a cost independent of history."""

from gfnjax.replay import by_name as by_name
from gfnjax.replay.base import Buffer, Replay, Sample
from gfnjax.replay.fifo import Fifo
from gfnjax.replay.residual_prioritised import ResidualPrioritised
from gfnjax.replay.reward_prioritised import RewardPrioritised
from gfnjax.replay.terminal import TerminalReplay

__all__ = [
    "Buffer",
    "Fifo",
    "Replay",
    "ResidualPrioritised",
    "RewardPrioritised",
    "Sample",
    "TerminalReplay",
]
