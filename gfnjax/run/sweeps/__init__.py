"""A sweep on disk: described, started, resumed; and what there is to say of its results."""

from gfnjax.run.sweeps.config import Point, SweepConfig
from gfnjax.run.sweeps.session import SweepOutcome, resume, start
from gfnjax.run.sweeps.statistics import Statistics, analyse
from gfnjax.run.sweeps.table import Table, read, table_of, write

__all__ = [
    "Point",
    "Statistics",
    "SweepConfig",
    "SweepOutcome",
    "Table",
    "analyse",
    "read",
    "resume",
    "start",
    "table_of",
    "write",
]
