"""Replay buffers: pure, hashable values, at a cost independent of history."""

from gfnjax.replay import by_name as by_name
from gfnjax.replay.base import Buffer, Replay, Sample
from gfnjax.replay.experience import Experience, Recalled
from gfnjax.replay.fifo import Fifo
from gfnjax.replay.prompts import PromptReplay
from gfnjax.replay.rank_prioritised import RankPrioritised
from gfnjax.replay.records import Record, rebuild, record
from gfnjax.replay.residual_prioritised import ResidualPrioritised
from gfnjax.replay.reward_prioritised import RewardPrioritised
from gfnjax.replay.terminal import TerminalReplay

__all__ = [
    "Buffer",
    "Experience",
    "Fifo",
    "PromptReplay",
    "RankPrioritised",
    "Recalled",
    "Record",
    "Replay",
    "ResidualPrioritised",
    "RewardPrioritised",
    "Sample",
    "TerminalReplay",
    "rebuild",
    "record",
]
